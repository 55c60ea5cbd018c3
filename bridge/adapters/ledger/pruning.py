"""Letting go: of bodies and history past their time, and of the oldest bodies of a source that has too many.

Every step is one transaction over a bounded number of rows, for ingest waits for it, and says whether there is more.
A mark remembers how far bodies are gone, so that no step looks at a row again.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, select, update

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger import audit, books, tallies
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.schema import (
    IDS_AT_ONCE,
    UNFINISHED,
    alerts,
    attempts,
    deliveries,
    events,
    incidents,
    marks,
    members,
    problems,
    series,
)
from bridge.domain import keys
from bridge.domain.delivery import Action, DeliveryState
from bridge.domain.incident import IncidentState

STEP_BODIES = 500
STEP_EVENTS = 100
STEP_INCIDENTS = 50
SOUGHT_INCIDENTS = 500  # of one look
STEP_CHECKS = 200
STEP_AUDIT = 2000
STEP_BOOKS = 20
_KEPT = (*UNFINISHED, DeliveryState.DEAD.value)
"""Deliveries that go with their incident only once they are over: a dead letter waits for a person, however long."""
REPEATS_KNOWN_FOR = timedelta(days=7)  # at least: a sender's repeat is answered with the first event
_BY_AGE = "bodies by age"


def bodies_past(transaction: Transaction, kept_for: timedelta) -> int:
    """The oldest bodies, where they are past their time; how many went: STEP_BODIES when there may be more."""
    connection, before = transaction.connection, transaction.now - kept_for
    counted = tallies.counted_before(transaction)
    after = _mark(connection, _BY_AGE)
    wanted = select(events.c.id, events.c.source, events.c.received_at, func.length(events.c.body).label("size"))
    rows = connection.execute(wanted.where(events.c.id > after).order_by(events.c.id).limit(STEP_BODIES)).all()
    old = [row for row in rows if row.received_at < before]
    if not old:
        return 0
    _empty(transaction, [row for row in old if row.size is not None], counted)
    young = [row.id for row in rows if row.received_at >= before]
    passed = [row.id for row in old if not young or row.id < young[0]]
    if passed:
        _put_mark(connection, _BY_AGE, passed[-1])
    return len(old)


def bodies_beyond(transaction: Transaction, source: str, most_bytes: int, owed: Collection[str]) -> bool:
    """The oldest bodies of a source that has more than `most_bytes` of them; True when there may be more to do.

    `owed` are events whose body somebody still needs. What was not counted yet is left for the next time.
    """
    connection = transaction.connection
    counted = tallies.counted_before(transaction)
    beyond = tallies.body_bytes(transaction).get(source, 0) - most_bytes
    if beyond <= 0:
        return False
    mark = f"bodies of {source}"
    wanted = select(events.c.id, events.c.source, func.length(events.c.body).label("size")).where(
        events.c.source == source, events.c.id > _mark(connection, mark), events.c.id < counted
    )
    rows = connection.execute(wanted.order_by(events.c.id).limit(STEP_BODIES)).all()
    gone: list[Any] = []
    last = None
    for row in rows:
        if beyond <= 0:
            break
        last = row.id
        if row.size is not None and row.id not in owed:
            gone.append(row)
            beyond -= row.size
    if last is None:
        return False
    _empty(transaction, gone, counted)
    _put_mark(connection, mark, last)
    return beyond > 0


def crowded(transaction: Transaction, most_bytes: int) -> list[str]:
    """The sources that keep more bodies than they may."""
    return sorted(name for name, size in tallies.body_bytes(transaction).items() if size > most_bytes)


def events_past(transaction: Transaction, kept_for: timedelta) -> int:
    """The oldest events with their alerts and, where nothing else tells of them, problems; how many went."""
    connection = transaction.connection
    before = transaction.now - max(kept_for, REPEATS_KNOWN_FOR)
    counted = tallies.counted_before(transaction)
    wanted = select(events.c.id, events.c.source, events.c.received_at, func.length(events.c.body).label("size"))
    rows = connection.execute(wanted.order_by(events.c.id).limit(STEP_EVENTS)).all()
    old = [row for row in rows if row.received_at < before]
    if not old:
        return 0
    ids = [row.id for row in old]
    _forget_problems(connection, _reported_by(connection, ids), before)
    _forget_bytes(transaction, old, counted)
    connection.execute(delete(alerts).where(alerts.c.event_id.in_(ids)))
    connection.execute(delete(events).where(events.c.id.in_(ids)))
    return len(ids)


def incidents_past(transaction: Transaction, kept_for: timedelta) -> list[str]:
    """The oldest incidents that are over and past their time, SOUGHT_INCIDENTS at most; none that still owes anything.

    Open ones, and those whose dead letters nobody looks at, stay in front of them for years, and each is passed by:
    ask without the lock that everybody writes by.
    """
    statement = select(incidents.c.id).where(*_over(transaction.now - kept_for))
    return list(transaction.connection.execute(statement.order_by(incidents.c.id).limit(SOUGHT_INCIDENTS)).scalars())


def forget_incidents(transaction: Transaction, kept_for: timedelta, ids: Collection[str]) -> int:
    """Let go of these incidents, as far as they are over still, with all that was told of them and what only they
    needed; how many went."""
    connection = transaction.connection
    still = select(incidents.c.id, incidents.c.series).where(*_over(transaction.now - kept_for))
    found = {row.id: row.series for row in connection.execute(still.where(incidents.c.id.in_(ids)))}
    ids = list(found)
    if ids:
        of_them = select(deliveries.c.id).where(deliveries.c.incident_id.in_(ids))
        connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(of_them)))
        connection.execute(delete(deliveries).where(deliveries.c.incident_id.in_(ids)))
        of_members = select(members.c.problem_id).where(members.c.incident_id.in_(ids))
        problem_ids = set(connection.execute(of_members).scalars())
        connection.execute(delete(members).where(members.c.incident_id.in_(ids)))
        connection.execute(delete(incidents).where(incidents.c.id.in_(ids)))
        # those whose events went while they fired, and that were ended by hand
        _forget_problems(connection, problem_ids, transaction.now - max(kept_for, REPEATS_KNOWN_FOR))
        _forget_series(connection, set(found.values()))
    return len(ids)


def _over(before: datetime) -> tuple[ColumnElement[bool], ...]:
    """Incidents that were over before that, with every delivery, and no dead letter."""
    over = incidents.c.state.in_((IncidentState.RESOLVED.value, IncidentState.CANCELLED.value))
    owing = select(deliveries.c.id).where(deliveries.c.incident_id == incidents.c.id, deliveries.c.state.in_(_KEPT))
    # with an offset PostgreSQL asks each incident; else it makes a join, and goes through all deliveries for a step
    kept = owing.offset(0).exists()
    return (
        incidents.c.id < earliest_at(before),
        over,
        incidents.c.live.is_(False),
        func.coalesce(incidents.c.resolved_at, incidents.c.opened_at) < before,
        ~kept,
    )


def checks_past(transaction: Transaction, kept_for: timedelta) -> list[str]:
    """The oldest looks at the upstream, STEP_CHECKS at most.

    They alone come again and again while an incident is open, some of them for years: all else that was told of it is
    kept until it goes itself. They stand between that, so that looking for them is long where much is past its time
    (0.1 s of 85,000 deliveries): ask without the lock that everybody writes by.
    """
    return list(
        transaction.connection.execute(
            select(deliveries.c.id)
            .where(
                deliveries.c.done_at < transaction.now - kept_for,
                deliveries.c.action == Action.CHECK.value,
                deliveries.c.state.not_in(_KEPT),
            )
            .order_by(deliveries.c.done_at)
            .limit(STEP_CHECKS)
        ).scalars()
    )


def forget_checks(transaction: Transaction, ids: Collection[str]) -> int:
    """Let go of these looks at the upstream, which are over; how many went."""
    connection = transaction.connection
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(ids)))
    return int(connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids))).rowcount)


def books_past(transaction: Transaction, kept_for: timedelta) -> int:
    """Rule books that no event of the history was decided by any more; how many went."""
    return books.forget(transaction, transaction.now - max(kept_for, REPEATS_KNOWN_FOR), STEP_BOOKS)


def rest_past(transaction: Transaction, kept_for: timedelta) -> int:
    """Lines of the audit, and hours of numbers, past their time; how many lines went."""
    tallies.forget(transaction)
    return audit.forget(transaction, transaction.now - kept_for, STEP_AUDIT)


def _reported_by(connection: Connection, event_ids: Sequence[str]) -> set[str]:
    """The problems that these events tell of."""
    reported = select(alerts.c.source, alerts.c.fingerprint).where(
        alerts.c.event_id.in_(event_ids), alerts.c.fingerprint.is_not(None)
    )
    return {keys.problem_id(source, fingerprint) for source, fingerprint in connection.execute(reported)}


def _forget_problems(connection: Connection, problem_ids: Collection[str], before: datetime) -> None:
    """Let go of the last reports of these problems, where nobody reported since and nothing fires."""
    ids = sorted(problem_ids)
    fires = exists().where(members.c.problem_id == problems.c.id, members.c.firing)
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = ids[start : start + IDS_AT_ONCE]
        connection.execute(delete(problems).where(problems.c.id.in_(some), problems.c.updated_at < before, ~fires))


def _forget_series(connection: Connection, ids: Collection[str]) -> None:
    """Let go of the series that have no incident any more; the next alert of one makes it anew.

    Whose row somebody has locked is in use, and stays. The others are looked at once more when they are ours: only that
    look sees an incident that was opened just before.
    """
    unlocked = select(series.c.id).where(series.c.id.in_(ids)).with_for_update(skip_locked=True)
    ours = connection.execute(unlocked).scalars().all()
    connection.execute(delete(series).where(series.c.id.in_(ours), ~exists().where(incidents.c.series == series.c.id)))


def _empty(transaction: Transaction, rows: Sequence[Any], counted: str) -> None:
    """These events' bodies are gone, and no longer counted."""
    if rows:
        ids = [row.id for row in rows]
        transaction.connection.execute(update(events).where(events.c.id.in_(ids)).values(body=None))
        _forget_bytes(transaction, rows, counted)


def _forget_bytes(transaction: Transaction, rows: Sequence[Any], counted: str) -> None:
    less: dict[str, int] = {}
    for row in rows:
        if row.size is not None and row.id < counted:
            less[row.source] = less.get(row.source, 0) - row.size
    tallies.add(transaction, {(tallies.BODIES, tallies.EVER, (source,)): size for source, size in less.items()})


def _mark(connection: Connection, what: str) -> str:
    return connection.execute(select(marks.c.reached).where(marks.c.what == what)).scalar() or ""


def _put_mark(connection: Connection, what: str, reached: str) -> None:
    if connection.execute(update(marks).where(marks.c.what == what).values(reached=reached)).rowcount == 0:
        connection.execute(insert(marks).values(what=what, reached=reached))
