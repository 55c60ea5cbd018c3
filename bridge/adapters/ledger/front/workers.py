"""The ledger as workers use it: deliveries claimed and recorded, lists of names fetched."""

from collections.abc import Collection, Sequence

from bridge.adapters.holders import holder
from bridge.adapters.ledger import claiming, fetches, names, probes, recording
from bridge.adapters.ledger.claiming import Claim, NamesNeeded
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.fetches import Fetch, Fetched
from bridge.adapters.ledger.front.base import Base
from bridge.adapters.ledger.lanes import Claimed, LaneBusy, Recorded
from bridge.adapters.ledger.names import NameList
from bridge.adapters.ledger.recording import Finished
from bridge.domain.delivery import NamedThing


class ForWorkers(Base):
    """What workers make true."""

    def claim(self, lane: str) -> Claim:
        """The lane's next due delivery is leased to the caller.

        Nothing is, while another worker is at the lane: that one goes on with it, or the clock sees what is left. A
        lane in a storm, whose claims take long, so keeps one worker, and the others serve other lanes.
        """
        try:
            return self._at_lane(lane, claiming.claim, waits=False)
        except LaneBusy:
            return None

    def record(self, finished: Finished, *, claim_next: bool) -> tuple[Recorded, Claim]:
        """An attempt is on record with what follows from it, and the lane's next delivery is leased if asked for."""
        return self._at_lane(
            finished.claimed.lane,
            lambda work: (recording.record(work, finished), claiming.claim(work) if claim_next else None),
        )

    def put_back(self, claimed: Claimed, kinds: tuple[str, ...]) -> NamesNeeded | None:
        """A claimed delivery waits for lists of names instead of being sent; it was no attempt."""
        return self._at_lane(claimed.lane, lambda work: claiming.put_back(work, claimed, kinds))

    def let_go(self, claimed: Claimed, why: str) -> None:
        """A claimed delivery is not sent, for nothing is left to tell; it was no attempt."""
        self._at_lane(claimed.lane, lambda work: claiming.let_go(work, claimed, why))

    def take_back(self, lane: str, sent: Collection[str]) -> None:
        """Leases that this process was given without hearing of it, as its connection broke, are nobody's."""
        self._at_lane(lane, lambda work: claiming.take_back(work, sent))

    def names_stored(self, account: str, kind: str, things: Sequence[NamedThing]) -> None:
        """A complete list of the upstream replaces the last one."""

        def stored(transaction: Transaction) -> None:
            self._work(transaction, self.routes[account].lane)
            whole = fetches.Whole(rows=fetches.rows_of(things), began_at=transaction.now)
            names.store(transaction, account, kind, whole)

        self._written(stored)
        self.names.forget()

    def fetch_begun(self, account: str, kind: str) -> Fetch | None:
        """The caller alone fetches this list now; None when somebody does, when it is too early, or not allowed."""

        def begun(transaction: Transaction) -> Fetch | None:
            if account not in self.routes or not self._work(transaction, self.routes[account].lane).may_ask():
                return None
            if not probes.may_fetch(transaction.connection, account, transaction.now):
                return None
            return fetches.begin(transaction, account, kind, f"{holder()}:{self.new_id()}")

        return self._written(begun)

    def fetch_recorded(self, fetched: Fetched) -> bool:
        """The pages a job brought are kept; True when the list is whole by that, and visible from now on."""
        fetch = fetched.fetch

        def recorded(transaction: Transaction) -> bool:
            work = self._work(transaction, self.routes[fetch.account].lane)
            whole = fetches.record(transaction, fetched)
            if fetched.failure is not None:
                work.no_list_came(fetched.failure)
            if whole is not None:
                names.store(transaction, fetch.account, fetch.kind, whole)
            work.save()
            return whole is not None

        is_whole = self._written(recorded)
        self.names.forget()
        return is_whole

    def fetches_asked(self) -> list[tuple[str, str]]:
        """(account, kind) of the lists that somebody is to fetch now; nobody else is told so for a while."""
        with self.database.reading() as transaction:
            widowed = fetches.leases_of_gone(transaction)
            if not widowed and not fetches.any_due(transaction, self.routes):
                return []

        def asked(transaction: Transaction) -> list[tuple[str, str]]:
            if widowed:
                fetches.end_leases(transaction, widowed)
            return fetches.ask(transaction, self.routes)

        return self._written(asked)

    def fetch_wished(self, account: str, kind: str) -> None:
        """Somebody needs this list, and no delivery has asked for it: the clock has it fetched."""
        self._written(lambda transaction: fetches.wish(transaction, account, kind))

    def name_list(self, account: str, kind: str) -> NameList | None:
        """The cached list of the upstream; None when it was never fetched."""
        with self.database.reading() as transaction:
            return self.names.list_of(transaction.connection, account, kind)
