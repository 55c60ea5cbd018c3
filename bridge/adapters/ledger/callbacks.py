"""Calls that a sender asked for in a webhook: which are owed, and how they ended.

Nothing is stored for them but the webhook itself: a call is owed as long as its event has no remark.
"""

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import select, update

from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.schema import alerts, events
from bridge.domain.text import storable

OWED_FOR = timedelta(days=3)  # SNS forgets its token after that (docs.aws.amazon.com/sns, ConfirmSubscription)
OWED_MAX = 20  # of one look


def owed(transaction: Transaction, marks: Mapping[str, str]) -> list[str]:
    """The latest events, newest first, of each source whose Notice has the fingerprint that marks a call."""
    found: list[str] = []
    for source, mark in sorted(marks.items()):
        statement = (
            select(events.c.id)
            .join_from(alerts, events, events.c.id == alerts.c.event_id)
            .where(
                alerts.c.fingerprint == mark,
                alerts.c.status.is_(None),
                events.c.source == source,
                events.c.reason.is_(None),
                events.c.body.is_not(None),
                events.c.received_at > transaction.now - OWED_FOR,
            )
            .order_by(events.c.id.desc())
            .limit(OWED_MAX)
        )
        found += transaction.connection.execute(statement).scalars()
    return found


def remark(transaction: Transaction, event_id: str, text: str) -> None:
    """Say at an accepted event how its call ended."""
    statement = update(events).where(events.c.id == event_id, events.c.state == "accepted")
    transaction.connection.execute(statement.values(reason=storable(text)))
