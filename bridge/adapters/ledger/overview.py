"""What the first page asks the ledger: the last hour in numbers, a day per account, and dead letters by their cause.

Everything is counted over rows whose ids are recent: ids sort by time, so that old rows cost nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.schema import alerts, deliveries, events, incidents
from bridge.domain.delivery import Action, DeliveryState

HOUR = timedelta(hours=1)
SPARK_HOURS = 24
CAUSES_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Numbers of the first page."""

    received: int  # events of the last hour
    outcomes: Mapping[str, int]  # of the alerts in them
    open: int  # incidents that are open upstream
    created: Mapping[str, tuple[int, ...]]  # account -> incidents created per hour, the last 24 h, oldest first
    causes: tuple[Mapping[str, Any], ...]  # dead letters: account, rule, reason, detail, count


def overview(transaction: Transaction) -> Overview:
    """The numbers as they are now."""
    connection, now = transaction.connection, transaction.now
    since = earliest_at(now - HOUR)
    received = connection.execute(select(func.count()).select_from(events).where(events.c.id >= since)).scalar_one()
    counted = select(alerts.c.outcome, func.count()).where(alerts.c.event_id >= since).group_by(alerts.c.outcome)
    outcomes = {str(outcome): int(number) for outcome, number in connection.execute(counted)}
    is_open = incidents.c.live & incidents.c.state.in_(("open", "resolving"))
    opened = connection.execute(select(func.count()).select_from(incidents).where(is_open)).scalar_one()
    return Overview(
        received=received, outcomes=outcomes, open=opened, created=_created(transaction), causes=_causes(transaction)
    )


def hits(transaction: Transaction, within: timedelta) -> dict[str, int]:
    """How many alerts each rule decided within that time."""
    since = earliest_at(transaction.now - within)
    counted = select(alerts.c.rule, func.count()).where(alerts.c.event_id >= since, alerts.c.rule.is_not(None))
    return {str(rule): int(number) for rule, number in transaction.connection.execute(counted.group_by(alerts.c.rule))}


def _created(transaction: Transaction) -> dict[str, tuple[int, ...]]:
    now: datetime = transaction.now
    rows = transaction.connection.execute(
        select(deliveries.c.account, deliveries.c.done_at).where(
            deliveries.c.id >= earliest_at(now - (SPARK_HOURS + 1) * HOUR),
            deliveries.c.action == Action.CREATE.value,
            deliveries.c.state.in_((DeliveryState.DELIVERED.value, DeliveryState.ADOPTED.value)),
        )
    )
    counted: dict[str, list[int]] = {}
    for account, done_at in rows:
        ago = int((now - done_at) / HOUR) if done_at is not None else SPARK_HOURS
        if 0 <= ago < SPARK_HOURS:
            counted.setdefault(account, [0] * SPARK_HOURS)[SPARK_HOURS - 1 - ago] += 1
    return {account: tuple(numbers) for account, numbers in counted.items()}


def _causes(transaction: Transaction) -> tuple[Mapping[str, Any], ...]:
    rows = transaction.connection.execute(
        select(
            deliveries.c.account,
            incidents.c.rule,
            deliveries.c.reason,
            func.min(deliveries.c.detail).label("detail"),
            func.count().label("count"),
        )
        .join_from(deliveries, incidents, incidents.c.id == deliveries.c.incident_id)
        .where(deliveries.c.state == DeliveryState.DEAD.value)
        .group_by(deliveries.c.account, incidents.c.rule, deliveries.c.reason)
        .order_by(func.count().desc())
        .limit(CAUSES_MAX)
    )
    return tuple(dict(row) for row in rows.mappings())
