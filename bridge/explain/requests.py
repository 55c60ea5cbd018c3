"""What the rules that match would send: the key, the names, the request, and when it would go.

In: Decisions, and what is known of the upstream and of the lanes here. Out: Requests.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from bridge.destinations.base import Destination
from bridge.domain import keys
from bridge.domain.alert import Alert, Severity, Status
from bridge.domain.decision import Decided, Decision, Mode
from bridge.domain.delivery import Action, Delivery, HttpRequest, LaneClass, NamedThing
from bridge.domain.lane import parked_sentence, sane, starts_at
from bridge.domain.names import ListPart, list_part, may_go_on, served
from bridge.domain.silences import hiding
from bridge.explain.values import Key, KeyPart, LaneView, Lists, Name, Request, Wait
from bridge.pipeline import decide
from bridge.rules.book import Rule, RuleBook

UNRECEIVED = "0" * 26  # stands for the id of an event that has none yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Everything that is the same for all readings of one webhook."""

    book: RuleBook
    destinations: Mapping[str, Destination]
    event: str | None
    now: datetime
    lists: Lists
    lanes: Mapping[str, LaneView]

    def requests(self, alert: Alert, decided: Decided) -> Iterator[Request]:
        """What each rule that matches would send; for a report that does not fire, what its firing one would have."""
        decisions = decided.decisions
        fires = alert.status is Status.FIRING
        if not fires:
            # Its key has to be that of the report that fired: shown, so that a person can compare them.
            (again,) = decide((replace(alert, status=Status.FIRING),), self.book, self.destinations)
            decisions = tuple(one for one in again.decisions if one.rule in decided.matched)
        for decision in decisions:
            yield self._request(alert, decision, fires=fires)

    def _request(self, alert: Alert, decision: Decision, *, fires: bool) -> Request:
        destination = self.destinations[decision.account]
        names, ids, notes = self._names(decision)
        key = self._key(alert, decision, destination)
        delivery = Delivery(
            id=self.event or UNRECEIVED,
            incident=self.event or UNRECEIVED,
            account=decision.account,
            action=Action.CREATE,
            key=key.text,
            fields=decision.fields,
            names=decision.names,
            ids=ids,
            notes=(*decision.notes, *notes),
            created_at=self.now,
        )
        kinds = destination.name_kinds_for(delivery)
        lists = {kind: self.lists.get((decision.account, kind), ()) for kind in kinds}
        unknown = {one.kind for one in names if (decision.account, one.kind) not in self.lists}
        unknown |= {kind for kind in kinds if (decision.account, kind) not in self.lists}
        silence = hiding(decision.silences, decision.severity, self.now)
        sent = fires and decision.mode is Mode.LIVE and silence is None
        view = self.lanes.get(decision.account)
        return Request(
            rule=decision.rule,
            account=decision.account,
            account_type=destination.type,
            mode=decision.mode,
            severity=decision.severity,
            title=decision.title,
            key=key,
            fields=decision.fields,
            names=names,
            notes=(*decision.notes, *notes, *_unfetched(unknown)),
            fold_key=decision.fold_key,
            http=without_credentials(destination.request_for(delivery, lists)),
            wait=_wait(view, decision.severity, self.now) if sent and view is not None else None,
            sent=sent,
            silence=None if silence is None else silence.sentence,
        )

    def _names(self, decision: Decision) -> tuple[tuple[Name, ...], dict[str, str], list[str]]:
        names: list[Name] = []
        notes: list[str] = []
        things: dict[str, NamedThing] = {}
        for ref in decision.names:
            part = list_part(ref, things)
            if part is None:
                continue  # any text may stand there, or what it stands in is not known
            found, note = self._served(decision.account, part)
            things |= {ref.field: found} if found is not None else {}
            names.append(
                Name(field=ref.field, kind=part.ref.kind, text=ref.text, id=None if found is None else found.id)
            )
            notes += [note] if note is not None else []
        return tuple(names), {name.field: name.id for name in names if name.id is not None}, notes

    def _served(self, account: str, part: ListPart) -> tuple[NamedThing | None, str | None]:
        things = self.lists.get((account, part.ref.kind))
        if things is None:
            return None, None
        found = served(part.ref, part.among(things), self.destinations[account].defaults.get(part.ref.field))
        if found.unlisted and may_go_on(things):  # sent as written
            return NamedThing(id=part.ref.text, name=part.ref.text), None
        return found.thing, found.note

    def _key(self, alert: Alert, decision: Decision, destination: Destination) -> Key:
        event = self.event or UNRECEIVED
        episode = keys.episode(alert.episode or event, event, 0)
        text = keys.upstream_key(decision.key_rule, decision.series, decision.key_text, episode)
        of_event = self.event is None and alert.episode is None and episode in text
        note = "its end is a hash of the event's id, which it gets when it is received" if of_event else ""
        return Key(
            series=decision.series,
            account=decision.account,
            scope=decision.scope,
            parts=_key_parts(alert, decision, self.book.by_id[decision.rule]),
            field=destination.key_field,
            text=text,
            note=note,
        )


def _key_parts(alert: Alert, decision: Decision, rule: Rule) -> tuple[KeyPart, ...]:
    if decision.key_text is not None:
        return (KeyPart(path="incident_key", value=decision.key_text),)
    if rule.dedup is None or rule.incident_key is not None:
        return tuple(
            KeyPart(path=path, value=part) for path, part in zip(("source", "fingerprint"), decision.parts, strict=True)
        )
    return tuple(
        KeyPart(
            path=path.text,
            value=part,
            stands_in=decision.marked and part == alert.fingerprint and path.read(alert) != alert.fingerprint,
        )
        for path, part in zip(rule.dedup, decision.parts, strict=True)
    )


def without_credentials(request: HttpRequest) -> HttpRequest:
    """The call as it may be shown: the credential of its Authorization header is left out, its body is untouched."""
    shown = {
        name: f"{value.split(' ')[0]} [redacted]" if name.lower() == "authorization" else value
        for name, value in request.headers.items()
    }
    return replace(request, headers=MappingProxyType(shown))


def _unfetched(kinds: set[str]) -> tuple[str, ...]:
    return tuple(
        f"the upstream's list of kind {kind} is not known here: its ids are missing in the request shown"
        for kind in sorted(kinds)
    )


def _wait(view: LaneView, severity: Severity, now: datetime) -> Wait:
    if view.line is None:
        sentence = "no ledger was asked what waits there"
        return Wait(lane=view.lane, rate=view.rate, ahead=None, eta_s=None, sentence=sentence)
    state = sane(view.pace, view.line.state, now)
    ahead = view.line.ahead[severity]
    held = parked_sentence(state, now)
    if state.paused_at is not None:
        return Wait(lane=view.lane, rate=view.rate, ahead=ahead, eta_s=None, sentence=held or "")
    critical = severity is Severity.CRITICAL
    start = starts_at(view.pace, state, LaneClass.CREATE, now, critical=critical, ahead=ahead)
    eta_s = round(max(0.0, (start - now).total_seconds()), 1)
    when = "at once" if eta_s == 0 else f"in about {eta_s:g} s"
    sentence = f"{when}, {ahead} before it" + (f"; {held}" if held else "")
    return Wait(lane=view.lane, rate=view.rate, ahead=ahead, eta_s=eta_s, sentence=sentence)
