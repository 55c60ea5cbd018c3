"""Names of the upstreams, cached in the ledger: whole lists per account and kind, with the time they were fetched."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.rows import clean, dumps
from bridge.adapters.ledger.schema import deliveries, name_lists
from bridge.domain.delivery import NamedThing, NameRef, Reason
from bridge.domain.names import Found, NotOne, find

PROOF_MAX_AGE = timedelta(hours=24)  # only a younger list proves that a name does not exist
CACHE_S = 10.0

_LIST = select(name_lists.c.fetched_at, name_lists.c.things).where(
    name_lists.c.account == bindparam("account"), name_lists.c.kind == bindparam("kind")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameList:
    """One complete list of an account."""

    fetched_at: datetime
    things: tuple[NamedThing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What the names of one delivery came to: ids per field, lists that are missing, sentences about fallbacks."""

    ids: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class NameBook:
    """The lists as one process sees them, kept for a few seconds so that a claim need not read them again."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, str], tuple[float, NameList | None]] = {}

    def list_of(self, connection: Connection, account: str, kind: str) -> NameList | None:
        """The list, or None when it was never fetched."""
        held = self._lists.get((account, kind))
        if held is not None and held[1] is not None and time.monotonic() - held[0] < CACHE_S:
            return held[1]
        row = connection.execute(_LIST, {"account": account, "kind": kind}).one_or_none()
        found = None if row is None else NameList(fetched_at=row.fetched_at, things=_things(row.things))
        self._lists[(account, kind)] = (time.monotonic(), found)
        return found

    def forget(self) -> None:
        """Read the lists again at the next question."""
        self._lists.clear()

    def resolve(self, connection: Connection, account: str, refs: Sequence[NameRef], now: datetime) -> Lookup:
        """The upstream's ids for the names of one delivery.

        A name fails only when a list younger than 24 h lacks it; its fallback serves then. A list that is missing, or
        too old to prove anything, has to be fetched first.
        """
        ids: list[tuple[str, str]] = []
        missing: list[str] = []
        notes: list[str] = []
        for ref in refs:
            names = self.list_of(connection, account, ref.kind)
            if names is None:
                missing.append(ref.kind)
                continue
            match find(ref.text, ref.kind, names.things):
                case Found(thing=thing):
                    ids.append((ref.field, thing.id))
                case NotOne() if now - names.fetched_at > PROOF_MAX_AGE:
                    missing.append(ref.kind)
                case NotOne(sentence=sentence):
                    served = _fallback(ref, names)
                    if served is None:
                        notes.append(f"{ref.field}: {sentence}")
                    else:
                        ids.append((ref.field, served.id))
                        notes.append(f"{ref.field}: {sentence}; '{served.name}' serves instead")
        return Lookup(ids=tuple(ids), missing=tuple(dict.fromkeys(missing)), notes=tuple(notes))


def _fallback(ref: NameRef, names: NameList) -> NamedThing | None:
    if ref.fallback is None:
        return None
    found = find(ref.fallback, ref.kind, names.things)
    return found.thing if isinstance(found, Found) else None


def store(transaction: Transaction, account: str, kind: str, things: Sequence[NamedThing]) -> None:
    """Replace one list by a newly fetched, complete one; what waited for it is due at once."""
    connection = transaction.connection
    connection.execute(delete(name_lists).where(name_lists.c.account == account, name_lists.c.kind == kind))
    rows = [[clean(thing.id), clean(thing.name), dict(thing.extra)] for thing in things]
    connection.execute(
        insert(name_lists),
        {"account": account, "kind": kind, "fetched_at": transaction.now, "things": dumps(rows)},
    )
    connection.execute(
        update(deliveries)
        .where(
            deliveries.c.account == account,
            deliveries.c.state == "pending",
            deliveries.c.reason == Reason.WAITING_FOR_NAMES.value,
        )
        .values(next_at=transaction.now)
    )


def ages(transaction: Transaction) -> dict[tuple[str, str], datetime]:
    """When each list was fetched, by account and kind."""
    rows = transaction.connection.execute(select(name_lists.c.account, name_lists.c.kind, name_lists.c.fetched_at))
    return {(row.account, row.kind): row.fetched_at for row in rows}


def _things(text: str) -> tuple[NamedThing, ...]:
    return tuple(NamedThing(id=i, name=n, extra=MappingProxyType(extra)) for i, n, extra in json.loads(text))
