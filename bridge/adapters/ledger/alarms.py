"""What the alarms are made of, and when each was told last: one message per cause, whichever process finds it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import func, literal_column, select

from bridge.adapters.ledger import books
from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.rows import lane_from
from bridge.adapters.ledger.schema import alarms, deliveries, heartbeats, incidents, lanes
from bridge.domain.alarms import (
    AGAIN_AFTER,
    EVERY,
    MAX_WAIT_UNKNOWN,
    SILENT_AFTER,
    AccountView,
    Cause,
    causes,
    is_due,
)
from bridge.domain.alert import Severity
from bridge.domain.delivery import PAGES, Action, DeliveryState

_PAGES_WAIT = (
    select(deliveries.c.account, func.min(deliveries.c.created_at).label("since"))
    .where(
        literal_column(f"deliveries.state = '{DeliveryState.PENDING.value}'"),  # as its partial index says
        deliveries.c.action.in_([action.value for action in PAGES]),
    )
    .group_by(deliveries.c.account)
)
"""Since when the oldest page of each account waits: whether in its line, for another attempt, or for an answer to what
became of the last one. Each attempt that fails puts off the next one, so that what is due says nothing of it.
"""


def standing(
    transaction: Transaction, routes: Mapping[str, Route], max_waits: Mapping[str, timedelta]
) -> tuple[Cause, ...]:
    """Everything that needs a person now, told before or not. `max_waits`: of every configured account.

    What waits for an account that bridge.yaml does not name (any more) would wait in silence else.
    """
    connection, now = transaction.connection, transaction.now
    states = {row["name"]: lane_from(row) for row in connection.execute(select(lanes)).mappings()}
    since = {row.account: row.since for row in connection.execute(_PAGES_WAIT)}
    dead = (
        select(deliveries.c.account, func.count())
        .join_from(deliveries, incidents, incidents.c.id == deliveries.c.incident_id)
        .where(
            deliveries.c.state == DeliveryState.DEAD.value,
            deliveries.c.action == Action.CREATE.value,
            incidents.c.severity == Severity.CRITICAL.value,
        )
    )
    buried: dict[str, int] = {row[0]: row[1] for row in connection.execute(dead.group_by(deliveries.c.account))}
    beats = (
        select(heartbeats.c.kind, func.max(heartbeats.c.beat_at))
        .where(heartbeats.c.beat_at <= now + SILENT_AFTER)  # what is yet to come says nothing: the clock jumped back
        .group_by(heartbeats.c.kind)
    )
    views = [
        AccountView(
            name=name,
            max_wait=max_waits.get(name, MAX_WAIT_UNKNOWN),
            lane=states.get(routes[name].lane) if name in max_waits else None,
            waits_since=since.get(name),
            critical_dead=buried.get(name, 0),
            plan_b=_plan_b_of(routes[name]) if name in max_waits else None,
            is_configured=name in max_waits,
        )
        for name in sorted({*max_waits, *since, *buried})
    ]
    refused = [f"{one['file']}:{one['line']}: {one['message']}" for one in books.state(transaction).refused]
    return causes(views, {row[0]: row[1] for row in connection.execute(beats)}, now, refused)


def claim(transaction: Transaction, found: Sequence[Cause]) -> list[Cause]:
    """Those of the causes that the caller is to tell now; nobody else is given them for a while."""
    connection, now = transaction.connection, transaction.now
    connection.execute(alarms.delete().where(alarms.c.told_at <= now - EVERY))
    told = {row.cause: row.told_at for row in connection.execute(select(alarms).with_for_update())}
    due = [cause for cause in found if is_due(told.get(cause.key), now)]
    for cause in due:
        connection.execute(alarms.delete().where(alarms.c.cause == cause.key))
        connection.execute(alarms.insert().values(cause=cause.key, told_at=now))
    return due


def unsaid(transaction: Transaction, cause: Cause) -> None:
    """A cause could not be told: it is due again soon."""
    at = transaction.now - EVERY + AGAIN_AFTER
    transaction.connection.execute(alarms.update().where(alarms.c.cause == cause.key).values(told_at=at))


def _plan_b_of(route: Route) -> str | None:
    return None if route.plan_b is None else route.plan_b.account
