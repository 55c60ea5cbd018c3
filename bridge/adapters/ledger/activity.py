"""What happened lately, for the first page: 24 hours by the hour, per account, and rules whose templates failed.

A closed stretch of time never changes, so it is counted once per process: an old ledger costs a page nothing. A page
waits for no count: what is not counted within its share of time is counted by the next one.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, select

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.schema import alerts, deliveries, events, incidents
from bridge.domain.delivery import Action, DeliveryState, Reason

HOURS = 24
CHUNK = timedelta(minutes=10)
SETTLES_IN = timedelta(seconds=30)  # an event gets its id a little before it is on disk
COUNTS_FOR_S = 0.05  # of one page
AGE_S = 5.0  # of what changes still
RECENT = timedelta(minutes=10)  # what "receipts per minute" is measured over
FAILED_TEMPLATE = "its template failed"  # as render's notes say it
TROUBLES_MAX = 10
NOTED_MAX = 200  # creates with notes that are looked through

_EVENTS = Statement(
    select(func.count().label("number")).where(events.c.id >= bindparam("first"), events.c.id < bindparam("end"))
)
_ALERTS = Statement(
    select(alerts.c.rule, func.count().label("number"))
    .where(alerts.c.event_id >= bindparam("first"), alerts.c.event_id < bindparam("end"))
    .group_by(alerts.c.rule)
)
_KIND = case(
    (deliveries.c.state == DeliveryState.DEAD.value, "failed"),
    (deliveries.c.reason == Reason.FOLDED.value, "folded"),
    else_="created",
)
_SENT = (DeliveryState.DELIVERED.value, DeliveryState.ADOPTED.value, DeliveryState.DEAD.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """24 hours, oldest first, the running one last."""

    received: tuple[int, ...]  # events
    by_rule: Mapping[str, tuple[int, ...]]  # alerts that each rule decided
    by_account: Mapping[str, Mapping[str, tuple[int, ...]]]  # account -> created | folded | failed
    per_minute: float  # events, of late
    is_whole: bool  # False: older hours are still being counted


class DayBook:
    """Counts the last day, a page's share at a time. One per process; any number of threads may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed: dict[datetime, tuple[int, Counter[str]]] = {}
        self._open: tuple[float, Day] | None = None

    def day(self, transaction: Transaction) -> Day:
        """The day as far as it is counted."""
        with self._lock:
            if self._open is not None and time.monotonic() - self._open[0] < AGE_S:
                return self._open[1]
            made = self._counted(transaction)
            self._open = (time.monotonic(), made) if made.is_whole else None
            return made

    def _counted(self, transaction: Transaction) -> Day:
        connection, now = transaction.connection, transaction.now
        hour = now.replace(minute=0, second=0, microsecond=0)
        first = hour - (HOURS - 1) * timedelta(hours=1)
        self._closed = {start: numbers for start, numbers in self._closed.items() if start >= first}
        received = [0] * HOURS
        by_rule: dict[str, list[int]] = {}
        until = time.monotonic() + COUNTS_FOR_S
        is_whole = True
        start = hour + (now - hour) // CHUNK * CHUNK
        while start >= first:
            chunk = self._closed.get(start)
            if chunk is None and time.monotonic() > until:
                is_whole = False
            elif chunk is None:
                chunk = _chunk(connection, start)
                if start + CHUNK + SETTLES_IN < now:
                    self._closed[start] = chunk
            if chunk is not None:
                at = int((start - first) / timedelta(hours=1))
                received[at] += chunk[0]
                for rule, number in chunk[1].items():
                    by_rule.setdefault(rule, [0] * HOURS)[at] += number
            start -= CHUNK
        late = _EVENTS.rows(connection, first=earliest_at(now - RECENT), end=earliest_at(now + CHUNK))
        return Day(
            received=tuple(received),
            by_rule={rule: tuple(numbers) for rule, numbers in by_rule.items()},
            by_account=_by_account(connection, first),
            per_minute=late[0]["number"] / (RECENT / timedelta(minutes=1)),
            is_whole=is_whole,
        )


def _chunk(connection: Connection, start: datetime) -> tuple[int, Counter[str]]:
    between = {"first": earliest_at(start), "end": earliest_at(start + CHUNK)}
    (found,) = _EVENTS.rows(connection, **between)
    rules = _ALERTS.rows(connection, **between) if found["number"] else []
    return found["number"], Counter({row["rule"]: row["number"] for row in rules if row["rule"] is not None})


def _by_account(connection: Connection, first: datetime) -> dict[str, dict[str, tuple[int, ...]]]:
    """Creates by what became of them, in the hour in which it did."""
    rows = connection.execute(
        select(deliveries.c.account, _KIND.label("kind"), deliveries.c.done_at).where(
            deliveries.c.id >= earliest_at(first - timedelta(hours=1)),
            deliveries.c.action == Action.CREATE.value,
            deliveries.c.done_at >= first,
            deliveries.c.state.in_(_SENT) | (deliveries.c.reason == Reason.FOLDED.value),
        )
    )
    counted: dict[str, dict[str, list[int]]] = {}
    for account, kind, done_at in rows:
        at = min(HOURS - 1, int((done_at - first) / timedelta(hours=1)))
        kinds = counted.setdefault(account, {name: [0] * HOURS for name in ("created", "folded", "failed")})
        kinds[kind][at] += 1
    return {account: {kind: tuple(n) for kind, n in kinds.items()} for account, kinds in counted.items()}


def broken_templates(transaction: Transaction, book: str) -> list[dict[str, Any]]:
    """Rules of this book whose templates failed within a day: rule, account, note, number, newest incident.

    What another rule book decided is mended, or shows itself again.
    """
    since = transaction.now - timedelta(hours=HOURS)
    rows = transaction.connection.execute(
        select(deliveries.c.notes, deliveries.c.incident_id, deliveries.c.account, incidents.c.rule)
        .join_from(deliveries, incidents, incidents.c.id == deliveries.c.incident_id)
        .where(
            deliveries.c.id >= earliest_at(since),
            deliveries.c.action == Action.CREATE.value,
            deliveries.c.notes.like(f"%{FAILED_TEMPLATE}%"),
        )
        .order_by(deliveries.c.id.desc())
        .limit(NOTED_MAX)
    )
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        note = next((one for one in json.loads(row.notes) if FAILED_TEMPLATE in one), "")
        new = {"rule": row.rule, "account": row.account, "note": note, "incident": row.incident_id, "number": 0}
        found.setdefault(row.rule, new)["number"] += 1
    newest = [one["incident"] for one in found.values()]
    of_it = select(alerts.c.incident_id).join_from(alerts, events, events.c.id == alerts.c.event_id)
    held = transaction.connection.execute(of_it.where(alerts.c.incident_id.in_(newest), events.c.book == book))
    still = set(held.scalars())
    return [one for one in found.values() if one["incident"] in still][:TROUBLES_MAX]


def open_by_account(transaction: Transaction) -> dict[str, int]:
    """How many incidents are open upstream, per account."""
    is_open = incidents.c.live & incidents.c.state.in_(("open", "resolving"))
    counted = select(incidents.c.account, func.count()).where(is_open).group_by(incidents.c.account)
    return {row[0]: row[1] for row in transaction.connection.execute(counted)}


def last_proven(transaction: Transaction) -> datetime | None:
    """When an upstream last took something of ours."""
    found = select(deliveries.c.done_at).where(
        deliveries.c.id >= earliest_at(transaction.now - timedelta(hours=HOURS)),
        deliveries.c.state.in_((DeliveryState.DELIVERED.value, DeliveryState.ADOPTED.value)),
    )
    at: datetime | None = transaction.connection.execute(
        found.order_by(deliveries.c.id.desc()).limit(1)
    ).scalar_one_or_none()
    return at
