"""What can be done with a stored event: run it against today's rules, receive it again, save it as a test."""

import shlex
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template

from bridge.domain.errors import DecodeError
from bridge.entrypoints.web import auditing
from bridge.entrypoints.web.ui.workshop import Unable, Workshop
from bridge.explain.plain import as_json


def add_event_actions(routes: Blueprint, workshop: Workshop | None) -> None:
    """The pages and forms of one event."""

    @routes.get("/events/<event_id>/dry")
    def dry(event_id: str) -> str | tuple[str, int]:
        """Nothing is sent: what today's rules say of it."""
        try:
            explanation = as_json(_shop(workshop).explained(event_id))
        except Unable as error:
            return render_template("problem.html", sentence=f"It cannot be run again: {error}"), 404
        return render_template("dry.html", explanation=explanation, event_id=event_id)

    @routes.post("/events/<event_id>/send")
    def send(event_id: str) -> Any:
        try:
            fresh = _shop(workshop).received_again(event_id)
        except (Unable, DecodeError) as error:
            return auditing.not_done(f"Not sent: {error}", f"/events/{event_id}")
        flash("Received again, as the event below; today's rules decided it.")
        return redirect(f"/events/{fresh}", 303)

    @routes.get("/events/<event_id>/test.zip")
    def test(event_id: str) -> Response | tuple[str, int]:
        try:
            name, content = _shop(workshop).test_of(event_id)
        except (Unable, DecodeError) as error:
            return render_template("problem.html", sentence=f"No test can be made of it: {error}"), 404
        return download(name, content)


def curl_of(event: Mapping[str, Any], url: str) -> str:
    """The stored webhook as a command; what the sender proves itself with was never stored."""
    if event["body"] is None:
        return ""
    media_type = event["headers"].get("content-type", "application/json")
    parts = ["curl", "-H", f"Content-Type: {media_type}", "--data-binary", event["body"]]
    return shlex.join([*parts, f"{url}/webhooks/{event['source']}"])


def download(name: str, content: bytes) -> Response:
    """A zip file to be saved."""
    response = Response(content, mimetype="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _shop(workshop: Workshop | None) -> Workshop:
    if workshop is None:
        raise Unable("this bridge runs without its rules")
    return workshop
