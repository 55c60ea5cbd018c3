"""Names of the upstreams: whole lists per account and kind with their age, and what the names of a delivery come to.

A name fails only when a complete list younger than 24 h lacks it. Without such a proof the delivery waits for the list,
two minutes at the most when it can go without; a list that is there is used for ever when the upstream is away.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from bridge.adapters.ledger import fetches
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.rows import dumps
from bridge.adapters.ledger.schema import deliveries, from_us, name_lists, to_us
from bridge.domain.delivery import NamedThing, NameRef, Reason
from bridge.domain.names import ListPart, Served, list_part, may_go_on, others, renamed, served

PROOF_MAX_AGE = timedelta(hours=24)  # only a younger list proves that a name does not exist
PATIENCE = timedelta(minutes=2)  # how long a delivery waits for a list that it can go without
AGAIN_AFTER = timedelta(seconds=60)  # what cannot go without waits on; a list that comes in ends the wait
TRUSTED_FOR = timedelta(seconds=60)  # a refusal so soon after a list was asked for does not speak against the list
CACHE_S = 10.0

_LIST = select(name_lists.c.fetched_at, name_lists.c.things).where(
    name_lists.c.account == bindparam("account"), name_lists.c.kind == bindparam("kind")
)
_FETCHED_AT = select(name_lists.c.fetched_at).where(
    name_lists.c.account == bindparam("account"), name_lists.c.kind == bindparam("kind")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameList:
    """One complete list of an account."""

    fetched_at: datetime
    things: tuple[NamedThing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What the names of one delivery came to; stored with it, apart from what was rendered, and reset by a new body."""

    done: bool = False
    ids: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # per field of the request
    notes: tuple[str, ...] = ()  # sentences about fallbacks
    makeshift: bool = False  # for want of a list something was left out, guessed, or taken from an old list
    guessed: bool = False  # a required name was taken as it is written
    guess_refused: bool = False  # the upstream would not have it: no guess again
    doubted: tuple[str, ...] = ()  # kinds whose lists of before `since` gave what the upstream refused
    since: datetime | None = None  # waits for lists since

    def is_final(self, *, sent: bool) -> bool:
        """Whether it stays as it is: under one key the upstream may get one body only.

        Until then a list that came in between counts: what has a name may have been made anew, with another id.
        """
        return self.done and sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Names that cannot be looked up yet: `lookup` is what to store, `until` when to come back at the latest."""

    kinds: tuple[str, ...]
    until: datetime
    lookup: Lookup


def lookup_json(lookup: Lookup) -> str:
    content: dict[str, Any] = {"ids": dict(lookup.ids), "notes": list(lookup.notes)} if lookup.done else {}
    flags = {name: True for name in ("makeshift", "guessed", "guess_refused") if getattr(lookup, name)}
    doubted = {"doubted": list(lookup.doubted)} if lookup.doubted else {}
    since = {} if lookup.since is None else {"since": to_us(lookup.since)}
    return dumps({**content, **flags, **doubted, **since})


def lookup_from(text: str) -> Lookup:
    stored = json.loads(text)
    since = stored.get("since")
    return Lookup(
        done="ids" in stored,
        ids=stored.get("ids", {}),
        notes=tuple(stored.get("notes", ())),
        makeshift=stored.get("makeshift", False),
        guessed=stored.get("guessed", False),
        guess_refused=stored.get("guess_refused", False),
        doubted=tuple(stored.get("doubted", ())),
        since=None if since is None else from_us(since),
    )


class NameBook:
    """The lists as one process sees them, kept for a few seconds so that a claim need not read them again."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, str], tuple[float, NameList]] = {}

    def list_of(self, connection: Connection, account: str, kind: str, *, newest: bool = False) -> NameList | None:
        """The list, or None when it was never fetched; `newest` does not put up with one of a few seconds ago."""
        asked = {"account": account, "kind": kind}
        held_at, held = self._lists.get((account, kind), (0.0, None))
        if held is not None and not newest and time.monotonic() - held_at < CACHE_S:
            return held
        if held is not None and connection.execute(_FETCHED_AT, asked).scalar() == held.fetched_at:
            found: NameList | None = held
        else:
            row = connection.execute(_LIST, asked).one_or_none()
            found = None if row is None else NameList(fetched_at=row.fetched_at, things=_things(row.things))
        if found is not None:
            self._lists[(account, kind)] = (time.monotonic(), found)
        return found

    def forget(self) -> None:
        """Read the lists again at the next question."""
        self._lists.clear()

    def resolve(
        self,
        connection: Connection,
        account: str,
        refs: Sequence[NameRef],
        before: Lookup,
        now: datetime,
        *,
        required: frozenset[str] = frozenset(),
        defaults: Mapping[str, str] = MappingProxyType({}),
    ) -> Lookup | Waits:
        """The upstream's ids for the names of one delivery, or the lists it waits for.

        `before` is what an earlier claim came to; `required` the fields a create does not go without, `defaults` the
        account's own values. A required name that a complete list lacks, with all its fallbacks, is missing from `ids`.
        """
        search = _Search(
            book=self,
            connection=connection,
            account=account,
            now=now,
            since=min(before.since or now, now),  # a clock may have jumped back
            may_guess=not before.guess_refused,
            doubted=before.doubted,
        )
        for ref in refs:
            search.look_up(ref, defaults.get(ref.field), required=ref.field in required)
        return search.outcome(before)


@dataclass(slots=True, kw_only=True)
class _Search:
    """The look-up of one delivery's names while it is under way."""

    book: NameBook
    connection: Connection
    account: str
    now: datetime
    since: datetime
    may_guess: bool
    doubted: tuple[str, ...] = ()
    ids: dict[str, str] = field(default_factory=dict)
    found: dict[str, NamedThing] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    waits: dict[str, datetime] = field(default_factory=dict)
    makeshift: bool = False
    guessed: bool = False

    def look_up(self, ref: NameRef, default: str | None, *, required: bool) -> None:
        """Find one name, or what serves instead."""
        part = list_part(ref, self.found)
        if part is None:
            return
        ref = part.ref
        held, found = self._in_list(part, default)
        if found is not None and held is not None:
            if found.unlisted and self.may_guess and may_go_on(held.things):
                self.ids[ref.field] = ref.text  # an id, as the documents say; refused, it is what the list lacks
                self.guessed = True
                return
            proven = found.note is None or self.now - held.fetched_at <= PROOF_MAX_AGE
            proven &= ref.kind not in self.doubted or held.fetched_at >= self.since
            if proven or (found.thing is not None and self._is_over(ref.kind)):
                self.makeshift |= not proven
                self._take(ref, found)
                return
        if not self._is_over(ref.kind):
            self.waits[ref.kind] = self._patience_ends(ref.kind)
        elif not required:
            self._note(ref, "left out")
        elif self.may_guess:
            guess = next(iter(others(ref, default)), ref.text)
            self.ids[ref.field] = guess
            self.guessed = True
            self._note(ref, f"'{guess}' is sent as written")
        else:
            self.waits[ref.kind] = self.now + AGAIN_AFTER

    def outcome(self, before: Lookup) -> Lookup | Waits:
        """What it came to."""
        if self.waits:
            waiting = replace(before, done=False, since=self.since)
            return Waits(kinds=tuple(self.waits), until=min(self.waits.values()), lookup=waiting)
        return Lookup(
            done=True,
            ids=self.ids,
            notes=tuple(self.notes),
            makeshift=self.makeshift,
            guessed=self.guessed,
            doubted=self.doubted,
            since=self.since if self.makeshift or self.doubted else None,
        )

    def _in_list(self, part: ListPart, default: str | None) -> tuple[NameList | None, Served | None]:
        """The list and what it says; anything but a plain yes is asked of the newest list."""
        for newest in (False, True):
            held = self.book.list_of(self.connection, self.account, part.ref.kind, newest=newest)
            found = None if held is None else served(part.ref, part.among(held.things), default)
            if found is not None and found.note is None and part.ref.kind not in self.doubted:
                break
        return held, found

    def _take(self, ref: NameRef, found: Served) -> None:
        if found.thing is not None:
            self.ids[ref.field] = found.thing.id
            self.found[ref.field] = found.thing
        if found.note is not None:
            self.notes.append(found.note)

    def _note(self, ref: NameRef, what: str) -> None:
        self.makeshift = True
        trouble = fetches.trouble_with(self.connection, self.account, ref.kind)
        why = f": {trouble.detail}" if trouble.detail else ""
        self.notes.append(f"{ref.field}: '{ref.text}' could not be looked up, {what}{why}")

    def _is_over(self, kind: str) -> bool:
        return self.now >= self._patience_ends(kind)

    def _patience_ends(self, kind: str) -> datetime:
        """A list the upstream has been refusing all along need not be waited for by every delivery anew."""
        refused_since = fetches.trouble_with(self.connection, self.account, kind).refused_since
        return min(self.since, refused_since or self.since) + PATIENCE


def store(transaction: Transaction, account: str, kind: str, whole: fetches.Whole) -> None:
    """Replace one list by a newly fetched, complete one; what waited for it is due at once."""
    connection = transaction.connection
    before = connection.execute(_LIST, {"account": account, "kind": kind}).one_or_none()
    connection.execute(delete(name_lists).where(name_lists.c.account == account, name_lists.c.kind == kind))
    entries = list({row[0]: row for row in whole.rows}.values())  # pages overlap when the list grows meanwhile
    if before is not None:
        entries = fetches.rows_of(renamed(_things(before.things), _things(dumps(entries))))
    connection.execute(
        insert(name_lists),
        {"account": account, "kind": kind, "fetched_at": whole.began_at, "things": dumps(entries)},
    )
    fetches.ended(transaction, account, kind)
    connection.execute(
        update(deliveries)
        .where(
            deliveries.c.account == account,
            deliveries.c.state == "pending",
            deliveries.c.reason == Reason.WAITING_FOR_NAMES.value,
        )
        .values(next_at=transaction.now)
    )


def _things(text: str) -> tuple[NamedThing, ...]:
    return tuple(
        NamedThing(id=i, name=n, extra=MappingProxyType(extra), aliases=tuple(alias for one in more for alias in one))
        for i, n, extra, *more in json.loads(text)
    )
