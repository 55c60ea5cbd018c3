"""Identity: which series an alert belongs to, and the key the upstream knows an incident by (DESIGN section 4).

In: typed parts; out: hex digests. Every formula here is pinned for ever by tests/golden/keys: another formula means
another key for each incident that is open while the bridge is upgraded.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from bridge.domain.decision import KeyRule

PREFIX = "ib1"  # of every key we give an upstream; the digit is the version of the formulas
SERIES_IN_KEY_HEX = 40
EPISODE_HEX = 16
KEY_TEXT_MAX_CHARS = 255  # PagerDuty Events API v2, dedup_key; none documented for REST's incident_key; read 2026-08


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8; 1, 1.0 and "1" differ.

    Lone surrogates are kept (as their three bytes), so that text no encoder would take still has one digest.
    """
    try:
        text = _dumps(value)
    except ValueError:  # an integer of more digits than Python writes in decimal
        text = _dumps(_without_huge_integers(value))
    return text.encode("utf-8", "surrogatepass")


def series(account: str, scope: str, parts: Sequence[Any]) -> str:
    """What is broken, seen from the upstream: 64 hex. Parts are typed: ["ab", "c"] is not ["a", "bc"]."""
    return _digest([account, scope, *parts])


def problem_id(source: str, fingerprint: str) -> str:
    """What an alert reports on: 64 hex."""
    return _digest([source, fingerprint])


def episode(sender_episode: str | None, opening_event: str, n: int) -> str:
    """One firing of a series: 16 hex.

    `n` counts the earlier incidents of the series that were claimed with the same id (the sender's own for this
    episode, else that of the opening event).
    """
    return _digest([sender_episode or opening_event, n])[:EPISODE_HEX]


def upstream_key(rule: KeyRule, series: str, key_text: str | None, episode: str) -> str:
    """The key of one incident at its upstream.

    `key_text` is the rule's own `incident_key`, rendered. It is the series' only part, so where a key is spent for ever
    the series already speaks for it.
    """
    match rule:
        case KeyRule.WHILE_OPEN if key_text:
            return key_text if len(key_text) <= KEY_TEXT_MAX_CHARS else f"{PREFIX}-{_short(key_text)}"
        case KeyRule.WHILE_OPEN:
            return f"{PREFIX}-{series[:SERIES_IN_KEY_HEX]}"
        case KeyRule.FOR_EVER:
            return f"{PREFIX}-{series[:SERIES_IN_KEY_HEX]}-{episode}"
    assert_never(rule)


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:SERIES_IN_KEY_HEX]


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be part of a key")


_dumps = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_as_json).encode


def _without_huge_integers(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _without_huge_integers(item) for key, item in value.items()}
        case list() | tuple():
            return [_without_huge_integers(item) for item in value]
        case int() if not isinstance(value, bool) and value.bit_length() > 1024:
            return {"integer": hex(value)}
    return value
