"""The rule book in force: one row that every process asks for, the texts it is compiled from, and refused reloads.

The row is never locked together with a lane, a problem or a series. Whoever makes a book current stores it first, in
the same transaction, so that a process that sees its hash can read it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.rows import dumps
from bridge.adapters.ledger.schema import book_places, in_force, rule_books
from bridge.domain.text import storable

THE_ROW = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBook:
    """A rule book on record."""

    hash: str
    content: str  # the canonical JSON of its rules and templates
    files: str  # JSON of the texts it is compiled from


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """From where a book is taken: the place (host and configuration), the state of the files there, and who asks."""

    place: str
    digest: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What every process asks for: which book decides, and whether anything changed since it was asked last."""

    book: str | None = None
    book_no: int = 0
    silences_no: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesState:
    """What people are told of the rules in force; `refused` are the problems of the last reload, if it was refused."""

    book: str | None = None
    taken_at: datetime | None = None
    taken_by: str | None = None
    checked_at: datetime | None = None
    refused_at: datetime | None = None
    refused_by: str | None = None
    refused: tuple[Mapping[str, Any], ...] = ()


_NUMBERS = Statement(select(in_force.c.book, in_force.c.book_no, in_force.c.silences_no))


def numbers(transaction: Transaction) -> InForce:
    """The row, as every process asks for it."""
    rows = _NUMBERS.rows(transaction.connection)
    return InForce(**rows[0]) if rows else InForce()


def state(transaction: Transaction) -> RulesState:
    """The row, as people are told it."""
    row = transaction.connection.execute(select(in_force)).mappings().one_or_none()
    if row is None:
        return RulesState()
    return RulesState(
        book=row["book"],
        taken_at=row["taken_at"],
        taken_by=row["taken_by"],
        checked_at=row["checked_at"],
        refused_at=row["refused_at"],
        refused_by=row["refused_by"],
        refused=tuple(json.loads(row["refused"])) if row["refused"] is not None else (),
    )


def stored(transaction: Transaction, book_hash: str) -> StoredBook | None:
    """A book on record; None when there is none of this hash, or it was stored without its texts."""
    found = select(rule_books).where(rule_books.c.hash == book_hash)
    row = transaction.connection.execute(found).mappings().one_or_none()
    if row is None or row["files"] is None:
        return None
    return StoredBook(hash=row["hash"], content=row["content"], files=row["files"])


def take(transaction: Transaction, book: StoredBook, origin: Origin) -> bool:
    """The book is in force from now on, and no reload counts as refused; False when it was in force already.

    The same rules in other words (a comment, a line more) are another book to its readers: places move.
    """
    connection, now = transaction.connection, transaction.now
    row = _locked(transaction)
    before = stored(transaction, row["book"]) if row["book"] is not None else None
    values: dict[str, Any] = {"checked_at": now, "refused_at": None, "refused_by": None, "refused": None}
    is_new = before != book
    if is_new:
        connection.execute(update(rule_books).where(rule_books.c.hash == row["book"]).values(stored_at=now))
        _put(transaction, book)
        values |= {"book": book.hash, "book_no": row["book_no"] + 1, "taken_at": now, "taken_by": storable(origin.by)}
    connection.execute(update(in_force).values(values))
    _note(transaction, origin)
    return is_new


def start(transaction: Transaction, book: StoredBook, origin: Origin) -> bool:
    """A process starts with this book; True when it is in force by that.

    It is, when there was none, or the files changed since they were last looked at from this place. A host that starts
    again with what it had must not undo what was reloaded elsewhere, nor take what a reload refused.
    """
    row = _locked(transaction)
    if row["book"] is not None and seen(transaction, origin.place) == origin.digest:
        return False
    return take(transaction, book, origin)


def refuse(transaction: Transaction, problems: Sequence[Mapping[str, Any]], by: str, origin: Origin | None) -> None:
    """A reload was refused; what was in force stays. Without an origin: a process could not take what is in force."""
    _locked(transaction)
    values = {"refused_at": transaction.now, "refused_by": storable(by), "refused": dumps(list(problems))}
    transaction.connection.execute(update(in_force).values(values))
    if origin is not None:
        _note(transaction, origin)


def was_refused(transaction: Transaction, origin: Origin) -> bool:
    """Whether the last reload was refused for these very files at this place."""
    place = select(book_places.c.seen_at).where(
        book_places.c.place == storable(origin.place), book_places.c.digest == origin.digest
    )
    refused_at = transaction.connection.execute(select(in_force.c.refused_at)).scalar()
    return refused_at is not None and transaction.connection.execute(place).scalar() == refused_at


def seen(transaction: Transaction, place: str) -> str | None:
    """The digest of the files as they were last looked at from a place; None when they never were."""
    found = select(book_places.c.digest).where(book_places.c.place == storable(place))
    digest: str | None = transaction.connection.execute(found).scalar()
    return digest


def keep(transaction: Transaction, book: StoredBook) -> None:
    """The book is on record, in force or not: a process decides by it that cannot take another."""
    _put(transaction, book)


def forget(transaction: Transaction, before: datetime, most: int) -> int:
    """Let go of books that were in force last, or put on record last, before an instant; how many went.

    The one in force stays, and whoever puts an old one in force again meanwhile has made it young.
    """
    in_use = select(in_force.c.book).where(in_force.c.book.is_not(None))
    old = rule_books.c.stored_at < before, rule_books.c.hash.not_in(in_use)
    oldest = select(rule_books.c.hash).where(*old).order_by(rule_books.c.stored_at).limit(most)
    gone = delete(rule_books).where(rule_books.c.hash.in_(oldest), *old)
    return int(transaction.connection.execute(gone).rowcount)


def silences_changed(transaction: Transaction) -> None:
    """Every process reads the silences again."""
    row = _locked(transaction)
    transaction.connection.execute(update(in_force).values(silences_no=row["silences_no"] + 1))


def _locked(transaction: Transaction) -> Mapping[str, Any]:
    """The row, made where it is missing, and nobody else's until the end of the transaction."""
    connection = transaction.connection
    made = _dialect(transaction).insert(in_force).on_conflict_do_nothing()
    connection.execute(made, {"id": THE_ROW, "book_no": 0, "silences_no": 0})
    return dict(connection.execute(select(in_force).with_for_update()).mappings().one())


def _put(transaction: Transaction, book: StoredBook) -> None:
    row = {"hash": book.hash, "stored_at": transaction.now, "content": book.content, "files": book.files}
    statement = _dialect(transaction).insert(rule_books)
    fresh = {name: statement.excluded[name] for name in ("stored_at", "files")}
    transaction.connection.execute(statement.on_conflict_do_update(index_elements=["hash"], set_=fresh), row)


def _note(transaction: Transaction, origin: Origin) -> None:
    """These files were looked at from this place."""
    row = {"place": storable(origin.place), "digest": origin.digest, "seen_at": transaction.now}
    statement = _dialect(transaction).insert(book_places)
    fresh = {name: statement.excluded[name] for name in ("digest", "seen_at")}
    transaction.connection.execute(statement.on_conflict_do_update(index_elements=["place"], set_=fresh), row)


def _dialect(transaction: Transaction) -> Any:
    return sqlite if transaction.connection.dialect.name == "sqlite" else postgresql
