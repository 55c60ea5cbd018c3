"""Who did what, as rows; how many passwords were guessed lately, and who logged out, for all web processes together."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, delete, insert, select, type_coerce, update

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.reads import Page, rfc3339
from bridge.adapters.ledger.rows import Row, dumps
from bridge.adapters.ledger.schema import audit, ended_sessions, guesses
from bridge.domain.access import GUESS_EVERY, Deed, guessed, may_guess
from bridge.domain.text import storable

TEXT_MAX_CHARS = 300
DETAIL_MAX_CHARS = 4096
GUESSERS_MAX = 10_000  # rows; whoever comes with more addresses than that finds the login closed for new ones


def did(transaction: Transaction, entry_id: str, deed: Deed) -> None:
    """One line of the audit is on record."""
    detail = dumps(dict(deed.detail))
    if len(detail) > DETAIL_MAX_CHARS:
        detail = dumps({"cut": detail[: DETAIL_MAX_CHARS - 100]})
    row = {
        "id": entry_id,
        "at": transaction.now,
        "actor": _short(deed.who.name),
        "role": "" if deed.is_claimed else deed.who.role.value,
        "how": deed.who.how.value,
        "action": _short(deed.action),
        "object": _short(deed.what),
        "detail": storable(detail),
        "address": _short(deed.who.address),
    }
    transaction.connection.execute(insert(audit), row)


def entries(
    transaction: Transaction,
    *,
    limit: int,
    before: str | None = None,
    actor: str | None = None,
    action: str | None = None,
) -> Page:
    """The audit, newest first; `actor` and `action` exact."""
    conditions: list[ColumnElement[bool]] = []
    if actor:
        conditions.append(audit.c.actor == actor)
    if action:
        conditions.append(audit.c.action == action)
    if before:
        conditions.append(audit.c.id < before)
    found = select(audit).where(*conditions).order_by(audit.c.id.desc()).limit(limit + 1)
    rows = transaction.connection.execute(found).mappings().all()
    items = tuple(_item(row) for row in rows[:limit])
    return Page(items=items, next=items[-1]["id"] if len(rows) > limit else None)


def forget(transaction: Transaction, before: datetime, most: int) -> int:
    """Let go of the oldest lines made before an instant; how many went."""
    oldest = select(audit.c.id).where(audit.c.id < earliest_at(before)).order_by(audit.c.id).limit(most)
    return int(transaction.connection.execute(delete(audit).where(audit.c.id.in_(oldest))).rowcount)


def guess(transaction: Transaction, keys: Sequence[str]) -> bool:
    """Spend one guess of each key, before the password is looked at; False, and nothing is spent, when one has none."""
    connection, now = transaction.connection, transaction.now
    connection.execute(delete(guesses).where(guesses.c.spent_until <= now))
    wanted = sorted(set(keys))
    found = select(guesses.c.key, guesses.c.spent_until).where(guesses.c.key.in_(wanted))
    held = {row.key: row.spent_until for row in connection.execute(found.order_by(guesses.c.key).with_for_update())}
    if not all(may_guess(held.get(key), now) for key in wanted):
        return False
    fresh = [key for key in wanted if key not in held]
    if fresh and _number(transaction) >= GUESSERS_MAX:
        return False
    for key in wanted:
        spent = guessed(held.get(key), now)
        if key in held:
            connection.execute(update(guesses).where(guesses.c.key == key).values(spent_until=spent))
        else:
            connection.execute(insert(guesses).values(key=key, spent_until=spent))
    return True


def may_guess_now(transaction: Transaction, keys: Sequence[str]) -> bool:
    """Whether `guess` may say yes: a closed login writes nothing, however often somebody knocks."""
    found = select(guesses.c.spent_until).where(guesses.c.key.in_(sorted(set(keys))))
    held = transaction.connection.execute(found).scalars()
    return all(may_guess(spent_until, transaction.now) for spent_until in held)


def was_right(transaction: Transaction, *, whole: str, one: str) -> None:
    """The password was the right one: one key has all its guesses again, the other the one that was spent."""
    connection = transaction.connection
    connection.execute(delete(guesses).where(guesses.c.key == whole))
    less = type_coerce(guesses.c.spent_until, BigInteger) - GUESS_EVERY // timedelta(microseconds=1)
    connection.execute(update(guesses).where(guesses.c.key == one).values(spent_until=less))


def end_session(transaction: Transaction, session_id: str, within: timedelta) -> None:
    """A session has ended, for every copy of its cookie; none of them would outlive `within`."""
    connection, now = transaction.connection, transaction.now
    connection.execute(delete(ended_sessions).where(ended_sessions.c.until <= now))
    if not has_ended(transaction, session_id):
        connection.execute(insert(ended_sessions).values(id=session_id, until=now + within))


def has_ended(transaction: Transaction, session_id: str) -> bool:
    """Whether somebody logged out of this session."""
    found = select(ended_sessions.c.id).where(ended_sessions.c.id == session_id)
    return transaction.connection.execute(found).first() is not None


def _number(transaction: Transaction) -> int:
    ids = transaction.connection.execute(select(guesses.c.key).limit(GUESSERS_MAX)).scalars()
    return len(ids.all())


def _short(text: str) -> str:
    return storable(text)[:TEXT_MAX_CHARS]


def _item(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "at": rfc3339(row["at"]),
        "actor": row["actor"],
        "role": row["role"],
        "how": row["how"],
        "action": row["action"],
        "object": row["object"],
        "detail": json.loads(row["detail"]),
        "address": row["address"],
    }
