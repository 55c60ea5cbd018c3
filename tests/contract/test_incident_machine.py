"""The machine of tests/machines.py over a real ledger: the same promises, with rows, locks and leases."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings

from bridge.adapters.ledger import Claimed, Ledger
from bridge.adapters.ledger.schema import metadata
from bridge.domain import keys
from bridge.domain.alert import Severity, Status
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import Action, AttemptResult
from tests.ledgers import MovedDatabase, ends, fires, record, route, webhook
from tests.machines import POLICY, SERIES, SUPERSEDED, Call, IncidentMachine

URGENCY = frozenset({"urgency"})
BROKEN = {keys.series("pd", "S", (what,)): what for what in SERIES.values()}
LEASE_AND_MORE = timedelta(seconds=31)


class RealLedger:
    """A ledger in SQLite, played through what receivers and workers call."""

    def __init__(self, key_rule: KeyRule) -> None:
        self.key_rule = key_rule
        reopens = URGENCY if key_rule is KeyRule.WHILE_OPEN else None
        self.database = MovedDatabase("sqlite://")
        metadata.create_all(self.database.engine)
        self.ledger = Ledger(self.database, {"pd": route(rises=URGENCY, reopens=reopens)})
        self.ledger.lanes_ensured()

    def fire(self, problem: str, severity: Severity) -> None:
        fields = {"title": problem, "service": "S", "urgency": severity.value}
        what: dict[str, Any] = {"parts": (SERIES[problem],), "severity": severity, "fields": fields}
        reading = fires(problem, key_rule=self.key_rule, policy=POLICY, episode=None, **what)
        self.ledger.settle([webhook(self.ledger, reading)])

    def end(self, problem: str) -> None:
        self.ledger.settle([webhook(self.ledger, ends(problem))])

    def acknowledge(self, problem: str) -> None:
        self.ledger.settle([webhook(self.ledger, ends(problem, Status.ACKNOWLEDGED))])

    def claim(self) -> Call | None:
        found = self.ledger.claim("pd")
        if found is None:
            return None
        assert isinstance(found, Claimed)
        incident = self.ledger.incident(found.delivery.incident)
        assert incident is not None
        return Call(delivery=found.delivery, series=BROKEN[incident["series"]], held=found)

    def record(self, call: Call, result: AttemptResult) -> None:
        record(self.ledger, call.held, result)

    def crash(self, _call: Call) -> None:
        self.later(LEASE_AND_MORE)

    def later(self, by: timedelta) -> None:
        self.database.ahead += by

    def incidents(self) -> list[tuple[str, str, bool]]:
        over = ("resolved", "cancelled")
        found = self.ledger.incidents(limit=500).items
        superseded = [one for one in found if one["reason"] == SUPERSEDED]
        return [
            (BROKEN[one["series"]], "" if one in superseded else one["state"], one["state"] not in (*over, "dead"))
            for one in found
        ]

    def waiting(self) -> list[tuple[str, Action]]:
        return [(one["incident"], Action(one["action"])) for one in self._waiting()]

    def telling(self) -> list[tuple[str, Action, bool]]:
        tells = (Action.UPDATE, Action.NOTE)
        found = [(one, Action(one["action"])) for one in self._waiting()]
        return [(one["incident"], action, self._is_worded(one)) for one, action in found if action in tells]

    def _waiting(self) -> list[Mapping[str, Any]]:
        found = self.ledger.deliveries(state="pending", limit=500).items
        return [one for one in found if not one["attempts"]]

    def _is_worded(self, one: Mapping[str, Any]) -> bool:
        """Whether it is a list of what was found open, or folded: its text was made when it was queued."""
        found = self.ledger.delivery(one["id"])
        return found is not None and "note" in found["request"]["fields"]


class WhileOpen(IncidentMachine):
    """As at PagerDuty."""

    def made(self) -> RealLedger:
        return RealLedger(self.key_rule)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.ledger.database.close()  # type: ignore[attr-defined]


class ForEver(WhileOpen):
    """As at incident.io."""

    key_rule = KeyRule.FOR_EVER


PACE = settings(max_examples=15, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow])
TestWhileOpen = WhileOpen.TestCase
TestWhileOpen.settings = PACE
TestForEver = ForEver.TestCase
TestForEver.settings = PACE


def test_what_was_found_open_is_listed_beside_the_note_that_gathers() -> None:
    """What the machine found: two notes wait, each of its own."""
    played = WhileOpen()
    for problem, fate in (("a", "works"), ("c", "works"), ("a", "works"), ("a", "refused"), ("a", "works")):
        played.ends_and_comes_back(problem=problem, fate=fate)
    played.ends_and_comes_back(problem="b", fate="works")
    played.ends_and_comes_back(problem="a", fate="works")
    assert [action for _, action in played.ledger.waiting()] == [Action.NOTE, Action.NOTE]
    played.one_update_and_one_note_wait()
    played.teardown()
