"""The ledger: the only record of what is owed. One method per transaction, named after what becomes true."""

from collections.abc import Callable, Sequence

from bridge.adapters.files import Meanwhile
from bridge.adapters.ledger.books import InForce, Origin, RulesState, StoredBook
from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.claiming import Claim, NamesNeeded
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.fetches import Fetch, Fetched
from bridge.adapters.ledger.front.clock import ForClock
from bridge.adapters.ledger.front.people import ForPeople
from bridge.adapters.ledger.front.reading import ForReading
from bridge.adapters.ledger.front.rules import ForRules
from bridge.adapters.ledger.front.workers import ForWorkers
from bridge.adapters.ledger.history import StoredEvent, Stretch
from bridge.adapters.ledger.lanes import Claimed, Recorded
from bridge.adapters.ledger.read_events import EventQuery
from bridge.adapters.ledger.reads import Page
from bridge.adapters.ledger.receipts import Receipt, receipt
from bridge.adapters.ledger.recording import Finished
from bridge.adapters.ledger.settle import Settled, settle
from bridge.adapters.ledger.silences import Preview
from bridge.adapters.ledger.upkeep import Heartbeat

__all__ = [
    "Claim", "Claimed", "EventQuery", "Fetch", "Fetched", "Finished", "Heartbeat", "InForce", "Ledger", "NamesNeeded",
    "Origin", "Page", "Preview", "Receipt", "Recorded", "Route", "RulesState", "Settled", "StoredBook", "StoredEvent",
    "Stretch", "receipt",
]  # fmt: skip


class Ledger(ForWorkers, ForClock, ForRules, ForPeople, ForReading):
    """The ledger as one process uses it. Make it after forking; any number of threads may call it."""

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
        gathered: list[Receipt] | None = None

        def settled(transaction: Transaction) -> tuple[list[Settled], frozenset[str]]:
            nonlocal gathered
            if gathered is None:
                gathered = [*batch, *more()]
            return settle(transaction, gathered, self.routes, self.new_id)

        return self._written(settled, meanwhile)
