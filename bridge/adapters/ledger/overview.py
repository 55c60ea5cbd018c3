"""What the first page asks the ledger: the last hour in numbers.

Counted over rows whose ids are recent, for ids sort by time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.schema import alerts, events

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Numbers of the last hour."""

    received: int  # events
    outcomes: Mapping[str, int]  # of the alerts in them


def overview(transaction: Transaction) -> Overview:
    """The numbers as they are now."""
    connection = transaction.connection
    since = earliest_at(transaction.now - HOUR)
    received = connection.execute(select(func.count()).select_from(events).where(events.c.id >= since)).scalar_one()
    counted = select(alerts.c.outcome, func.count()).where(alerts.c.event_id >= since).group_by(alerts.c.outcome)
    outcomes = {str(outcome): int(number) for outcome, number in connection.execute(counted)}
    return Overview(received=received, outcomes=outcomes)
