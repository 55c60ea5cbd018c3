"""What people ask of incidents: the list, and one with its members, what it carries, and what was told of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.read_deliveries import delivery_item, notes_of
from bridge.adapters.ledger.reads import LIMIT_MAX, Page, floor_of, page_of, rfc3339
from bridge.adapters.ledger.rows import Row
from bridge.adapters.ledger.schema import deliveries, incidents, members
from bridge.domain.alert import Severity


def list_incidents(
    transaction: Transaction,
    *,
    state: str | None = None,
    account: str | None = None,
    live: bool | None = None,
    limit: int,
    before: str | None,
) -> Page:
    """Incidents, newest first; `live`: only those that are not over yet, or only those that are."""
    conditions: list[ColumnElement[bool]] = []
    if live is not None:
        conditions.append(incidents.c.live if live else ~incidents.c.live)
    if state:
        conditions.append(incidents.c.state == state)
    if account:
        conditions.append(incidents.c.account == account)
    connection = transaction.connection
    floor = None if not account or state else floor_of(connection, incidents.c.id, (), before)
    page = page_of(connection, incidents, conditions, limit, before, incident_item, floor)
    inside = _members_of(transaction.connection, [item["id"] for item in page.items])
    others = _stand_ins(transaction.connection, [item["id"] for item in page.items])
    items = tuple(
        {**item, "members": inside.get(item["id"], []), "plan_b": others.get(item["id"])} for item in page.items
    )
    return replace(page, items=items)


def one_incident(transaction: Transaction, incident_id: str) -> dict[str, Any] | None:
    """One incident with its members and its deliveries."""
    connection = transaction.connection
    row = connection.execute(select(incidents).where(incidents.c.id == incident_id)).mappings().one_or_none()
    if row is None:
        return None
    found = select(deliveries).where(deliveries.c.incident_id == incident_id).order_by(deliveries.c.no)
    told = connection.execute(found).mappings()
    return {
        **incident_item(row),
        "members": _members_of(connection, [incident_id]).get(incident_id, []),
        "folded_incidents": _folded_into(connection, incident_id),
        **_beside(connection, row),
        "plan_b": _stand_ins(connection, [incident_id]).get(incident_id),
        "deliveries": [{**delivery_item(one), "notes": notes_of(one)} for one in told],
    }


def _beside(connection: Connection, row: Row) -> dict[str, str | None]:
    """The incidents of the same problem before this one and after it: `previous` and `next`."""
    alike = incidents.c.series == row["series"]
    before = select(func.max(incidents.c.id)).where(alike, incidents.c.id < row["id"])
    after = select(func.min(incidents.c.id)).where(alike, incidents.c.id > row["id"])
    return {"previous": connection.execute(before).scalar(), "next": connection.execute(after).scalar()}


def _folded_into(connection: Connection, carrier: str) -> list[dict[str, Any]]:
    """The incidents that one carries, the first LIMIT_MAX of them: the most severe first, and of these the oldest."""
    inside = select(incidents).where(incidents.c.carrier == carrier, incidents.c.carrier.is_not(None))
    rank = case({one.value: one.rank for one in Severity}, value=incidents.c.severity)
    rows = connection.execute(inside.order_by(rank, incidents.c.id).limit(LIMIT_MAX)).mappings()
    return [{key: row[key] for key in ("id", "title", "severity", "state", "rule", "firing")} for row in rows]


def incident_item(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "account": row["account"],
        "series": row["series"],
        "key": row["key"],
        "state": row["state"],
        "severity": row["severity"],
        "title": row["title"],
        "rule": row["rule"],
        "reason": row["reason"],
        "carrier": row["carrier"],
        "folded": row["folded"],
        "upstream": {"id": row["upstream_id"], "url": row["upstream_url"]},
        "opened_at": rfc3339(row["opened_at"]),
        "resolved_at": rfc3339(row["resolved_at"]),
        "quiet_until": rfc3339(row["renews_at"]),  # closed upstream while it fires
        "stands_for": row["stands_for"],  # of plan B: the incident that its own account could not take
    }


def _stand_ins(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Which incident of plan B stands for each of these."""
    found = select(incidents.c.id, incidents.c.account, incidents.c.stands_for).where(incidents.c.stands_for.in_(ids))
    return {row.stands_for: {"incident": row.id, "account": row.account} for row in connection.execute(found)}


def _members_of(connection: Connection, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    rows = connection.execute(select(members).where(members.c.incident_id.in_(ids)).order_by(members.c.joined_at))
    for row in rows.mappings():
        found.setdefault(row["incident_id"], []).append(
            {
                "source": row["source"],
                "fingerprint": row["fingerprint"],
                "status": "firing" if row["firing"] else "resolved",
                "severity": row["severity"],
                "title": row["title"],
                "joined_at": rfc3339(row["joined_at"]),
                "left_at": rfc3339(row["left_at"]),
            }
        )
    return found
