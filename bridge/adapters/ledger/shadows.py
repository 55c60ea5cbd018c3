"""The records that a report on shadow rules is made of: their decisions, and the ends of problems."""

import json
from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import or_, select

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.schema import alerts
from bridge.domain.alert import Status
from bridge.domain.shadow import Decided, Line

PAGE = 500  # read at once
_SHADOW = '%"outcome":"shadow"%'  # as rows.dumps writes it


def is_cut(transaction: Transaction, within: timedelta, most: int) -> str | None:
    """The event before which nothing is looked at, when there are more than `most` alerts in that time."""
    since = earliest_at(transaction.now - within)
    oldest = select(alerts.c.event_id).where(alerts.c.event_id >= since)
    found: str | None = transaction.connection.execute(
        oldest.order_by(alerts.c.event_id.desc()).offset(most).limit(1)
    ).scalar()
    return found


def lines(transaction: Transaction, within: timedelta, after: str | None) -> Iterator[Line]:
    """Alerts of that time, and after that event, oldest first, that a shadow rule decided or that are over."""
    wanted = (
        select(alerts)
        .where(
            alerts.c.event_id >= earliest_at(transaction.now - within),
            or_(alerts.c.decisions.like(_SHADOW), alerts.c.status == Status.RESOLVED.value),
        )
        .order_by(alerts.c.event_id, alerts.c.position)
    )
    if after is not None:
        wanted = wanted.where(alerts.c.event_id > after)
    for row in transaction.connection.execution_options(yield_per=PAGE).execute(wanted).mappings():
        decisions = json.loads(row["decisions"])
        yield Line(
            event=row["event_id"],
            source=row["source"],
            fingerprint=row["fingerprint"],
            title=row["title"],
            status=row["status"],
            decisions=tuple(
                Decided(rule=one["rule"], account=one["account"], outcome=one["outcome"], series=one.get("series"))
                for one in decisions
            ),
        )
