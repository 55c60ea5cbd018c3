"""What the pages ask beyond the API: dead letters by their cause, an incident's reports, and its place in the lane."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Select, and_, func, select

from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.etas import Etas
from bridge.adapters.ledger.read_deliveries import delivery_item
from bridge.adapters.ledger.reads import LIMIT_MAX, Page, rfc3339
from bridge.adapters.ledger.rows import telling_from
from bridge.adapters.ledger.schema import UNFINISHED, alerts, deliveries, events, incidents, members
from bridge.domain.alert import Status
from bridge.domain.decision import Outcome
from bridge.domain.delivery import Action, DeliveryState
from bridge.domain.lane import Pace

CAUSES_MAX = 100
REPORTS_MAX = 60  # shown of one incident
_DEAD = deliveries.c.state == DeliveryState.DEAD.value


def causes(transaction: Transaction) -> list[dict[str, Any]]:
    """Dead letters by account, rule and reason: how many, since when, and the words of the newest; most first."""
    rows = transaction.connection.execute(
        select(
            deliveries.c.account,
            incidents.c.rule,
            deliveries.c.reason,
            func.count().label("number"),
            func.min(deliveries.c.id).label("first"),
            func.max(deliveries.c.id).label("last"),
            func.min(deliveries.c.done_at).label("since"),
        )
        .join_from(deliveries, incidents, incidents.c.id == deliveries.c.incident_id)
        .where(_DEAD)
        .group_by(deliveries.c.account, incidents.c.rule, deliveries.c.reason)
        .order_by(func.count().desc(), func.max(deliveries.c.id).desc())
        .limit(CAUSES_MAX)
    ).mappings()
    found = [dict(row) for row in rows]
    newest = select(deliveries.c.id, deliveries.c.detail, incidents.c.title).join_from(
        deliveries, incidents, incidents.c.id == deliveries.c.incident_id
    )
    ids = [one["last"] for one in found]
    words = {row.id: row for row in transaction.connection.execute(newest.where(deliveries.c.id.in_(ids)))}
    for one in found:
        one["detail"] = words[one["last"]].detail
        one["title"] = words[one["last"]].title
        one["since"] = rfc3339(one["since"])
    return found


def letters(
    transaction: Transaction,
    *,
    account: str,
    rule: str,
    reason: str,
    limit: int,
    before: str | None = None,
    among: Collection[str] = (),
) -> Page:
    """The dead letters of one cause, newest first, each with the title of its incident; `among` these, when given."""
    statement = _of_cause(account, rule, reason).order_by(deliveries.c.id.desc())
    if among:
        statement = statement.where(deliveries.c.id.in_(among))
    if before:
        statement = statement.where(deliveries.c.id < before)
    wanted = max(1, min(limit, LIMIT_MAX))
    rows = transaction.connection.execute(statement.limit(wanted + 1)).mappings().all()
    items = tuple({**delivery_item(row), "title": row["incident_title"], "sent": row["sent"]} for row in rows[:wanted])
    return Page(items=items, next=items[-1]["id"] if len(rows) > wanted else None)


def _of_cause(account: str, rule: str, reason: str) -> Select[Any]:
    return (
        select(*deliveries.c, incidents.c.title.label("incident_title"))
        .join_from(deliveries, incidents, incidents.c.id == deliveries.c.incident_id)
        .where(_DEAD, deliveries.c.account == account, incidents.c.rule == rule, deliveries.c.reason == reason)
    )


def opening_event(transaction: Transaction, incident: str) -> tuple[str, int] | None:
    """The event, and the position in it, of the report that opened an incident, as far as it is kept."""
    found = (
        select(alerts.c.event_id, alerts.c.position)
        .where(alerts.c.incident_id == incident)
        .order_by(alerts.c.event_id)
        .limit(1)
    )
    row = transaction.connection.execute(found).one_or_none()
    return None if row is None else (row.event_id, row.position)


def last_firing(transaction: Transaction, incident: str) -> list[tuple[str, int]]:
    """The event, and the position in it, of the last report of each problem that fires in an incident, if it is kept.

    Of whichever incident that report was: a problem moves on with a new episode, and a report may open several.
    """
    newest = (
        select(alerts.c.source, alerts.c.fingerprint, func.max(alerts.c.event_id).label("event_id"))
        .join(members, and_(members.c.source == alerts.c.source, members.c.fingerprint == alerts.c.fingerprint))
        .where(
            members.c.incident_id == incident,
            members.c.firing,
            alerts.c.status == Status.FIRING.value,
            alerts.c.outcome != Outcome.IGNORED.value,
        )
        .group_by(alerts.c.source, alerts.c.fingerprint)
        .subquery()
    )
    same = (alerts.c[name] == newest.c[name] for name in ("event_id", "source", "fingerprint"))
    found = (
        select(alerts.c.event_id, func.max(alerts.c.position).label("position"))
        .join(newest, and_(*same))
        .where(alerts.c.status == Status.FIRING.value)
        .group_by(alerts.c.event_id, alerts.c.source, alerts.c.fingerprint)
        .order_by(alerts.c.event_id)
    )
    return [(row.event_id, row.position) for row in transaction.connection.execute(found)]


def reports(transaction: Transaction, incident: str) -> list[dict[str, Any]]:
    """The newest reports that concern an incident, oldest first: when, what, and what became of each."""
    found = (
        select(alerts, events.c.received_at)
        .join_from(alerts, events, events.c.id == alerts.c.event_id)
        .where(alerts.c.incident_id == incident)
        .order_by(alerts.c.event_id.desc())
        .limit(REPORTS_MAX)
    )
    rows = transaction.connection.execute(found).mappings().all()
    keys = ("title", "status", "severity", "outcome", "fingerprint", "source")
    return [
        {**{key: row[key] for key in keys}, "event": row["event_id"], "at": rfc3339(row["received_at"])}
        for row in reversed(rows)
    ]


def telling(transaction: Transaction, incident: str) -> dict[str, Any]:
    """How often an incident's problems went on and off: flaps, and since when."""
    text = transaction.connection.execute(
        select(incidents.c.telling).where(incidents.c.id == incident)
    ).scalar_one_or_none()
    told = telling_from(text)
    return {"flaps": told.flaps, "since": rfc3339(told.flapping_since)}


def place(
    transaction: Transaction, routes: Mapping[str, Route], paces: Mapping[str, Pace], incident: str
) -> dict[str, Any] | None:
    """Where the next delivery of an incident stands in its lane; None when none waits.

    `number` is 1 for what goes next, 0 for what is under way; `eta_s` is None while
    nobody can tell: paused, or an account that is no longer configured.
    """
    found = (
        select(deliveries)
        .where(
            deliveries.c.incident_id == incident,
            deliveries.c.state.in_(UNFINISHED),
            deliveries.c.action != Action.CHECK.value,
        )
        .order_by(deliveries.c.no)
        .limit(1)
    )
    row = transaction.connection.execute(found).mappings().one_or_none()
    if row is None:
        return None
    if row["state"] == DeliveryState.SENDING.value:
        return {"action": row["action"], "number": 0, "eta_s": 0.0}
    etas = Etas(transaction, routes, paces)
    return {"action": row["action"], "number": etas.ahead_of(row) + 1, "eta_s": etas.of(row)}


def finish_s(
    transaction: Transaction, routes: Mapping[str, Route], paces: Mapping[str, Pace], account: str, number: int
) -> float | None:
    """In how many seconds the last of `number` creates that are put into a lane now would go; None: nobody can tell.

    With a number of 0: the last of those that wait.
    """
    route = routes.get(account)
    return None if route is None else Etas(transaction, routes, paces).of_last_create(route.lane, number)
