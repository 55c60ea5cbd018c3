"""Silences as rows: added, ended before their time, kept; and what one would have hidden of what came in lately."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, delete, insert, or_, select, update

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger import books
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.read_events import Payloads
from bridge.adapters.ledger.reads import Page, rfc3339
from bridge.adapters.ledger.rows import Row, dumps
from bridge.adapters.ledger.schema import alerts, events, silences
from bridge.domain.alert import Alert, Link, Severity, Status, effective
from bridge.domain.decision import Outcome
from bridge.domain.silences import Silence
from bridge.domain.text import storable

LIST_MAX = 500
COUNTED_MAX = 20_000  # silenced alerts that a list of silences counts, newest first
PREVIEW_SCAN = 20_000  # alerts that a preview looks at, newest first
PREVIEW_SHOWN = 20
PAGE = 500  # alerts read at once
TWINS_WITHIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a silence would have hidden of the alerts that came in lately."""

    alerts: int  # firing, that it would have hidden
    opened: int  # of these: opened an incident
    criticals: int  # that match, and would have paged all the same
    items: tuple[Mapping[str, Any], ...]  # the first PREVIEW_SHOWN of those hidden, newest first
    note: str | None = None  # when not everything was looked at


def add(transaction: Transaction, silence: Silence) -> str:
    """A silence is on record, and every process takes it within two seconds; its id.

    The same one again, a moment later, is a second click on its button and not a second silence: it would go on hiding
    after somebody ended the first.
    """
    books.silences_changed(transaction)  # and lets one after the other look for its twin
    twin = _twin(transaction, silence)
    if twin is not None:
        return twin
    row = {
        "id": silence.id,
        "match": dumps(dict(silence.match)),
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "author": storable(silence.author),
        "reason": storable(silence.reason),
        "criticals": silence.criticals,
        "created_at": transaction.now,
    }
    transaction.connection.execute(insert(silences), row)
    return silence.id


def _twin(transaction: Transaction, silence: Silence) -> str | None:
    """The id of a silence that was added a moment ago, still holds, and is this one but for that moment."""
    found = select(silences.c.id).where(
        silences.c.created_at > transaction.now - TWINS_WITHIN,
        silences.c.ended_at.is_(None),
        silences.c.match == dumps(dict(silence.match)),
        silences.c.author == storable(silence.author),
        silences.c.reason == storable(silence.reason),
        silences.c.criticals == silence.criticals,
        silences.c.starts_at.between(silence.starts_at - TWINS_WITHIN, silence.starts_at + TWINS_WITHIN),
        silences.c.ends_at.between(silence.ends_at - TWINS_WITHIN, silence.ends_at + TWINS_WITHIN),
    )
    return transaction.connection.execute(found.limit(1)).scalar()


def end(transaction: Transaction, silence_id: str, by: str) -> tuple[dict[str, Any] | None, bool]:
    """A silence is over now; its record, which stays, and whether this ended it: one that is over stays as it was.

    The record is None when there is none of this id.
    """
    now = transaction.now
    ended = transaction.connection.execute(
        update(silences)
        .where(silences.c.id == silence_id, silences.c.ended_at.is_(None), silences.c.ends_at > now)
        .values(ended_at=now, ended_by=storable(by))
    )
    if ended.rowcount:
        books.silences_changed(transaction)
    return one(transaction, silence_id), bool(ended.rowcount)


def standing(transaction: Transaction) -> tuple[Silence, ...]:
    """Those that are not over, the one that ends last first."""
    now = transaction.now
    wanted = select(silences).where(silences.c.ended_at.is_(None), silences.c.ends_at > now)
    rows = transaction.connection.execute(wanted.order_by(silences.c.ends_at.desc(), silences.c.id)).mappings()
    return tuple(silence_from(row) for row in rows)


def one(transaction: Transaction, silence_id: str) -> dict[str, Any] | None:
    """One silence, as the API shows it."""
    found = select(silences).where(silences.c.id == silence_id)
    row = transaction.connection.execute(found).mappings().one_or_none()
    return None if row is None else _item(row, transaction.now, _hidden(transaction, row["starts_at"]))


def listed(transaction: Transaction, *, limit: int, before: str | None) -> Page:
    """Silences, those that are not over first, newest first in each; paged by the id of the last one."""
    connection, now = transaction.connection, transaction.now
    is_over = case((or_(silences.c.ended_at.is_not(None), silences.c.ends_at <= now), 1), else_=0)
    wanted = select(silences).order_by(is_over, silences.c.id.desc()).limit(limit + 1)
    after = connection.execute(select(is_over).where(silences.c.id == before)).scalar()
    if after is not None:
        wanted = wanted.where(or_(is_over > after, and_(is_over == after, silences.c.id < before)))
    rows = list(connection.execute(wanted).mappings())
    shown = rows[:limit]
    hidden = _hidden(transaction, min((row["starts_at"] for row in shown), default=now))
    items = tuple(_item(row, now, hidden) for row in shown)
    return Page(items=items, next=items[-1]["id"] if len(rows) > limit and items else None)


def prune(transaction: Transaction, history: timedelta) -> int:
    """Let go of silences that were over before the history begins; how many."""
    old = silences.c.ends_at < transaction.now - history
    return int(transaction.connection.execute(delete(silences).where(old)).rowcount)


def silence_from(row: Row) -> Silence:
    return Silence(
        id=row["id"],
        match=json.loads(row["match"]),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        author=row["author"],
        reason=row["reason"],
        criticals=row["criticals"],
    )


def _item(row: Row, now: datetime, hidden: Mapping[str, int]) -> dict[str, Any]:
    over_at = row["ended_at"] or row["ends_at"]
    state = "ended" if over_at <= now else "pending" if row["starts_at"] > now else "active"
    return {
        "id": row["id"],
        "state": state,
        "match": json.loads(row["match"]),
        "starts_at": rfc3339(row["starts_at"]),
        "ends_at": rfc3339(row["ends_at"]),
        "author": row["author"],
        "reason": row["reason"],
        "criticals": row["criticals"],
        "created_at": rfc3339(row["created_at"]),
        "ended_at": rfc3339(row["ended_at"]),  # by a person, before its time
        "ended_by": row["ended_by"],
        "hidden": hidden.get(row["id"], 0),  # alerts so far, of the newest COUNTED_MAX
    }


def _hidden(transaction: Transaction, since: datetime) -> dict[str, int]:
    """How many alerts each silence hid since then, the newest COUNTED_MAX at most."""
    wanted = (
        select(alerts.c.decisions)
        .where(alerts.c.outcome == Outcome.SILENCED.value, alerts.c.event_id >= earliest_at(since))
        .order_by(alerts.c.event_id.desc())
        .limit(COUNTED_MAX)
    )
    counted: dict[str, int] = {}
    for (decisions,) in transaction.connection.execute(wanted):
        for by in {decision.get("silence") for decision in json.loads(decisions)} - {None}:
            counted[by] = counted.get(by, 0) + 1
    return counted


# -- what one would have hidden


def preview(
    transaction: Transaction,
    matches: Callable[[Alert], bool],
    payloads: Payloads | None,
    *,
    criticals: bool,
    within: timedelta,
) -> Preview:
    """What a silence with these matchers would have hidden of the stored alerts, by their own severity.

    `payloads` reads a stored body again, for matchers that ask for the payload.
    """
    hidden: list[dict[str, Any]] = []
    number = opened = spared = looked = 0
    for row, alert in _recent(transaction, payloads, transaction.now - within):
        looked += 1
        if not matches(alert):
            continue
        if effective(alert.severity) is Severity.CRITICAL and not criticals:
            spared += 1
            continue
        number += 1
        opened += row["outcome"] == Outcome.OPENED.value
        if len(hidden) < PREVIEW_SHOWN:
            line = {key: row[key] for key in ("title", "source", "severity", "outcome", "rule")}
            hidden.append({"event": row["event_id"], "received_at": rfc3339(row["received_at"]), **line})
    note = f"only the newest {PREVIEW_SCAN:,} alerts were looked at" if looked >= PREVIEW_SCAN else None
    return Preview(alerts=number, opened=opened, criticals=spared, items=tuple(hidden), note=note)


def _recent(transaction: Transaction, payloads: Payloads | None, since: datetime) -> Iterator[tuple[Row, Alert]]:
    """Firing alerts since then, newest first, at most PREVIEW_SCAN of them."""
    columns: list[Any] = [alerts, events.c.received_at]
    if payloads is not None:
        columns += [events.c.headers, events.c.body]
    wanted = (
        select(*columns)
        .join_from(alerts, events, events.c.id == alerts.c.event_id)
        .where(alerts.c.event_id >= earliest_at(since), alerts.c.status == Status.FIRING.value)
        .order_by(alerts.c.event_id.desc(), alerts.c.position.desc())
        .limit(PREVIEW_SCAN)
    )
    read: tuple[str, Any] = ("", ())
    for row in transaction.connection.execution_options(yield_per=PAGE).execute(wanted).mappings():
        if payloads is not None and read[0] != row["event_id"]:
            body = None if row["body"] is None else zlib.decompress(row["body"])
            again = () if body is None else payloads(row["source"], json.loads(row["headers"]), body)
            read = (row["event_id"], again)
        number = row["position"]
        yield row, alert_from(json.loads(row["document"])["alert"], read[1][number] if number < len(read[1]) else None)


def alert_from(document: Mapping[str, Any], payload: Any) -> Alert:
    """An alert as its record has it; the payload is read again from the body."""

    def instant(name: str) -> datetime | None:
        return None if document[name] is None else datetime.fromisoformat(document[name])

    return Alert(
        source=document["source"],
        source_type=document["source_type"],
        fingerprint=document["fingerprint"],
        status=Status(document["status"]),
        title=document["title"],
        payload=payload,
        episode=document["episode"],
        reported_at=instant("reported_at"),
        severity=None if document["severity"] is None else Severity(document["severity"]),
        description=document["description"],
        labels=document["labels"],
        links=tuple(Link(text=link["text"], href=link["href"]) for link in document["links"]),
        starts_at=instant("starts_at"),
        ends_at=instant("ends_at"),
    )
