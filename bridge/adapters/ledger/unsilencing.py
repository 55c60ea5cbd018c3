"""What a silence hid and what still fires once the silence is over: found here, and received again by a web process.

Most senders report a problem once. What began under a silence would be paged by nobody, however long it lasts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.dialects import postgresql, sqlite

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.schema import alerts, marks, silences
from bridge.domain.alert import Status
from bridge.domain.decision import Outcome

MARK = "silences over"
OVERLAP = timedelta(minutes=1)  # of looks: a silence is ended at an instant before the one at which it can be seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """A silence that ended, and since when it may have hidden something."""

    id: str
    starts_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Silences that ended since the last look, and the instant up to which this one goes."""

    over: tuple[Over, ...]
    until: datetime
    is_first: bool  # of a ledger: what ended before is history


def look(transaction: Transaction) -> Look:
    """Silences that ended since the mark, oldest first."""
    now, connection = transaction.now, transaction.connection
    reached = connection.execute(select(marks.c.reached).where(marks.c.what == MARK)).scalar()
    if reached is None:
        return Look(over=(), until=now, is_first=True)
    ended_at = func.coalesce(silences.c.ended_at, silences.c.ends_at)
    since = datetime.fromisoformat(reached) - OVERLAP
    wanted = select(silences.c.id, silences.c.starts_at).where(ended_at > since, ended_at <= now)
    rows = connection.execute(wanted.order_by(silences.c.id))
    over = tuple(Over(id=row.id, starts_at=row.starts_at) for row in rows)
    return Look(over=over, until=now, is_first=False)


def hidden(transaction: Transaction, silence: Over) -> dict[str, tuple[int, ...]]:
    """Of the alerts that a silence hid those that are the last word on their problem: event -> positions."""
    wanted = select(alerts.c.event_id, alerts.c.position).where(
        alerts.c.outcome == Outcome.SILENCED.value,
        alerts.c.status == Status.FIRING.value,
        alerts.c.event_id >= earliest_at(silence.starts_at - OVERLAP),
        alerts.c.decisions.contains(silence.id),
        _is_last_word(),
    )
    found: dict[str, list[int]] = {}
    for row in transaction.connection.execute(wanted.order_by(alerts.c.event_id, alerts.c.position)):
        found.setdefault(row.event_id, []).append(row.position)
    return {event_id: tuple(positions) for event_id, positions in found.items()}


def last_words(transaction: Transaction, event_id: str, positions: Sequence[int]) -> tuple[int, ...]:
    """Those of an event's alerts after which nothing was said of their problem."""
    wanted = select(alerts.c.position).where(
        alerts.c.event_id == event_id, alerts.c.position.in_(positions), _is_last_word()
    )
    return tuple(transaction.connection.execute(wanted.order_by(alerts.c.position)).scalars())


def _is_last_word() -> ColumnElement[bool]:
    newer = alerts.alias()
    return ~exists().where(
        newer.c.fingerprint == alerts.c.fingerprint,
        newer.c.source == alerts.c.source,
        newer.c.event_id > alerts.c.event_id,
    )


def reached(transaction: Transaction, until: datetime) -> None:
    """Silences that ended until then are done with."""
    dialect = sqlite if transaction.connection.dialect.name == "sqlite" else postgresql
    put = dialect.insert(marks).values(what=MARK, reached=until.isoformat())
    transaction.connection.execute(
        put.on_conflict_do_update(index_elements=[marks.c.what], set_={"reached": put.excluded.reached})
    )
