"""What a look at one part of the bridge comes to: `incident-bridge doctor` prints it."""

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a part is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: which part, how it is, and what to do unless it is well."""

    health: Health
    part: str  # "config", "ledger", "redis", "account pagerduty-prod"
    sentence: str
    advice: str = ""


def well(part: str, sentence: str) -> Finding:
    """Nothing to do."""
    return Finding(health=Health.OK, part=part, sentence=sentence)


def odd(part: str, sentence: str, advice: str) -> Finding:
    """It works, but somebody should know."""
    return Finding(health=Health.WARNING, part=part, sentence=sentence, advice=advice)


def wrong(part: str, sentence: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(health=Health.PROBLEM, part=part, sentence=sentence, advice=advice)
