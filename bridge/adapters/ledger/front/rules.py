"""The ledger as the rules use it: the book in force, silences, and what shadow rules would have done."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bridge.adapters.ledger import books, shadows, silences, unsilencing
from bridge.adapters.ledger.books import InForce, Origin, RulesState, StoredBook
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.front.base import Base
from bridge.adapters.ledger.reads import Page
from bridge.adapters.ledger.silences import Preview
from bridge.domain.alert import Alert
from bridge.domain.shadow import ShadowRule, shadow_report
from bridge.domain.silences import Silence


class ForRules(Base):
    """Which rules decide, and what they hide."""

    def book_started(self, book: StoredBook, origin: Origin) -> bool:
        """A process started with this book; True when it is in force by that: see books.start."""
        return self._written(lambda transaction: books.start(transaction, book, origin))

    def was_book_refused(self, origin: Origin) -> bool:
        """Whether the last reload was refused for these very files at this place."""
        with self.database.reading() as transaction:
            return books.was_refused(transaction, origin)

    def book_taken(self, book: StoredBook, origin: Origin) -> bool:
        """This book is in force on every host; False when it was already."""
        return self._written(lambda transaction: books.take(transaction, book, origin))

    def reload_refused(self, problems: Sequence[Mapping[str, Any]], by: str, origin: Origin | None = None) -> None:
        """A reload was refused, with these problems; the book in force stays.

        Without an origin: a process could not take the book in force.
        """
        self._written(lambda transaction: books.refuse(transaction, problems, by, origin))

    def book_kept(self, book: StoredBook) -> None:
        """The book is on record, though another one is in force."""
        self._written(lambda transaction: books.keep(transaction, book))

    def files_seen(self, place: str) -> str | None:
        """The digest of the rules' files as they were last taken, or refused, from a place."""
        with self.database.reading() as transaction:
            return books.seen(transaction, place)

    def in_force(self) -> InForce:
        """Which book decides, and the numbers that say whether anything changed."""
        with self.database.reading() as transaction:
            return books.numbers(transaction)

    def rules_state(self) -> RulesState:
        """Since when which book decides, and what became of the last reload."""
        with self.database.reading() as transaction:
            return books.state(transaction)

    def book(self, book_hash: str) -> StoredBook | None:
        """A rule book on record, with the texts it is compiled from; None when there is none."""
        with self.database.reading() as transaction:
            return books.stored(transaction, book_hash)

    def silence_added(self, silence: Silence) -> dict[str, Any]:
        """A silence holds; answers it as the API shows it, or the one just like it that was added a moment ago."""

        def added(transaction: Transaction) -> dict[str, Any]:
            return silences.one(transaction, silences.add(transaction, silence)) or {}

        return self._written(added)

    def silence_ended(self, silence_id: str, by: str) -> tuple[dict[str, Any] | None, bool]:
        """A silence is over before its time, and stays on record; None when there is none of this id. Also whether it
        was not over before.
        """
        return self._written(lambda transaction: silences.end(transaction, silence_id, by))

    def silence(self, silence_id: str) -> dict[str, Any] | None:
        with self.database.reading() as transaction:
            return silences.one(transaction, silence_id)

    def silences(self, *, limit: int = silences.LIST_MAX, before: str | None = None) -> Page:
        """Silences: active and pending first, then those that are over."""
        with self.database.reading() as transaction:
            return silences.listed(transaction, limit=limit, before=before)

    def silences_standing(self) -> tuple[Silence, ...]:
        """Those that are not over."""
        with self.database.reading() as transaction:
            return silences.standing(transaction)

    def silences_over(self) -> unsilencing.Look:
        """Silences that ended since they were last looked for."""
        with self.database.reading() as transaction:
            return unsilencing.look(transaction)

    def silence_hid(self, silence: unsilencing.Over) -> dict[str, tuple[int, ...]]:
        """What a silence hid and nothing was said of since: positions of alerts in events."""
        with self.database.reading() as transaction:
            return unsilencing.hidden(transaction, silence)

    def last_words(self, event_id: str, positions: Sequence[int]) -> tuple[int, ...]:
        """Those of an event's alerts after which nothing was said of their problem."""
        with self.database.reading() as transaction:
            return unsilencing.last_words(transaction, event_id, positions)

    def silences_reached(self, until: datetime) -> None:
        """Silences that ended until then are done with."""
        self._written(lambda transaction: unsilencing.reached(transaction, until))

    def silence_preview(
        self, matches: Callable[[Alert], bool], *, criticals: bool, within: timedelta, reads_payload: bool
    ) -> Preview:
        """What a silence would have hidden lately."""
        payloads = self._payloads if reads_payload else None
        with self.database.reading() as transaction:
            return silences.preview(transaction, matches, payloads, criticals=criticals, within=within)

    def shadowed(
        self, within: timedelta, *, rules: Sequence[str] = (), most: int
    ) -> tuple[tuple[ShadowRule, ...], str | None]:
        """What shadow rules would have done, of the newest `most` alerts; and a sentence when there were more.

        `rules` are listed, too, when they did nothing.
        """
        with self.database.reading() as transaction:
            cut = shadows.is_cut(transaction, within, most)
            found = shadow_report(shadows.lines(transaction, within, cut), rules)
        return found, None if cut is None else f"only the newest {most:,} alerts were looked at"
