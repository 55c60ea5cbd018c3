"""The ledger as the clock and upkeep use it: what is due, what is too old, what is counted, and alarms."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from types import MappingProxyType

from bridge.adapters.ledger import alarms, callbacks, plan_b, pruning, renewals, silences, tallies, truth, upkeep
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.front.base import Base
from bridge.adapters.ledger.lanes import LaneWork
from bridge.adapters.ledger.upkeep import Heartbeat
from bridge.domain.alarms import Cause
from bridge.domain.incident import Incident

TRIM_STEPS_MAX = 20  # of each source, in one round
PRUNE_FOR_S = 1.0  # in one round, and at least a step of each kind
LET_IN_S = 0.002  # between two steps: the file lock goes to whoever asks first, and the others have yet to wake up
TALLY_FOR_S = 0.5  # in one round, and at least a piece of each table
NOTHING: Mapping[str, str] = MappingProxyType({})


class ForClock(Base):
    """What time makes true."""

    def due_lanes(self, most: int) -> list[str]:
        """Up to `most` lanes to send a job to; they are armed, so that nobody else sends one for a lease.

        Where more are due, the others have their turn the next time. Failing lanes are probed: they come last, and
        never more of them than half of the living workers.
        """
        with self.database.reading() as transaction:
            widowed = upkeep.leases_of_gone(transaction)
            found = self._due(transaction, most)
        if widowed:
            self._written(lambda transaction: upkeep.end_leases(transaction, widowed))
            with self.database.reading() as transaction:
                found = self._due(transaction, most)
        if not found:
            return []

        def armed(transaction: Transaction) -> list[str]:
            due = self._due(transaction, most, found)
            if due:
                upkeep.arm(transaction, due)
            return due

        due = self._written(armed)
        self._served = due[-1] if len(due) == most else ""
        return due

    def _due(self, transaction: Transaction, most: int, only: Sequence[str] | None = None) -> list[str]:
        return upkeep.due_lanes(transaction, self.paces, self.routes, most=most, behind=self._served, only=only)

    def lanes_disarmed(self, lane: str | None = None) -> None:
        """The jobs sent to this lane, or to all lanes, are known to be lost: they may be sent again."""
        self._written(lambda transaction: upkeep.disarm(transaction, lane))

    def lanes_ensured(self) -> None:
        """Every configured lane has its row, and every unfinished delivery waits in the lane of its account.

        A lane's name follows the configuration: call it at start, and now and then while old processes may still run.
        """
        with self.database.reading() as transaction:
            if upkeep.are_lanes_ensured(transaction, self.routes):
                return
        self._written(lambda transaction: upkeep.ensure_lanes(transaction, self.routes))

    def heartbeat(self, beat: Heartbeat) -> None:
        """A process reported itself."""
        self._written(lambda transaction: upkeep.beat(transaction, beat))

    def heartbeat_ended(self, process: str) -> None:
        """A process ended in an orderly way."""
        self._written(lambda transaction: upkeep.silence(transaction, process))

    def given_up(self, told: Callable[[str, str], None] = lambda _account, _delivery: None) -> int:
        """Deliveries that waited longer than give_up_after are dead letters; how many became it now.

        `told` hears the account and the id of each. Those of accounts that are not configured wait on, and are shown.
        """
        with self.database.reading() as transaction:
            old = upkeep.too_old(transaction, self.routes)
        gone = 0
        for lane, account, one in old:
            if self._at_lane(lane, partial(LaneWork.give_up, delivery_id=one)):
                told(account, one)
                gone += 1
        return gone

    def renewals_opened(self, told: Callable[[Incident], None] = lambda _ended: None) -> int:
        """Incidents that a person closed, and whose problems still fire, are new episodes once their window is over.

        `told` hears of each that was closed; how many there were now.
        """
        with self.database.reading() as transaction:
            ids = renewals.due(transaction, self.routes)
        if not ids:
            return 0
        ended = self._written(lambda transaction: renewals.open_due(transaction, self.routes, self.new_id, ids))
        for one in ended:
            told(one)
        return len(ended)

    def swept(self) -> int:
        """Incidents that nobody has looked at for long have a check in their lane; how many got one now."""
        with self.database.reading() as transaction:
            due, idle = truth.sweep_due(transaction, self.routes)
        if idle:
            self._written(partial(truth.pass_over, accounts=idle))
        return sum(self._written(partial(truth.sweep, routes=self.routes, new_id=self.new_id, account=a)) for a in due)

    def plan_b_opened(self, told: Callable[[Incident], None] = lambda _fresh: None) -> int:
        """Critical incidents that their account cannot take are at its plan B as well, once; how many got there now.

        `told` hears of each that stands for one of them.
        """
        if not any(route.plan_b is not None for route in self.routes.values()):
            return 0
        with self.database.reading() as transaction:
            waiting = plan_b.waiting(transaction, self.routes)
            lagging = plan_b.lagging(transaction)
        for one in lagging:
            self._written(partial(plan_b.catch_up, routes=self.routes, new_id=self.new_id, one=one))
        opened = 0
        for a, p in waiting:
            fresh = self._written(partial(plan_b.open_one, routes=self.routes, new_id=self.new_id, account=a, page=p))
            if fresh is not None:
                told(fresh)
                opened += 1
        return opened

    def waits_shortened(self) -> None:
        """No waiting delivery is further ahead than it was meant to be (a clock may have jumped back)."""
        with self.database.reading() as transaction:
            if not upkeep.far_ahead(transaction):
                return
        self._written(upkeep.shorten_waits)

    def pruned(self, bodies: timedelta, history: timedelta, rest: Callable[[float], None] = time.sleep) -> int:
        """Bodies and history past their retention are gone, a bounded number at a time; how many rows.

        In steps of one transaction each, between which others write; after PRUNE_FOR_S what is left waits for another
        round. `rest` is how it pauses between two steps.
        """
        until = time.monotonic() + PRUNE_FOR_S
        steps: tuple[tuple[Callable[[], int], int], ...] = (
            (partial(self._written, partial(pruning.bodies_past, kept_for=bodies)), pruning.STEP_BODIES),
            (partial(self._written, partial(pruning.events_past, kept_for=history)), pruning.STEP_EVENTS),
            (partial(self._incidents_pruned, history, until, rest), pruning.SOUGHT_INCIDENTS),
            (partial(self._checks_pruned, history), pruning.STEP_CHECKS),
            (partial(self._written, partial(pruning.books_past, kept_for=history)), pruning.STEP_BOOKS),
            (partial(self._written, partial(pruning.rest_past, kept_for=history)), pruning.STEP_AUDIT),
            (partial(self._written, partial(silences.prune, history=history)), pruning.STEP_AUDIT),
        )
        gone = 0
        for step, whole in steps:
            while True:
                went = step()
                gone += went
                rest(LET_IN_S)
                if went < whole or time.monotonic() > until:
                    break
        return gone

    def _incidents_pruned(self, kept_for: timedelta, until: float, rest: Callable[[float], None]) -> int:
        with self.database.reading() as transaction:
            old = pruning.incidents_past(transaction, kept_for)
        gone = 0
        for start in range(0, len(old), pruning.STEP_INCIDENTS):
            some = old[start : start + pruning.STEP_INCIDENTS]
            gone += self._written(partial(pruning.forget_incidents, kept_for=kept_for, ids=some))
            rest(LET_IN_S)
            if time.monotonic() > until:
                break
        return gone

    def _checks_pruned(self, kept_for: timedelta) -> int:
        with self.database.reading() as transaction:
            old = pruning.checks_past(transaction, kept_for)
        return self._written(partial(pruning.forget_checks, ids=old)) if old else 0

    def bodies_trimmed(self, most_bytes: int, owed: Mapping[str, str] = NOTHING) -> None:
        """No source keeps more bytes of packed bodies than this: its oldest bodies are gone.

        `owed` has the fingerprint of the Notices, by source, whose sender waits for a call of ours: their bodies stay.
        """
        with self.database.reading() as transaction:
            crowded = pruning.crowded(transaction, most_bytes)
            kept = frozenset(callbacks.owed(transaction, owed)) if crowded else frozenset()
        for source in crowded:
            for _ in range(TRIM_STEPS_MAX):
                step = partial(pruning.bodies_beyond, source=source, most_bytes=most_bytes, owed=kept)
                if not self._written(step):
                    break
                time.sleep(LET_IN_S)

    def tallied(self) -> None:
        """What came in and what became of it is counted, up to half a minute ago; after a long pause in several calls.

        The rows are looked through without a lock; only the sums are written.
        """
        until = time.monotonic() + TALLY_FOR_S
        for what in tallies.tables():
            while True:
                with self.database.reading() as transaction:
                    piece = tallies.next_piece(transaction, what)
                if piece is None:
                    break
                self._written(partial(tallies.add_piece, piece=piece))
                if piece.is_last or time.monotonic() > until:
                    break

    def tallied_more(self, what: str, numbers: Mapping[tuple[str, ...], int]) -> None:
        """Numbers that no row tells of have grown by these, by their labels."""
        if numbers:
            self._written(lambda transaction: tallies.add_now(transaction, what, numbers))

    def alarms_standing(self, max_waits: Mapping[str, timedelta]) -> tuple[Cause, ...]:
        """Everything that needs a person now; `max_waits` are those of the configured accounts."""
        with self.database.reading() as transaction:
            return alarms.standing(transaction, self.routes, max_waits)

    def alarms_due(
        self, max_waits: Mapping[str, timedelta], believed: Callable[[Sequence[Cause]], Sequence[Cause]] = tuple
    ) -> list[Cause]:
        """Those of them that the caller believes, and is to tell now: nobody told them in the last 15 minutes."""
        found = believed(self.alarms_standing(max_waits))
        return self._written(lambda transaction: alarms.claim(transaction, found)) if found else []

    def alarm_unsaid(self, cause: Cause) -> None:
        """A cause could not be told; it is due again in a minute."""
        self._written(lambda transaction: alarms.unsaid(transaction, cause))

    def callbacks_owed(self, marks: Mapping[str, str]) -> list[str]:
        """Events whose sender waits for a call of ours; `marks` has the fingerprint of their Notice by source."""
        with self.database.reading() as transaction:
            return callbacks.owed(transaction, marks)

    def event_remarked(self, event_id: str, text: str) -> None:
        """An accepted event says how the call it asked for ended; it is owed no more."""
        self._written(lambda transaction: callbacks.remark(transaction, event_id, text))
