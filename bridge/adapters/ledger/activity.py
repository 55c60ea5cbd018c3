"""What happened lately, for the first page: the last hour and day in numbers, and rules whose templates failed.

The day comes from the numbers that upkeep counts by the hour; the last hour is counted over rows whose ids are recent,
for ids sort by time.
"""

import json
from collections.abc import Iterable, Mapping
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
HOURS = 24
RECENT = timedelta(minutes=10)  # what "receipts per minute" is measured over
FAILED_TEMPLATE = "its template failed"  # as render's notes say it
TROUBLES_MAX = 10
TURNED_AWAY_MIN = 3  # webhooks of a source
NOTED_MAX = 200  # creates with notes that are looked through
_KINDS = {  # the line of a sparkline that a finished create counts for
    DeliveryState.DELIVERED.value: "created",
    DeliveryState.ADOPTED.value: "created",
    DeliveryState.DEAD.value: "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lately:
    """The last hour in numbers."""

    received: int  # events
    per_minute: float  # events, of the last minutes
    outcomes: Mapping[str, int]  # alerts, by what became of each


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """24 hours, oldest first, the running one last."""

    received: tuple[int, ...]  # events
    by_rule: Mapping[str, tuple[int, ...]]  # alerts that each rule decided
    by_account: Mapping[str, Mapping[str, tuple[int, ...]]]  # account -> created | folded | failed
    is_whole: bool  # False: some of it is still being counted


def lately(transaction: Transaction) -> Lately:
    """The last hour, up to now."""
    connection, now = transaction.connection, transaction.now
    since, recent = earliest_at(now - HOUR), earliest_at(now - RECENT)
    number = select(func.count()).select_from(events)
    of_late = connection.execute(number.where(events.c.id >= recent)).scalar_one()
    counted = select(alerts.c.outcome, func.count()).where(alerts.c.event_id >= since).group_by(alerts.c.outcome)
    return Lately(
        received=connection.execute(number.where(events.c.id >= since)).scalar_one(),
        per_minute=of_late / (RECENT / timedelta(minutes=1)),
        outcomes={row[0]: row[1] for row in connection.execute(counted)},
    )


def day(transaction: Transaction) -> Day:
    """The day, as far as it is counted."""
    whats = (tallies.RECEIVED, tallies.HITS, tallies.FINISHED, tallies.FOLDED)
    found = tallies.by_hour(transaction, whats, HOUR * (HOURS - 1))
    first = transaction.now.replace(minute=0, second=0, microsecond=0) - HOUR * (HOURS - 1)
    accounts: dict[str, dict[str, list[int]]] = {}
    created = [
        (account, _KINDS[state], hours)
        for (account, action, state), hours in found.numbers[tallies.FINISHED].items()
        if action == Action.CREATE.value and state in _KINDS
    ]
    folded = [(account, "folded", hours) for (account,), hours in found.numbers[tallies.FOLDED].items()]
    for account, kind, hours in created + folded:
        kinds = accounts.setdefault(account, {name: [0] * HOURS for name in ("created", "folded", "failed")})
        _put(kinds[kind], hours, first)
    return Day(
        received=_line(found.numbers[tallies.RECEIVED].values(), first),
        by_rule={rule: _line([hours], first) for (rule,), hours in found.numbers[tallies.HITS].items()},
        by_account={account: {kind: tuple(n) for kind, n in kinds.items()} for account, kinds in accounts.items()},
        is_whole=found.is_whole,
    )


def _line(several: Iterable[Mapping[datetime, int]], first: datetime) -> tuple[int, ...]:
    line = [0] * HOURS
    for hours in several:
        _put(line, hours, first)
    return tuple(line)


def _put(line: list[int], hours: Mapping[datetime, int], first: datetime) -> None:
    for hour, number in hours.items():
        at = (hour - first) // HOUR
        if 0 <= at < HOURS:
            line[at] += number


def turned_away(transaction: Transaction) -> dict[str, int]:
    """Sources that refused every webhook of this hour and the one before it as not authentic: how many of each.

    Nobody is named while one authentic webhook came in as well: then a stranger knocks, or a sender is one of several.
    Nor for fewer than TURNED_AWAY_MIN, which is what a source that anybody can reach meets on a quiet day.
    """
    refused = tallies.by_hour(transaction, (tallies.REFUSED,), HOUR)
    if not any(why == tallies.UNAUTHORIZED for _, why in refused.numbers[tallies.REFUSED]):
        return {}
    found = tallies.by_hour(transaction, (tallies.REFUSED, tallies.RECEIVED), HOUR)
    if not found.is_whole:
        return {}
    heard = {source for source, state in found.numbers[tallies.RECEIVED] if state != "rejected"}
    return {
        source: sum(hours.values())
        for (source, why), hours in sorted(found.numbers[tallies.REFUSED].items())
        if why == tallies.UNAUTHORIZED and source not in heard and sum(hours.values()) >= TURNED_AWAY_MIN
    }


def broken_templates(transaction: Transaction, book: str) -> list[dict[str, Any]]:
    """Rules of this book whose templates failed within a day: rule, account, note, number, newest incident, its event.

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
    of_it = select(alerts.c.incident_id, func.min(alerts.c.event_id)).join_from(
        alerts, events, events.c.id == alerts.c.event_id
    )
    by_book = of_it.where(alerts.c.incident_id.in_(newest), events.c.book == book).group_by(alerts.c.incident_id)
    opening = {row[0]: row[1] for row in transaction.connection.execute(by_book)}
    still = [one for one in found.values() if one["incident"] in opening]
    return [{**one, "event": opening[one["incident"]]} for one in still[:TROUBLES_MAX]]


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
