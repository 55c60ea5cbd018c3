"""How lists of names come in: page by page, by jobs that end at any time, one at a time per account and kind.

A row here says when a list may be asked for next and keeps the pages so far; name_lists holds whole lists only. A row
is made when a delivery first needs the list, and stays: from then on the list is refreshed. Callers hold the lane.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, MappingResult, and_, insert, or_, select, update

from bridge.adapters.holders import is_gone
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.rows import Row, dumps
from bridge.adapters.ledger.schema import name_fetches
from bridge.domain.delivery import NamedThing, PermanentFailure, Reason, TransientFailure
from bridge.domain.lane import GONE_AFTER, LEASE
from bridge.domain.text import storable

REFRESH_AFTER = timedelta(hours=1)
RETRY_FIRST = timedelta(seconds=10)
RETRY_MAX = timedelta(seconds=60)
ASKED_FOR = timedelta(seconds=10)  # a job that was sent for a list and has not begun by then is lost
PAGES_KEPT = timedelta(hours=1)  # older pages no longer fit the ones that follow
AT_ONCE_MAX = 16  # lists that the clock asks for in one round
DETAIL_MAX_CHARS = 500
NAMES_MAX_CHARS = 16 << 20  # of one list: 800 for each of 20,000 entries, and every process that needs it holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """A list that this process alone fetches now: where to go on, and how many entries and characters are kept."""

    account: str
    kind: str
    token: str
    cursor: str | None
    kept: int
    kept_chars: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What one job brought: entries of further pages, and where to go on; with neither cursor nor failure: the end."""

    fetch: Fetch
    things: tuple[NamedThing, ...]
    next_cursor: str | None = None
    failure: TransientFailure | PermanentFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A list that is complete: its rows for names.store, and the instant its first page was asked for."""

    rows: list[list[Any]]
    began_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a list is not there. `refused_since`: the upstream answers, and keeps answering, that it gives none."""

    refused_since: datetime | None
    detail: str | None


NO_TROUBLE = Trouble(refused_since=None, detail=None)


def rows_of(things: Sequence[NamedThing]) -> list[list[Any]]:
    """Entries as they are stored."""
    return [[thing.id, thing.name, dict(thing.extra), list(thing.aliases)] for thing in things]


def chars_of(things: Sequence[NamedThing]) -> int:
    """How long entries are as they are stored."""
    return len(dumps(rows_of(things)))


def trouble_with(connection: Connection, account: str, kind: str) -> Trouble:
    """What is known of a list that is missing or old."""
    row = _row(connection, account, kind)
    return NO_TROUBLE if row is None else Trouble(refused_since=row["refused_since"], detail=row["detail"])


def want(
    connection: Connection, now: datetime, account: str, kinds: Sequence[str], *, doubted: Collection[str] = ()
) -> tuple[str, ...]:
    """A delivery needs these lists: those to send a job for now; the others are on their way, or it is too early.

    One that is `doubted` is there, and is to be fetched anew before its time.
    """
    asked: list[str] = []
    for kind in kinds:
        row = _row(connection, account, kind)
        if row is None:
            _insert(connection, account, kind, now, asked_until=now + ASKED_FOR)
            asked.append(kind)
            continue
        if kind in doubted and not row["failures"] and not _is_ahead(row["lease_until"], now, LEASE):
            _update(connection, account, kind, due_at=now)
            row = {**row, "due_at": now}
        if _is_due(row, now) and not _is_asked(row, now):
            _update(connection, account, kind, asked_until=now + ASKED_FOR)
            asked.append(kind)
    return tuple(asked)


def wish(transaction: Transaction, account: str, kind: str) -> None:
    """A list is needed that nobody has asked for so far: the next `ask` does."""
    _with_row(transaction.connection, account, kind, transaction.now)


def ask(transaction: Transaction, accounts: Collection[str]) -> list[tuple[str, str]]:
    """The lists of these accounts to send a job for now: to be refreshed, gone on with, or tried again."""
    now = transaction.now
    rows = transaction.connection.execute(_due(accounts, now)).all()
    for account, kind in rows:
        _update(transaction.connection, account, kind, asked_until=now + ASKED_FOR)
    return [(account, kind) for account, kind in rows]


def any_due(transaction: Transaction, accounts: Collection[str]) -> bool:
    """Whether `ask` has anything to ask for."""
    return transaction.connection.execute(_due(accounts, transaction.now)).first() is not None


def leases_of_gone(transaction: Transaction) -> list[str]:
    """Tokens of leases whose holder has died on this machine, as long ago as is waited for where it held a delivery.

    Sooner, a list that ends whoever reads it would end one worker after the other.
    """
    now, column = transaction.now, name_fetches.c
    held = select(column.lease_token).where(column.lease_until > now, column.lease_until < now + LEASE - GONE_AFTER)
    return [token for token in transaction.connection.execute(held).scalars() if is_gone(token)]


def end_leases(transaction: Transaction, tokens: Sequence[str]) -> None:
    """These leases are over now: the next `ask` has the lists gone on with."""
    held = name_fetches.c.lease_token.in_(tokens)
    transaction.connection.execute(update(name_fetches).where(held).values(lease_token=None, lease_until=None))


def begin(transaction: Transaction, account: str, kind: str, token: str) -> Fetch | None:
    """Fetch a list under a lease; None when somebody does already, or when it is too early."""
    connection, now = transaction.connection, transaction.now
    row = _with_row(connection, account, kind, now)
    if not _is_due(row, now):
        return None
    goes_on = row["next_cursor"] is not None and now - PAGES_KEPT <= row["began_at"] <= now
    _update(connection, account, kind, lease_token=token, lease_until=now + LEASE, asked_until=None)
    if not goes_on:
        _update(connection, account, kind, began_at=now, next_cursor=None, things="[]")
    pages = row["things"] if goes_on else "[]"
    cursor = row["next_cursor"] if goes_on else None
    kept = len(json.loads(pages))
    return Fetch(account=account, kind=kind, token=token, cursor=cursor, kept=kept, kept_chars=len(pages))


def record(transaction: Transaction, fetched: Fetched) -> Whole | None:
    """Keep what a job brought, if the lease is still its own; the whole list when that was the end of it."""
    connection, now, fetch = transaction.connection, transaction.now, fetched.fetch
    row = _row(connection, fetch.account, fetch.kind)
    if row is None or row["lease_token"] != fetch.token:
        return None
    kept = [*json.loads(row["things"]), *rows_of(fetched.things)]
    following: dict[str, Any] = {"lease_token": None, "lease_until": None}
    pages = {"things": dumps(kept), "next_cursor": fetched.next_cursor}
    match fetched.failure:
        case None if fetched.next_cursor is None:
            return Whole(rows=kept, began_at=row["began_at"] or now)
        case None:
            following |= {**pages, **_UNTROUBLED, "due_at": now}
        case failure:
            refuses = is_refusal(failure)
            following |= {
                **({"things": "[]", "next_cursor": None} if refuses else pages),
                "failures": row["failures"] + 1,
                "due_at": now + min(RETRY_MAX, RETRY_FIRST * (1 << min(row["failures"], 8))),
                "refused_since": (row["refused_since"] or now) if refuses else None,
                "detail": storable(failure.detail)[:DETAIL_MAX_CHARS],
            }
    _update(connection, fetch.account, fetch.kind, **following)
    return None


def ended(transaction: Transaction, account: str, kind: str) -> None:
    """The list is there: the next fetch is its refresh, and begins anew."""
    connection, now = transaction.connection, transaction.now
    _with_row(connection, account, kind, now)
    nothing = {"lease_token": None, "lease_until": None, "began_at": None, "next_cursor": None, "things": "[]"}
    _update(connection, account, kind, **nothing, **_UNTROUBLED, due_at=now + REFRESH_AFTER, asked_until=None)


def is_refusal(failure: TransientFailure | PermanentFailure) -> bool:
    """Whether the upstream was reached and gives no list to this key; the key itself is in order."""
    refusals = (Reason.FORBIDDEN, Reason.UNREADABLE_ANSWER)
    return isinstance(failure, PermanentFailure) or failure.reason in refusals


_UNTROUBLED: dict[str, Any] = {"failures": 0, "refused_since": None, "detail": None}


def _due(accounts: Collection[str], now: datetime) -> Any:
    """An instant further ahead than its maximum was written before a clock jumped back: it counts as past."""

    def passed(column: Any, most: timedelta) -> ColumnElement[bool]:
        return or_(column.is_(None), column <= now, column > now + most)

    columns = name_fetches.c
    return (
        select(columns.account, columns.kind)
        .where(
            and_(
                columns.account.in_(sorted(accounts)),
                passed(columns.due_at, REFRESH_AFTER),
                passed(columns.asked_until, ASKED_FOR),
                passed(columns.lease_until, LEASE),
            )
        )
        .order_by(columns.due_at)
        .limit(AT_ONCE_MAX)
    )


def _is_due(row: Row, now: datetime) -> bool:
    return not _is_ahead(row["due_at"], now, REFRESH_AFTER) and not _is_ahead(row["lease_until"], now, LEASE)


def _is_asked(row: Row, now: datetime) -> bool:
    return _is_ahead(row["asked_until"], now, ASKED_FOR)


def _is_ahead(instant: datetime | None, now: datetime, most: timedelta) -> bool:
    return instant is not None and now < instant <= now + most


def _row(connection: Connection, account: str, kind: str) -> Row | None:
    return _found(connection, account, kind).one_or_none()


def _found(connection: Connection, account: str, kind: str) -> MappingResult:
    found = select(name_fetches).where(name_fetches.c.account == account, name_fetches.c.kind == kind)
    return connection.execute(found.with_for_update()).mappings()


def _with_row(connection: Connection, account: str, kind: str, now: datetime) -> Row:
    """The row of a list, made where there is none: due now."""
    row = _row(connection, account, kind)
    if row is not None:
        return row
    _insert(connection, account, kind, now)
    return _found(connection, account, kind).one()


def _insert(connection: Connection, account: str, kind: str, now: datetime, **more: Any) -> None:
    row = {"account": account, "kind": kind, "due_at": now, "failures": 0, "things": "[]", **more}
    connection.execute(insert(name_fetches), row)


def _update(connection: Connection, account: str, kind: str, **values: Any) -> None:
    connection.execute(
        update(name_fetches).where(name_fetches.c.account == account, name_fetches.c.kind == kind).values(**values)
    )
