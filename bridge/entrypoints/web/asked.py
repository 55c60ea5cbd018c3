"""What a request asks for: the filters in its query, the part of a list, the JSON object in its body."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import g, request

from bridge.adapters.ids import made_at
from bridge.adapters.ledger import EventQuery
from bridge.adapters.ledger.reads import LIMIT_DEFAULT, LIMIT_MAX


class Unclear(Exception):
    """A part of a request that cannot be read; the message says which, and what it may be."""


def read_content() -> None:
    """Read the body for `content`: nothing at all, or a JSON object. Raises Unclear.

    What cannot be read is refused: an action whose `dry_run` is lost in a body with the wrong quotes would be real.
    """
    body = request.get_data()
    try:
        found = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise Unclear("the body is no JSON") from None
    if not isinstance(found, dict):
        raise Unclear('the body is a JSON object such as {} or {"name": "value"}')
    g.content = found


def content() -> dict[str, Any]:
    """The JSON object of a body that was read; empty when there was none."""
    found: dict[str, Any] = g.get("content", {})
    return found


def event_query(now: datetime) -> EventQuery:
    """The filters of the request's query, ages in it counted from `now`. Raises Unclear."""
    return EventQuery(
        source=text("source"),
        state=text("state"),
        rule=text("rule"),
        outcome=text("outcome"),
        q=text("q"),
        since=_instant(text("since"), now),
        until=_instant(text("until"), now, "until"),
        account=text("account"),
        label=text("label"),
        **paging(),
    )


def text(name: str) -> str | None:
    """A filter as sent; None when it is missing or empty. Neither database takes a NUL."""
    return request.args.get(name, "").replace("\x00", "")[:1000] or None


def paging(most: int = LIMIT_MAX) -> dict[str, Any]:
    """Which part of a list: `limit` and `before`. Raises Unclear."""
    said = request.args.get("limit", str(LIMIT_DEFAULT))
    limit = int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0
    if not 1 <= limit <= most:
        raise Unclear(f"limit is a whole number from 1 to {most}, not '{said[:40]}'")
    return {"limit": limit, "before": before()}


def before() -> str | None:
    """Where a list goes on. Raises Unclear.

    What is no id sorts somewhere all the same: a script that hands on the `null` of a last page would get the first one
    again, for ever.
    """
    said = text("before")
    if said is not None and made_at(said) is None:
        raise Unclear(f"before is the id that the page before has as 'next', not '{said[:40]}'")
    return said


def _instant(said: str | None, now: datetime, name: str = "since") -> datetime | None:
    """RFC 3339, or an age such as 15m, 24h, 7d."""
    if said is None:
        return None
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    try:
        if said[-1] in units and said[:-1].isascii() and said[:-1].isdigit() and len(said) < 8:
            return now - timedelta(**{units[said[-1]]: int(said[:-1])})
        instant = datetime.fromisoformat(said.replace(" ", "+"))
    except (ValueError, OverflowError):  # the latter: an age that leads to before the year 1
        example = "a time such as 2026-01-31T08:00:00Z or an age such as 24h"
        raise Unclear(f"{name} is {example}, not '{said[:40]}'") from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
