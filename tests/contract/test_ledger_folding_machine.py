"""Any order of storms, ends, claims, answers and waits: every firing problem stays in exactly one incident."""

import itertools
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.adapters.ledger import Claimed
from bridge.domain.alert import Severity
from bridge.domain.delivery import Action, PermanentFailure, Reason, TransientFailure, UnknownOutcome
from bridge.domain.delivery import NothingFound as Nothing
from tests.contract.test_ledger_folding import ACCOUNT, SLOT, Lane
from tests.ledgers import delivered, ends, fires, record, settle

KINDS = tuple(itertools.product(("k", "l"), ("t", "u")))
ANSWERS = {
    "delivered": None,
    "away": TransientFailure(reason=Reason.NOT_CONNECTED, detail="refused"),
    "lost": UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer"),
    "nothing": Nothing(detail="none"),
    "dead": PermanentFailure(reason=Reason.REFUSED, detail="HTTP 418"),
}


class Storms(RuleBasedStateMachine):
    """A slow lane and what happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.lane = Lane(f"sqlite:///{Path(self.folder.name)}/bridge.db")
        self.firing: dict[int, Severity] = {}
        self.held: Claimed | None = None

    @rule(first=st.integers(0, 30), number=st.integers(1, 45), severity=st.sampled_from(tuple(Severity)))
    def fire(self, first: int, number: int, severity: Severity) -> None:
        names = range(first, first + number)
        settle(self.lane.ledger, *(self._fires(name, severity) for name in names))
        self.firing |= dict.fromkeys(names, severity)

    @rule(first=st.integers(0, 30), number=st.integers(1, 50))
    def end(self, first: int, number: int) -> None:
        settle(self.lane.ledger, *(ends(f"x{name}") for name in range(first, first + number)))
        self.firing = {name: one for name, one in self.firing.items() if not first <= name < first + number}

    @rule(first=st.integers(0, 30), severity=st.sampled_from(tuple(Severity)))
    def flap_in_one_webhook(self, first: int, severity: Severity) -> None:
        both = [one for name in range(first, first + 3) for one in (ends(f"x{name}"), self._fires(name, severity))]
        settle(self.lane.ledger, *both)
        self.firing |= dict.fromkeys(range(first, first + 3), severity)

    @rule()
    def claim(self) -> None:
        if self.held is None:
            found = self.lane.ledger.claim(ACCOUNT)
            self.held = found if isinstance(found, Claimed) else None

    @rule(answer=st.sampled_from(tuple(ANSWERS)))
    def answer(self, answer: str) -> None:
        if self.held is None:
            return
        result = ANSWERS[answer] or delivered(f"P-{self.held.delivery.id}")
        record(self.lane.ledger, self.held, result)
        self.held = None

    @rule(by=st.sampled_from((1, 5, 10, 60)))
    def wait(self, by: int) -> None:
        if self.held is None:
            self.lane.later(timedelta(seconds=by))

    @invariant()
    def folded_live_by_their_carrier_which_counts_their_members(self) -> None:
        every = {one["id"]: one for one in self.lane.rows()}
        for one in every.values():
            if one["state"] == "folded":
                carrier = every[one["carrier"]]
                assert one["live"]
                assert carrier["live"]
                assert carrier["state"] not in ("folded", "resolved", "cancelled")
        own = self.lane.firing_members()
        for one in every.values():
            inside = sum(own.get(two["id"], 0) for two in every.values() if two["carrier"] == one["id"] and two["live"])
            if one["live"]:
                assert one["firing"] == own.get(one["id"], 0) + (inside if one["state"] != "folded" else 0)

    @invariant()
    def a_firing_problem_is_in_one_live_incident(self) -> None:
        found = self.lane.live_members()
        assert sorted(found) == sorted(f"x{name}" for name in self.firing)

    def teardown(self) -> None:
        """The upstream answers, and the lane has time: everything is represented once; and at the end all is over."""
        try:
            self._drain()
            dead = {one["id"] for one in self.lane.incidents("dead")}
            for name, ids in self.lane.represented().items():
                assert len(ids) == 1 or self.lane.is_in(name, dead), name
            settle(self.lane.ledger, *(ends(f"x{name}") for name in range(80)))
            self._drain()
            assert {state for state in self.lane.states() if state not in ("resolved", "cancelled", "dead")} == set()
        finally:
            self.lane.ledger.close()
            self.folder.cleanup()

    def _drain(self) -> None:
        quiet = 0
        while quiet < 8:
            if self.held is not None:
                looks = self.held.delivery.action is Action.ACKNOWLEDGE
                assert not looks
                record(self.lane.ledger, self.held, delivered(f"P-{self.held.delivery.id}"))
            self.lane.later(SLOT)
            found = self.lane.ledger.claim(ACCOUNT)
            self.held = found if isinstance(found, Claimed) else None
            quiet = 0 if self.held is not None else quiet + 1
            if quiet:
                self.lane.later(timedelta(minutes=2))

    def _fires(self, name: int, severity: Severity) -> object:
        key, target = KINDS[name % len(KINDS)]
        return fires(f"x{name}", severity=severity, fold_key=key, fold_target=target)


TestStorms = Storms.TestCase
TestStorms.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
