"""Stored webhooks, read again: one by its id, or all of a stretch of time, oldest first, a page at a time."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.rows import Row, lane_from
from bridge.adapters.ledger.schema import deliveries, events, lanes, to_us
from bridge.domain.alert import Severity
from bridge.domain.lane import Line, order_key

PAGE_EVENTS = 100  # bodies of up to 8 MiB each are held at a time
ACCEPTED = events.c.state == "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One webhook as it was kept: without credentials, its secrets blotted out of the body."""

    id: str
    source: str
    received_at: datetime
    state: str  # accepted | rejected
    reason: str | None
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)  # None once `retention.bodies` let go of it
    book: str | None  # hash of the rule book that decided it


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Which accepted events: the newest `last` of them, those since an instant, of one source; None: not asked for."""

    last: int | None = None
    since: datetime | None = None
    source: str | None = None


def stored(transaction: Transaction, event_id: str) -> StoredEvent | None:
    """One event; None when there is none of this id."""
    row = transaction.connection.execute(select(events).where(events.c.id == event_id)).mappings().one_or_none()
    return None if row is None else _event(row)


def size(transaction: Transaction, stretch: Stretch) -> int:
    """How many events a stretch holds now, with their body or without."""
    found = select(func.count()).select_from(events).where(*_conditions(transaction.connection, stretch))
    return int(transaction.connection.execute(found).scalar_one())


def pages(reading: Callable[[], AbstractContextManager[Transaction]], stretch: Stretch) -> Iterator[StoredEvent]:
    """The events of a stretch whose body is still kept, oldest first.

    Every page is a transaction of its own, so that a long comparison keeps no old state of the database alive.
    """
    with reading() as transaction:
        conditions = [*_conditions(transaction.connection, stretch), events.c.body.is_not(None)]
    after = ""
    while True:
        with reading() as transaction:
            wanted = select(events).where(*conditions, events.c.id > after).order_by(events.c.id).limit(PAGE_EVENTS)
            rows = transaction.connection.execute(wanted).mappings().all()
        if not rows:
            return
        after = rows[-1]["id"]
        for row in rows:
            yield _event(row)


def line(transaction: Transaction, route: Route) -> Line | None:
    """What one more create would find in a lane; None when the lane has no row yet."""
    connection = transaction.connection
    row = connection.execute(select(lanes).where(lanes.c.name == route.lane)).mappings().one_or_none()
    if row is None:
        return None
    waiting = select(func.count()).select_from(deliveries)
    waiting = waiting.where(
        deliveries.c.lane == route.lane, deliveries.c["class"] == "create", deliveries.c.state == "pending"
    )
    now_us = to_us(transaction.now)
    keys = {one: order_key(one, now_us, route.pace.promote_after) for one in Severity}
    ahead = {
        one: int(connection.execute(waiting.where(deliveries.c.order_key < keys[one])).scalar_one()) for one in keys
    }
    return Line(state=lane_from(row), ahead=ahead)


def _conditions(connection: Connection, stretch: Stretch) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [ACCEPTED]
    if stretch.source is not None:
        conditions.append(events.c.source == stretch.source)
    if stretch.since is not None:
        conditions.append(events.c.id >= earliest_at(stretch.since))  # ids sort by time, and have the index
    if stretch.last is not None:
        newest = select(events.c.id).where(*conditions).order_by(events.c.id.desc()).offset(stretch.last - 1).limit(1)
        first = connection.execute(newest).scalar()
        if first is not None:
            conditions.append(events.c.id >= first)
    return conditions


def _event(row: Row) -> StoredEvent:
    return StoredEvent(
        id=row["id"],
        source=row["source"],
        received_at=row["received_at"],
        state=row["state"],
        reason=row["reason"],
        headers=json.loads(row["headers"]),
        body=None if row["body"] is None else zlib.decompress(row["body"]),
        book=row["book"],
    )
