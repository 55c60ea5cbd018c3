"""Any order of reports, answers, deaths and waits: what tests/machines.py promises, of the domain's functions alone."""

from hypothesis import settings

from bridge.domain.decision import KeyRule
from tests.machines import IncidentMachine, PureLedger


class WhileOpen(IncidentMachine):
    """As at PagerDuty: a key is free again once its incident is over, and that can be re-opened."""

    def made(self) -> PureLedger:
        return PureLedger(self.key_rule)


class ForEver(WhileOpen):
    """As at incident.io: a key is spent, and nothing is re-opened."""

    key_rule = KeyRule.FOR_EVER


PACE = settings(max_examples=200, stateful_step_count=40)
TestWhileOpen = WhileOpen.TestCase
TestWhileOpen.settings = PACE
TestForEver = ForEver.TestCase
TestForEver.settings = PACE
