"""What every part of the ledger stands on: the database, the accounts and their lanes, one transaction at a time."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from bridge.adapters.files import Meanwhile
from bridge.adapters.ids import Ulids
from bridge.adapters.ledger import upkeep
from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.compiled import in_one_trip
from bridge.adapters.ledger.engine import Database, Transaction, is_contention
from bridge.adapters.ledger.lanes import LaneWork
from bridge.adapters.ledger.names import NameBook
from bridge.adapters.ledger.read_events import Payloads
from bridge.adapters.ledger.schema import from_us
from bridge.domain.errors import LedgerUnavailable
from bridge.domain.lane import Pace

REDO_MAX = 3
T = TypeVar("T")


class Base:
    """One process's access to the ledger: its database, routes and names."""

    def __init__(
        self, database: Database, routes: Mapping[str, Route], payloads: Payloads = lambda _source, _headers, _body: ()
    ) -> None:
        """`routes` gives every configured account its lane and pace; `payloads` reads a stored body again."""
        self._payloads = payloads
        self.database = database
        self.routes = dict(routes)
        self.paces: dict[str, Pace] = upkeep.routes_paces(self.routes)
        self.new_id = Ulids(database.time_ns)
        self.names = NameBook()
        self._served = ""  # the last lane of a round that had no room for all

    def _written(self, work: Callable[[Transaction], T], meanwhile: Meanwhile | None = None) -> T:
        """What `work` answers once its transaction is committed.

        A deadlock, or somebody else who wrote the same row first, redoes it all; LedgerUnavailable after three times.
        """
        for attempt in range(REDO_MAX + 1):
            try:
                with self.database.writing(meanwhile) as transaction:
                    return work(transaction)
            except Exception as error:
                if not is_contention(error):
                    raise
                if attempt == REDO_MAX:
                    raise LedgerUnavailable("the ledger is contended; nothing was written") from error
        raise AssertionError("unreachable")

    def _at_lane(self, lane: str, does: Callable[[LaneWork], T], *, waits: bool = True) -> T:
        def worked(transaction: Transaction) -> T:
            with in_one_trip(transaction.connection):
                work = self._work(transaction, lane, waits=waits)
                done = does(work)
                work.save()
            return done

        return self._written(worked)

    def _work(self, transaction: Transaction, lane: str, *, waits: bool = True) -> LaneWork:
        return LaneWork(
            transaction,
            lane,
            pace=self.paces[lane],
            routes=self.routes,
            names=self.names,
            new_id=self.new_id,
            waits=waits,
        )

    def is_writable(self) -> bool:
        """Whether a transaction that writes can be committed now."""
        try:
            self.database.write_tried()
        except LedgerUnavailable:
            return False
        return True

    def time(self) -> datetime:
        """The database's clock."""
        with self.database.reading() as transaction:
            return transaction.now

    def time_here(self) -> datetime:
        """The same without asking: this host's clock, and how far the two were apart in the last transaction."""
        return from_us(self.database.time_ns() // 1000)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()
