"""Incidents and members for tests of the domain: plain ones, and what a test changes of them."""

from datetime import UTC, datetime
from typing import Any

from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, Policy
from bridge.domain.incident import Incident, IncidentState, Member

OPENED_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def plain_incident(state: IncidentState = IncidentState.OPEN, **changes: Any) -> Incident:
    """An incident of PagerDuty's kind that nothing was told of yet, unless changed."""
    plain: dict[str, Any] = {
        "id": "i",
        "account": "pd",
        "series": "s",
        "scope": "",
        "rule": "r",
        "key": "k",
        "key_rule": KeyRule.WHILE_OPEN,
        "key_text": None,
        "episode_id": "e",
        "episode_n": 0,
        "severity": Severity.ERROR,
        "title": "t",
        "policy": Policy(),
        "opened_at": OPENED_AT,
    }
    return Incident(**{**plain, "state": state, **changes})


def member(**changes: Any) -> Member:
    """A problem of that incident, which fires unless changed."""
    plain: dict[str, Any] = {
        "incident": "i",
        "problem": "p",
        "source": "s",
        "fingerprint": "f",
        "firing": True,
        "severity": Severity.ERROR,
        "title": "t",
        "joined_at": OPENED_AT,
    }
    return Member(**{**plain, **changes})
