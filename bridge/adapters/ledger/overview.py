"""What the first page asks the ledger: the last hour in numbers, a day per account, and dead letters by their cause.

The last hour is counted over rows whose ids are recent, for ids sort by time; the day comes from numbers by hour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger import tallies
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


def _created(transaction: Transaction) -> dict[str, tuple[int, ...]]:
    """Creates that were delivered, per account and hour, the oldest of SPARK_HOURS first."""
    now: datetime = transaction.now
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    of_sparks = [this_hour - HOUR * ago for ago in range(SPARK_HOURS - 1, -1, -1)]
    found: dict[str, list[int]] = {}
    counted = tallies.by_hour(transaction, tallies.FINISHED, SPARK_HOURS * HOUR)
    for (account, action, state), hours in counted.items():
        if action == Action.CREATE and state in (DeliveryState.DELIVERED, DeliveryState.ADOPTED):
            numbers = found.setdefault(account, [0] * SPARK_HOURS)
            found[account] = [before + hours.get(hour, 0) for before, hour in zip(numbers, of_sparks, strict=True)]
    return {account: tuple(numbers) for account, numbers in found.items()}


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
