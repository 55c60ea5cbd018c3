"""Settling: what decided webhooks do to problems, series, incidents, members and deliveries, in one transaction.

Everything decided here is read inside the transaction. Locks are taken in one order (problems sorted, then series
sorted), so that two processes never wait in a circle; a lane row is never touched. What is prepared before stands in
receipts.py, what is locked and read in world.py, what a report does in reports.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from bridge.adapters.ledger import sightings
from bridge.adapters.ledger.changes import Changes, Route
from bridge.adapters.ledger.compiled import InsertStatement, SizedStatement, in_one_trip, listed, padded
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.receipts import AlertReceipt, Receipt, decision_document
from bridge.adapters.ledger.reports import applied, ends, fires, why_late
from bridge.adapters.ledger.rows import dumps
from bridge.adapters.ledger.schema import alerts, events
from bridge.adapters.ledger.world import World, load, put_problems
from bridge.domain.alert import Alert, Notice, Sighted, Status
from bridge.domain.decision import Decided, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of one webhook."""

    event_id: str
    alerts: int
    duplicate: bool = False


_KNOWN_DELIVERIES = SizedStatement(
    lambda keys: select(events.c.delivery_key, events.c.id, events.c.alerts).where(
        events.c.delivery_key.in_(listed("keys", keys))
    )
)
_INSERT_EVENTS = InsertStatement(events)
_INSERT_ALERTS = InsertStatement(alerts)


def settle(
    transaction: Transaction, batch: Sequence[Receipt], routes: Mapping[str, Route], new_id: Callable[[], str]
) -> tuple[list[Settled], frozenset[str]]:
    """Write a batch of webhooks and everything that follows from them; answers per webhook, and lanes with work.

    A webhook whose delivery id is known, from before or from earlier in the batch, changes nothing.
    """
    connection, now = transaction.connection, transaction.now
    with in_one_trip(connection):
        results, fresh = _without_repeats(connection, batch)
        world = load(connection, Changes(now=now, routes=routes, new_id=new_id), fresh)
        rows = [_settle_alert(connection, world, one, item) for one in fresh for item in one.alerts]
        put_problems(connection, world)
        _INSERT_EVENTS.run(connection, (one.event for one in fresh))
        _INSERT_ALERTS.run(connection, rows)
        world.changes.flush(connection)
    return results, frozenset(world.changes.lanes)


def _without_repeats(connection: Connection, batch: Sequence[Receipt]) -> tuple[list[Settled], list[Receipt]]:
    wanted = [one.event["delivery_key"] for one in batch if one.event["delivery_key"] is not None]
    known: dict[str, Settled] = {}
    if wanted:
        for row in _KNOWN_DELIVERIES.rows(connection, keys=padded(wanted)):
            known[row["delivery_key"]] = Settled(event_id=row["id"], alerts=row["alerts"], duplicate=True)
    results: list[Settled] = []
    fresh: list[Receipt] = []
    for one in batch:
        key = one.event["delivery_key"]
        if key in known:
            results.append(known[key])
            continue
        settled = Settled(event_id=one.event["id"], alerts=len(one.alerts))
        results.append(settled)
        fresh.append(one)
        if key is not None:
            known[key] = Settled(event_id=settled.event_id, alerts=settled.alerts, duplicate=True)
    return results, fresh


def _settle_alert(connection: Connection, world: World, one: Receipt, item: AlertReceipt) -> dict[str, Any]:
    """Apply one reading; answer its row with the decisions filled in."""
    reading = item.decided.reading
    late = why_late(world, item)
    if isinstance(reading, Sighted):
        decisions = [_sees(connection, world, reading)]
    elif isinstance(reading, Notice):
        decisions = [decision_document(Outcome.IGNORED, reason=reading.reason)]
    elif late is not None:
        decisions = [decision_document(Outcome.IGNORED, rule=next(iter(item.decided.matched), None), reason=late)]
    elif reading.status is Status.FIRING:
        applied(world, item)
        decisions = [fires(world, one, item, reading, decision) for decision in item.decided.decisions]
    else:
        decisions = ends(world, item, reading)
        if decisions or reading.status is Status.RESOLVED:  # else the firing that it overtook would page nobody
            applied(world, item)
    if not decisions:
        decisions = [_without_rule(item.decided)]
    first = decisions[0]
    return {
        **item.row,
        "outcome": first["outcome"],
        "rule": first["rule"],
        "incident_id": first["incident"],
        "decisions": dumps(decisions),
    }


def _sees(connection: Connection, world: World, sighted: Sighted) -> dict[str, Any]:
    """An event of an upstream about an incident there."""
    step = sightings.apply(connection, world.changes, world.sighted, sighted)
    if step is None:
        why = f"{sighted.reason}; account '{sighted.account}' has no incident of ours with this id"
        return decision_document(Outcome.IGNORED, account=sighted.account, reason=why)
    incident = step.incident
    if incident.live:
        world.live[incident.series] = incident
    elif incident.series in world.live and world.live[incident.series].id == incident.id:
        del world.live[incident.series]
    about = {"rule": incident.rule, "account": incident.account, "series": incident.series, "incident": incident.id}
    return decision_document(step.outcome, **about, reason=f"{sighted.reason}: {step.reason}")


def _without_rule(decided: Decided) -> dict[str, Any]:
    if not decided.matched:
        return decision_document(Outcome.UNMATCHED, reason="no rule matches")
    status = decided.reading.status if isinstance(decided.reading, Alert) else ""
    return decision_document(
        Outcome.IGNORED, rule=decided.matched[0], reason=f"{status}, but nothing is open for this problem"
    )
