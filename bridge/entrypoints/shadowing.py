"""The report on shadow rules as API, command and page show it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bridge.domain.decision import Mode
from bridge.domain.shadow import NOTHING, ShadowRule
from bridge.rules.book import RuleBook

SINCE = "7d"
LOOKED_AT_MAX = 200_000  # alerts, by command and API
PAGE_LOOKS_AT_MAX = 20_000


def shadow_rules(book: RuleBook) -> tuple[str, ...]:
    """The rules of a book that are in shadow mode."""
    return tuple(rule.id for rule in book.rules if rule.mode is Mode.SHADOW)


def shadow_json(one: ShadowRule) -> dict[str, Any]:
    """One rule, for the API."""
    return {**asdict(one), "samples": [{"event": event, "title": title} for event, title in one.samples]}


def really_text(really: Mapping[str, int]) -> str:
    """What became of its alerts under other rules: `3 opened, 2 nothing else`."""
    words = ((number, "nothing else" if outcome == NOTHING else outcome) for outcome, number in really.items())
    return ", ".join(f"{number:,} {word}" for number, word in words)
