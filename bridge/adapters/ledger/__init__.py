"""The ledger: the only record of what is owed. One method per transaction, named after what becomes true."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from bridge.adapters.files import Meanwhile
from bridge.adapters.ids import Ulids
from bridge.adapters.ledger import letters, names, reads, upkeep
from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Database, Transaction, is_contention
from bridge.adapters.ledger.lanes import Claim, Claimed, Finished, LaneWork, NamesNeeded, Recorded
from bridge.adapters.ledger.names import NameBook, NameList
from bridge.adapters.ledger.reads import EventQuery, Page, Payloads
from bridge.adapters.ledger.schema import rule_books
from bridge.adapters.ledger.settle import Receipt, Settled, receipt, settle
from bridge.adapters.ledger.upkeep import Heartbeat
from bridge.domain.delivery import NamedThing
from bridge.domain.errors import LedgerUnavailable
from bridge.domain.lane import Pace

__all__ = [
    "Claim", "Claimed", "EventQuery", "Finished", "Heartbeat", "Ledger", "NamesNeeded", "Page", "Receipt", "Recorded",
    "Route", "Settled", "receipt",
]  # fmt: skip

REDO_MAX = 3


class Ledger:
    """The ledger as one process uses it. Make it after forking; any number of threads may call it."""

    def __init__(
        self, database: Database, routes: Mapping[str, Route], payloads: Payloads = lambda _source, _headers, _body: ()
    ) -> None:
        """`routes` gives every configured account its lane and pace; `payloads` reads a stored body again."""
        self._payloads = payloads
        self.database = database
        self.routes = dict(routes)
        self.paces: dict[str, Pace] = upkeep.routes_paces(self.routes)
        self.new_id = Ulids()
        self.names = NameBook()

    # -- web

    def settle(
        self,
        batch: Sequence[Receipt],
        more: Callable[[], Sequence[Receipt]] = tuple,
        meanwhile: Meanwhile | None = None,
    ) -> tuple[list[Settled], frozenset[str]]:
        """These webhooks and all that follows from them are on disk; also answers the lanes with something to do.

        `meanwhile` runs while another process has the ledger; `more` is asked once, when we have it: what came
        meanwhile goes along. A deadlock, or another process that settled the same key first,
        redoes it; raises LedgerUnavailable after that.
        """
        asked = False
        for attempt in range(REDO_MAX + 1):
            try:
                with self.database.writing(meanwhile) as transaction:
                    if not asked:
                        asked, batch = True, [*batch, *more()]
                    return settle(transaction, batch, self.routes, self.new_id)
            except Exception as error:
                if not is_contention(error):
                    raise
                if attempt == REDO_MAX:
                    raise LedgerUnavailable("the ledger is contended; the webhook was not stored") from error
        raise AssertionError("unreachable")

    # -- workers

    def claim(self, lane: str) -> Claim:
        """The lane's next due delivery is leased to the caller."""
        with self.database.writing() as transaction:
            work = self._work(transaction, lane)
            claim = work.claim()
            work.save()
            return claim

    def record(self, finished: Finished, *, claim_next: bool) -> tuple[Recorded, Claim]:
        """An attempt is on record with what follows from it, and the lane's next delivery is leased if asked for."""
        with self.database.writing() as transaction:
            work = self._work(transaction, finished.claimed.lane)
            recorded = work.record(finished)
            claim = work.claim() if claim_next else None
            work.save()
            return recorded, claim

    def _work(self, transaction: Transaction, lane: str) -> LaneWork:
        return LaneWork(
            transaction,
            lane,
            pace=self.paces[lane],
            routes=self.routes,
            names=self.names,
            new_id=self.new_id,
        )

    def names_stored(self, account: str, kind: str, things: Sequence[NamedThing]) -> None:
        """A complete list of the upstream replaces the last one."""
        with self.database.writing() as transaction:
            names.store(transaction, account, kind, things)
        self.names.forget()

    def name_list(self, account: str, kind: str) -> NameList | None:
        """The cached list of the upstream; None when it was never fetched."""
        with self.database.reading() as transaction:
            return self.names.list_of(transaction.connection, account, kind)

    def name_lists_older_than(self, age: timedelta) -> list[tuple[str, str]]:
        """(account, kind) of the lists due for a refresh."""
        with self.database.reading() as transaction:
            fetched = names.ages(transaction)
            return sorted(key for key, at in fetched.items() if transaction.now - at > age)

    # -- clock

    def due_lanes(self, most: int) -> list[str]:
        """Up to `most` lanes to send a job to; they are armed, so that nobody else sends one for a lease."""
        with self.database.reading() as transaction:
            if not upkeep.due_lanes(transaction, self.paces):
                return []
        with self.database.writing() as transaction:
            due = upkeep.due_lanes(transaction, self.paces)[:most]
            if due:
                upkeep.arm(transaction, due)
            return due

    def lanes_disarmed(self, lane: str | None = None) -> None:
        """The jobs sent to this lane, or to all lanes, are known to be lost: they may be sent again."""
        with self.database.writing() as transaction:
            upkeep.disarm(transaction, lane)

    def lanes_ensured(self) -> None:
        """Every configured lane has its row."""
        with self.database.writing() as transaction:
            upkeep.ensure_lanes(transaction, sorted(self.paces))

    def heartbeat(self, beat: Heartbeat) -> None:
        """A process reported itself."""
        with self.database.writing() as transaction:
            upkeep.beat(transaction, beat)

    def heartbeat_ended(self, process: str) -> None:
        """A process ended in an orderly way."""
        with self.database.writing() as transaction:
            upkeep.silence(transaction, process)

    def given_up(self) -> int:
        """Deliveries that waited longer than give_up_after are dead letters; how many were."""
        with self.database.reading() as transaction:
            old = upkeep.too_old(transaction)
        for lane, delivery_id in old:
            if lane in self.paces:
                with self.database.writing() as transaction:
                    self._work(transaction, lane).give_up(delivery_id)
        return len(old)

    def waits_shortened(self) -> None:
        """No waiting delivery is further ahead than the longest backoff (a clock may have jumped)."""
        with self.database.reading() as transaction:
            if not upkeep.far_ahead(transaction):
                return
        with self.database.writing() as transaction:
            upkeep.shorten_waits(transaction)

    def pruned(self, bodies: timedelta, history: timedelta) -> int:
        """Bodies and history past their retention are gone, a bounded number at a time; how many rows."""
        with self.database.writing() as transaction:
            return upkeep.prune(transaction, bodies, history)

    def book_stored(self, book_hash: str, content: str) -> None:
        """The rule book is on record under its hash."""
        dialect = sqlite if self.database.is_sqlite else postgresql
        with self.database.writing() as transaction:
            row = {"hash": book_hash, "stored_at": transaction.now, "content": content}
            transaction.connection.execute(dialect.insert(rule_books).on_conflict_do_nothing(), row)

    # -- people

    def replayed(self, delivery_id: str) -> str:
        """A dead letter waits in its lane again; answers the lane. Raises LetterError."""
        with self.database.writing() as transaction:
            return letters.replay(transaction, self.routes, delivery_id)

    def discarded(self, delivery_id: str, why: str) -> None:
        """A dead letter is put aside with a person's reason. Raises LetterError."""
        with self.database.writing() as transaction:
            letters.discard(transaction, self.routes, delivery_id, why)

    def events(self, query: EventQuery) -> Page:
        with self.database.reading() as transaction:
            return reads.list_events(transaction, query)

    def event_lines(self, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        with self.database.reading() as transaction:
            return reads.event_alerts(transaction, ids)

    def event(self, event_id: str) -> dict[str, Any] | None:
        with self.database.reading() as transaction:
            return reads.one_event(transaction, event_id, self._payloads)

    def incidents(
        self, *, state: str | None = None, account: str | None = None, limit: int, before: str | None = None
    ) -> Page:
        with self.database.reading() as transaction:
            return reads.list_incidents(transaction, state=state, account=account, limit=limit, before=before)

    def incident(self, incident_id: str) -> dict[str, Any] | None:
        with self.database.reading() as transaction:
            return reads.one_incident(transaction, incident_id)

    def deliveries(
        self,
        *,
        state: str | None = None,
        account: str | None = None,
        incident: str | None = None,
        limit: int,
        before: str | None = None,
    ) -> Page:
        with self.database.reading() as transaction:
            return reads.list_deliveries(
                transaction,
                self.routes,
                self.paces,
                state=state,
                account=account,
                incident=incident,
                limit=limit,
                before=before,
            )

    def delivery(self, delivery_id: str) -> dict[str, Any] | None:
        with self.database.reading() as transaction:
            return reads.one_delivery(transaction, self.routes, self.paces, delivery_id)

    def lanes(self, rates: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
        with self.database.reading() as transaction:
            return reads.list_lanes(transaction, self.routes, rates)

    def alive(self, within: timedelta) -> list[dict[str, Any]]:
        with self.database.reading() as transaction:
            return reads.alive(transaction, within)

    def counters(self) -> dict[str, dict[tuple[str, ...], int]]:
        with self.database.reading() as transaction:
            return reads.counters(transaction)

    def is_writable(self) -> bool:
        """Whether a transaction that writes can be begun now."""
        try:
            with self.database.writing():
                return True
        except LedgerUnavailable:
            return False

    def time(self) -> datetime:
        """The database's clock."""
        with self.database.reading() as transaction:
            return transaction.now

    def close(self) -> None:
        """Close the connections."""
        self.database.close()
