"""What all lists of the ledger have in common: a page of one, how far it looks, and how instants are written.

Answers are plain JSON-ready mappings with the keys of DESIGN section 8; lists are newest first and paged by id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

LIMIT_MAX = 500
LIMIT_DEFAULT = 50
SCAN_MAX = 5_000  # rows that a list looks through for whatever else has no index


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a list: its items, and the `before` that asks for the following part (None at the end)."""

    items: tuple[Mapping[str, Any], ...]
    next: str | None
    note: str | None = None  # a sentence when the list does not cover everything asked for


def rfc3339(instant: datetime | None) -> str | None:
    """An instant as the API writes it."""
    return None if instant is None else instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def floor_of(
    connection: Connection,
    column: Any,
    conditions: Sequence[ColumnElement[bool]],
    before: str | None,
    most: int = SCAN_MAX,
) -> str | None:
    """The id at which a look through so many rows ends; None when there are fewer."""
    newest = select(column).where(*conditions).order_by(column.desc()).offset(most - 1).limit(1)
    if before:
        newest = newest.where(column < before)
    found: str | None = connection.execute(newest).scalar()
    return found


def page_of(
    connection: Connection,
    table: Any,
    conditions: Sequence[ColumnElement[bool]],
    limit: int,
    before: str | None,
    item: Any,
    floor: str | None = None,
    most: int = SCAN_MAX,
) -> Page:
    """Rows, newest first; with a `floor` none older than that, where the next page begins then."""
    wanted = max(1, min(limit, LIMIT_MAX))
    statement = select(table).where(*conditions).order_by(table.c.id.desc()).limit(wanted + 1)
    if before:
        statement = statement.where(table.c.id < before)
    if floor is not None:
        statement = statement.where(table.c.id >= floor)
    rows = connection.execute(statement).mappings().all()
    items = tuple(item(row) for row in rows[:wanted])
    if len(rows) > wanted:
        return Page(items=items, next=items[-1]["id"])
    if floor is None:
        return Page(items=items, next=None)
    note = f"looked through {most:,} {table.name}; the next page goes on with older ones"
    return Page(items=items, next=floor, note=note)
