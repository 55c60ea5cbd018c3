"""What people ask of deliveries: the list with when each may start, and one with its request and its attempts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, select

from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.etas import Etas
from bridge.adapters.ledger.names import lookup_from
from bridge.adapters.ledger.reads import Page, floor_of, page_of, rfc3339
from bridge.adapters.ledger.rows import Row
from bridge.adapters.ledger.schema import UNFINISHED, attempts, deliveries, incidents
from bridge.domain.lane import Pace


def list_deliveries(
    transaction: Transaction,
    routes: Mapping[str, Route],
    paces: Mapping[str, Pace],
    *,
    state: str | None = None,
    account: str | None = None,
    incident: str | None = None,
    limit: int,
    before: str | None,
) -> Page:
    """Deliveries, newest first, each waiting one with its expected seconds to go."""
    conditions: list[ColumnElement[bool]] = []
    if state:
        conditions.append(deliveries.c.state == state)
    if state in UNFINISHED:  # found by their own index, however few they are
        same = deliveries.alias("same")
        conditions.append(deliveries.c.id.in_(select(same.c.id).where(same.c.state == state)))
    if account:
        conditions.append(deliveries.c.account == account)
    if incident:
        conditions.append(deliveries.c.incident_id == incident)
    etas = Etas(transaction, routes, paces)
    connection = transaction.connection
    scans = not incident and (state not in (None, "dead", "pending", "sending") or (account and state is None))
    floor = floor_of(connection, deliveries.c.id, (), before) if scans else None
    page = page_of(
        connection, deliveries, conditions, limit, before, lambda row: delivery_item(row, etas.of(row)), floor
    )
    wanted = {item["incident"] for item in page.items}
    titles: dict[str, str] = {
        row[0]: row[1]
        for row in connection.execute(select(incidents.c.id, incidents.c.title).where(incidents.c.id.in_(wanted)))
    }
    return replace(page, items=tuple({**item, "title": titles[item["incident"]]} for item in page.items))


def one_delivery(
    transaction: Transaction, routes: Mapping[str, Route], paces: Mapping[str, Pace], delivery_id: str
) -> dict[str, Any] | None:
    """One delivery with what it sends and every attempt."""
    connection = transaction.connection
    row = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).mappings().one_or_none()
    if row is None:
        return None
    lookup = lookup_from(row["ids"])
    made = connection.execute(
        select(attempts).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.no)
    ).mappings()
    return {
        **delivery_item(row, Etas(transaction, routes, paces).of(row)),
        "request": {
            "key": row["key"],
            "fields": json.loads(row["fields"])["fields"],
            "names": json.loads(row["names"]),
            "ids": dict(lookup.ids),
            "notes": notes_of(row),
        },
        "attempts": [
            {
                "at": rfc3339(one["at"]),
                "call": one["call"],
                "status": one["status"],
                "reason": one["reason"],
                "detail": one["detail"],
                "duration_s": one["duration_s"],
                "request_id": one["request_id"],
                "response": one["response"],
            }
            for one in made
        ],
    }


def notes_of(row: Row) -> list[str]:
    """What fell back when it was rendered, and when its names were looked up."""
    return [*json.loads(row["notes"]), *lookup_from(row["ids"]).notes]


def delivery_item(row: Row, eta_s: float | None = None) -> dict[str, Any]:
    return {
        "id": row["id"],
        "incident": row["incident_id"],
        "account": row["account"],
        "action": row["action"],
        "state": row["state"],
        "reason": row["reason"],
        "detail": row["detail"],
        "attempts": row["attempts"],
        "created_at": rfc3339(row["created_at"]),
        "next_at": rfc3339(row["next_at"]) if row["state"] == "pending" else None,
        "eta_s": eta_s,
        "done_at": rfc3339(row["done_at"]),
    }
