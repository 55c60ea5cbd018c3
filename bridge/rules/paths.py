"""Paths into an alert, as rules write them: `severity`, `labels.team`, `payload.a.0.b`, `payload['a.b']`.

In: a path's text when rules are loaded, an Alert when they are used. Out: the value there, or MISSING.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from bridge.domain.absent import is_unsaid
from bridge.domain.alert import Alert, effective


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""What a path that leads nowhere reads; JSON null is not MISSING."""


class BadPath(ValueError):
    """A path that cannot be read; `word` is the unknown field in it, when that is what is wrong."""

    def __init__(self, message: str, *, word: str = "") -> None:
        self.word = word
        super().__init__(message)


def rfc3339(instant: datetime) -> str:
    """An instant as text, e.g. 2026-08-01T10:00:00Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _text(value: str | None) -> Any:
    return value or MISSING


def _instant(value: datetime | None) -> Any:
    return MISSING if value is None else rfc3339(value)


_HEADS: Mapping[str, Callable[[Alert], Any]] = MappingProxyType(
    {
        "source": lambda alert: alert.source,
        "source_type": lambda alert: alert.source_type,
        "fingerprint": lambda alert: alert.fingerprint,
        "episode": lambda alert: _text(alert.episode),
        "status": lambda alert: alert.status.value,
        "severity": lambda alert: effective(alert.severity).value,
        "title": lambda alert: _text(alert.title),
        "description": lambda alert: _text(alert.description),
        "reported_at": lambda alert: _instant(alert.reported_at),
        "starts_at": lambda alert: _instant(alert.starts_at),
        "ends_at": lambda alert: _instant(alert.ends_at),
        "labels": lambda alert: alert.labels,
        "payload": lambda alert: alert.payload,
    }
)
HEADS: tuple[str, ...] = tuple(_HEADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One compiled path. `steps` lead on from the field `head`: keys, and for lists the digits of an index."""

    text: str
    head: str
    steps: tuple[str, ...] = ()

    def read(self, alert: Alert) -> Any:
        """The value there, or MISSING. A severity the sender did not give reads as what it counts as: error."""
        value = _HEADS[self.head](alert)
        for step in self.steps:
            value = _step(value, step)
            if value is MISSING:
                return MISSING
        return value

    def given(self, alert: Alert) -> Any:
        """As `read`, but a severity the sender did not give is MISSING."""
        return MISSING if self.head == "severity" and alert.severity is None else self.read(alert)


def _step(value: Any, step: str) -> Any:
    if isinstance(value, dict | MappingProxyType | Mapping):  # asking for the plain types first is quicker
        return value.get(step, MISSING)
    if isinstance(value, list | tuple) and step.isascii() and step.isdigit() and len(step) < 10:
        index = int(step)
        return value[index] if index < len(value) else MISSING
    return MISSING


_HEAD = re.compile(r"[A-Za-z_]+")
_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]]+)
    | \[(?P<index>\d{1,9})\]
    | \['(?P<single>[^']*)'\]
    | \["(?P<double>[^"]*)"\]
    """,
    re.VERBOSE,
)


def parse(text: str) -> Path:
    """Compile a path. Raises BadPath."""
    found = _HEAD.match(text)
    head = found.group() if found else text
    if head not in _HEADS:
        raise BadPath(f"an alert has no field '{head}'", word=head)
    rest = text[len(head) :]
    if not rest:
        return Path(text=text, head=head)
    if head == "labels" and rest.startswith(".") and len(rest) > 1:
        return Path(text=text, head=head, steps=(rest[1:],))
    if head not in ("labels", "payload"):
        raise BadPath(f"path '{text}' leads nowhere: the field '{head}' holds one value")
    steps: list[str] = []
    at = len(head)
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise BadPath(f"path '{text}' cannot be read from '{text[at:]}' on")
        steps.append(next(part for part in step.groups() if part is not None))
        at = step.end()
    if head == "labels" and len(steps) > 1:
        raise BadPath(f"path '{text}' leads nowhere: a label holds one text")
    return Path(text=text, head=head, steps=tuple(steps))


def is_absent(value: Any) -> bool:
    """Whether a value says nothing and so may not stand in a key: missing, null, empty, an unfilled placeholder."""
    if value is MISSING or value is None:
        return True
    if isinstance(value, str):
        return is_unsaid(value)
    return isinstance(value, Mapping | list | tuple) and not value
