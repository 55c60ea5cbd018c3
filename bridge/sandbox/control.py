"""The sandbox's own endpoints: what it was told, how to make it misbehave, and a page for the curious. No credentials.

    GET    /                       the incidents, for a browser
    GET    /_sandbox/incidents     {"items": [...]}, oldest first; ?api=pagerduty|incident_io&key=
    POST   /_sandbox/incidents/<api>/<id>   {"do": "close" | "decline" | "reopen"}: as a person would
    GET    /_sandbox/requests      {"items": [...]}, oldest first; ?api=&method=&since=<seq>
    GET    /_sandbox/script        what is still queued
    POST   /_sandbox/script        queue one behaviour, or a list of them
    DELETE /_sandbox/script        behave again
    POST   /_sandbox/reset         forget incidents, calls and script

A behaviour: {"match": {"api", "method", "path_prefix"}, "times": 1, "do": {...}}; every part of `match` may be missing.
What `do` can say:

    {"status": 500, "headers": {}, "body": {}}    answer so, without the effect
    {"drop": true}                                close the connection, without the effect
    {"effect": true, "status": 500}               do what was asked, then answer so
    {"effect": true, "drop": true}                do what was asked, then close the connection
    {"delay_s": 3}                                do what was asked, answer it late; goes with all of the above
    {"delay_before_s": 3}                         wait before the effect; goes with all of the above
"""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from bridge.sandbox import incident_io, pagerduty, pages
from bridge.sandbox.calls import CallLog, Script, scripted_in
from bridge.sandbox.store import APIS, INCIDENT_IO, PAGERDUTY, Record, Store

_PEOPLE = {PAGERDUTY: (pagerduty.BY_HAND, pagerduty.by_hand), INCIDENT_IO: (incident_io.BY_HAND, incident_io.by_hand)}


class Control:
    """The endpoints over what the stand-ins share."""

    def __init__(self, store: Store, calls: CallLog, script: Script) -> None:
        self._store = store
        self._calls = calls
        self._script = script

    def blueprint(self) -> Blueprint:
        """The routes, from the root."""
        control = Blueprint("control", __name__)
        control.add_url_rule("/", view_func=self.index)
        control.add_url_rule("/_sandbox/incidents", view_func=self.incidents)
        control.add_url_rule("/_sandbox/incidents/<api>/<incident>", view_func=self.person, methods=["POST"])
        control.add_url_rule("/_sandbox/requests", view_func=self.requests)
        control.add_url_rule("/_sandbox/script", view_func=self.script)
        control.add_url_rule("/_sandbox/script", view_func=self.queue, methods=["POST"])
        control.add_url_rule("/_sandbox/script", view_func=self.behave, methods=["DELETE"])
        control.add_url_rule("/_sandbox/reset", view_func=self.reset, methods=["POST"])
        return control

    def index(self) -> Response:
        """The incidents, for a browser."""
        return pages.index(self._store)

    def incidents(self) -> ResponseReturnValue:
        """What the stand-ins remember."""
        api, key = request.args.get("api"), request.args.get("key")
        records = [record for name in APIS if api in (None, name) for record in self._store.records(name)]
        return jsonify(items=[_shown(record) for record in records if key in (None, record.key)])

    def person(self, api: str, incident: str) -> ResponseReturnValue:
        """Close, decline or reopen an incident as somebody on call would, without a call of the bridge."""
        content = request.get_json(silent=True)
        does = content.get("do") if isinstance(content, dict) else None
        if api not in _PEOPLE:
            return jsonify(error=f"expected an incident at one of {', '.join(_PEOPLE)}"), 400
        known, by_hand = _PEOPLE[api]
        if does not in tuple(known):
            return jsonify(error=f"expected {{'do': ...}} with one of {', '.join(known)}"), 400
        with self._store.lock:
            record = self._store.find(api, incident)
            if record is None:
                return jsonify(error=f"{api} has no incident {incident}"), 404
            by_hand(record, does)
            self._store.put(record)
        return jsonify(_shown(record))

    def requests(self) -> ResponseReturnValue:
        """The calls, with what was answered."""
        args = request.args
        since = args.get("since", 0, type=int)
        calls = self._calls.calls(api=args.get("api"), method=args.get("method"), since=since)
        return jsonify(items=[call.as_json() for call in calls])

    def script(self) -> ResponseReturnValue:
        """What is still queued."""
        return jsonify(items=self._script.waiting())

    def queue(self) -> ResponseReturnValue:
        """Queue behaviours; all of them or, when one is not understood, none."""
        content = request.get_json(silent=True)
        try:
            behaviours = [scripted_in(one) for one in (content if isinstance(content, list) else [content])]
        except (ValueError, TypeError) as odd:
            return jsonify(error=str(odd)), 400
        for behaviour in behaviours:
            self._script.add(behaviour)
        return jsonify(items=self._script.waiting())

    def behave(self) -> ResponseReturnValue:
        """Drop what is queued."""
        self._script.clear()
        return jsonify(items=[])

    def reset(self) -> ResponseReturnValue:
        """Forget everything."""
        self._script.clear()
        self._calls.clear()
        self._store.reset()
        return jsonify(items=[])


def _shown(record: Record) -> dict[str, Any]:
    return {
        "api": record.api,
        "id": record.id,
        "number": record.number,
        "key": record.key,
        "state": pages.state_of(record),
        "title": pages.title_of(record),
        "body": record.body,
        "path": pages.path_of(record),
        "notes": record.notes,
        "history": record.history,
        "incident": record.incident,
    }
