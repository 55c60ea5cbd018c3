"""Looks at the upstream's incidents: what an answered check changes, and the sweep that asks after each now and then.

The sweep is derived from the rows: whom nobody has seen for hours. Its checks go when nothing else waits in their lane,
and no round adds more of them than a small share of what the account allows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, exists, func, literal_column, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bridge.adapters.ledger.changes import Changes, Route
from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.renewals import lock_series_of, with_renewal
from bridge.adapters.ledger.rows import incident_from
from bridge.adapters.ledger.schema import UNFINISHED, deliveries, incidents, sweeps
from bridge.domain.delivery import Action, Reference
from bridge.domain.incident import Incident, IncidentState, Transition
from bridge.domain.truth import (
    LOOK_BACK_AFTER,
    LOOK_BACK_FOR,
    LOOK_EVERY,
    ROUND,
    Trust,
    looks_per_round,
    may_look,
    on_looked,
)

_TOLD = Statement(
    select(func.count().label("number")).where(
        deliveries.c.incident_id == bindparam("incident"), deliveries.c.action == Action.RESOLVE.value
    )
)


_later = incidents.alias("later")
_LIVE_THERE = Statement(
    select(incidents.c.id).where(
        incidents.c.account == bindparam("account"), incidents.c.upstream_id == bindparam("upstream"), incidents.c.live
    )
)


def is_another_one_now(connection: Connection, incident: Incident) -> bool:
    """Whether a later episode lives on in the upstream's incident of one that is over."""
    if incident.live or incident.upstream_id is None:
        return False
    return bool(_LIVE_THERE.rows(connection, account=incident.account, upstream=incident.upstream_id))


def look(
    connection: Connection, incident: Incident, there: Reference, now: datetime, trust: Trust
) -> tuple[Incident, Transition]:
    """What a look at an incident changes, and the incident with what a new episode of it would open with."""
    told = 0
    if is_another_one_now(connection, incident):
        return incident, Transition(incident=incident)
    if there.closed:
        incident = with_renewal(connection, incident) if incident.live and incident.firing else incident
    elif incident.state is IncidentState.RESOLVED and not incident.live:
        told = _TOLD.rows(connection, incident=incident.id)[0]["number"]
    return incident, on_looked(incident, there, now, trust, told=told)


def sweep_due(transaction: Transaction, routes: Mapping[str, Route]) -> tuple[list[str], list[str]]:
    """Accounts whose next round may begin: those where an incident is due for a look, and those where none is."""
    connection, now = transaction.connection, transaction.now
    swept = {row.account: row.swept_at for row in connection.execute(select(sweeps))}
    due = [name for name in sorted(routes) if name not in swept or not _is_recent(swept[name], now)]
    if not due:
        return [], []
    wanted = set[str]()
    for unseen in (_unseen(now), _resolved_unseen(now)):
        wanted.update(connection.execute(select(incidents.c.account).where(*unseen).distinct()).scalars())
    return [name for name in due if name in wanted], [name for name in due if name not in wanted]


def pass_over(transaction: Transaction, accounts: Sequence[str]) -> None:
    """One round over accounts where no incident is due for a look, all of them at once."""
    began = _dialect(transaction.connection).insert(sweeps)
    transaction.connection.execute(
        began.on_conflict_do_update(index_elements=[sweeps.c.account], set_={"swept_at": began.excluded.swept_at}),
        [{"account": account, "swept_at": transaction.now} for account in accounts],
    )


def sweep(transaction: Transaction, routes: Mapping[str, Route], new_id: Callable[[], str], account: str) -> int:
    """One round over one account: a check for each incident that is due for a look; how many."""
    connection, now = transaction.connection, transaction.now
    if not _begin_round(connection, account, now):
        return 0
    most = looks_per_round(routes[account].pace.update_interval)
    of_account = select(incidents.c.id).where(incidents.c.account == account)
    unseen = of_account.where(*_unseen(now)).order_by(incidents.c.confirmed_at, incidents.c.id)
    found = [*connection.execute(unseen.limit(most)).scalars()]
    resolved = of_account.where(*_resolved_unseen(now)).order_by(incidents.c.resolved_at, incidents.c.id)
    found += connection.execute(resolved.limit(most - len(found))).scalars()
    if not found:
        return 0
    changes = Changes(now=now, routes=routes, new_id=new_id)
    locked = lock_series_of(connection, found)
    changes.next_no.update(locked)
    asked = 0
    for row in connection.execute(select(incidents).where(incidents.c.id.in_(found))).mappings().all():
        incident = incident_from(row)
        if incident.series not in locked or not may_look(incident):
            continue
        if incident.live:
            changes.put(replace(incident, renewal=with_renewal(connection, incident).renewal))
        changes.add_delivery(incident, Action.CHECK, None, after_all_others=True)
        asked += 1
    changes.flush(connection)
    return asked


def _begin_round(connection: Connection, account: str, now: datetime) -> bool:
    """Whether this account's round is the caller's: its row is locked until the end of the transaction."""
    row = {"account": account, "swept_at": now - 2 * ROUND}
    connection.execute(_dialect(connection).insert(sweeps).on_conflict_do_nothing(), row)
    held = select(sweeps.c.swept_at).where(sweeps.c.account == account).with_for_update()
    if _is_recent(connection.execute(held).scalar_one(), now):
        return False
    connection.execute(update(sweeps).where(sweeps.c.account == account).values(swept_at=now))
    return True


def _is_recent(swept_at: datetime, now: datetime) -> bool:
    return now - ROUND < swept_at <= now + ROUND


def _dialect(connection: Connection) -> Any:
    return sqlite if connection.dialect.name == "sqlite" else postgresql


def _unseen(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Open incidents that nobody has seen for long, and that nobody asks after."""
    return (
        incidents.c.live,
        incidents.c.state == IncidentState.OPEN.value,
        incidents.c.upstream_id.is_not(None),
        or_(incidents.c.confirmed_at <= now - LOOK_EVERY, incidents.c.confirmed_at > now + ROUND),
        ~_asked_since(now - LOOK_EVERY),
    )


def _resolved_unseen(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Incidents that we resolved, and that nobody has looked at since."""
    return (
        literal_column(f"incidents.state = '{IncidentState.RESOLVED.value}'"),  # as its partial index says
        incidents.c.resolved_at.between(now - LOOK_BACK_FOR, now - LOOK_BACK_AFTER),
        incidents.c.live.is_(False),
        incidents.c.reason.is_(None),
        incidents.c.upstream_id.is_not(None),
        ~_is_taken_over(),
        ~_asked_since(incidents.c.resolved_at),
    )


def _is_taken_over() -> ColumnElement[bool]:
    """Whether a later episode lives on in the same incident of the upstream: what is open there is that one's."""
    return exists().where(
        _later.c.account == incidents.c.account, _later.c.upstream_id == incidents.c.upstream_id, _later.c.live
    )


def _asked_since(instant: Any) -> ColumnElement[bool]:
    waits = deliveries.c.state.in_(UNFINISHED)
    return exists().where(
        deliveries.c.incident_id == incidents.c.id,
        deliveries.c.action == Action.CHECK.value,
        or_(waits, deliveries.c.created_at > instant),
    )
