"""One fact under the many names a body may give it: looked up by spelling, in nested blocks too.

Operators choose the keys of a custom body themselves: `alertCycleKey`, `ALERT_CYCLE_KEY`, `alert: {cycle_key}` and
`metadata: {ALERT_CYCLE_KEY}` are all found under `alertcyclekey`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bridge.sources.absent import is_absent, is_half_filled, scalar_text

_LEVELS = 4  # of nested blocks that are looked into
_KEYS_MAX = 2_000  # keys read of one body, so that a hostile one stays cheap


def words(text: str) -> frozenset[str]:
    """The words of a text, for tables."""
    return frozenset(text.split())


# Too common to mean the same in every block: inside one they count only together with the block's name.
_COMMON = words(
    "id key name type title status state severity priority message msg body text description url link tags date time"
    " timestamp host user email query metric value event source version channel"
)


@lru_cache(maxsize=4096)
def spelled(name: str) -> str:
    """A key without its spelling: lower case, letters and digits only."""
    return "".join(letter for letter in name[:64].lower() if letter.isalnum())


@dataclass(frozen=True, slots=True)
class Fields:
    """The values of a body that say something, by spelled name; the outermost wins."""

    by_name: Mapping[str, Any]

    def value(self, *names: str) -> Any:
        """The first of these names the body has, as JSON; None when it has none."""
        by_name = self.by_name
        for name in names:
            if name in by_name:
                return by_name[name]
        return None

    def text(self, *names: str) -> str | None:
        """The first of these names that holds a scalar, as text."""
        by_name = self.by_name
        for name in names:
            if name in by_name and (text := scalar_text(by_name[name])) is not None:
                return text
        return None

    def texts(self, *names: str) -> tuple[str, ...]:
        """Every one of these names that holds a scalar, as text."""
        by_name = self.by_name
        given = [scalar_text(by_name[name]) for name in names if name in by_name]
        return tuple(text for text in given if text is not None)

    def key(self, *names: str) -> str | None:
        """As `text`, for a value that will stand in a key."""
        by_name = self.by_name
        for name in names:
            if name in by_name and (text := scalar_text(by_name[name])) and not is_half_filled(text):
                return text
        return None


def fields_of(payload: Mapping[str, Any], *, wrappers: frozenset[str]) -> Fields:
    """The fields of a body. `wrappers` are spelled names of blocks that add no meaning of their own."""
    found: dict[str, Any] = {}
    left = _KEYS_MAX
    level: list[tuple[str, Mapping[str, Any]]] = [("", payload)]
    for _ in range(_LEVELS):
        below: list[tuple[str, Mapping[str, Any]]] = []
        for block, values in level:
            for key, value in values.items():
                left -= 1
                if left < 0:
                    return Fields(found)
                name = spelled(key)
                if isinstance(value, dict):
                    below.append((block if name in wrappers else name, value))
                elif is_absent(value):
                    continue
                elif block:
                    _keep(found, block, name, value)
                else:
                    found.setdefault(name, value)
        level = below
    return Fields(found)


def _keep(found: dict[str, Any], block: str, name: str, value: Any) -> None:
    found.setdefault(name if name.startswith(block) else block + name, value)
    if name not in _COMMON:
        found.setdefault(name, value)
