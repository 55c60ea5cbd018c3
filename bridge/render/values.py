"""Values as templates see and write them: fields of the alert, what is absent, and JSON types that leave a template."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from jinja2.environment import TemplateModule
from jinja2.runtime import ChainableUndefined, LoopContext, StrictUndefined, Undefined

from bridge.domain.alert import Alert, Link, effective
from bridge.render.meter import CHARS_PER_STEP, RenderError, spend

NATIVE_DEPTH_MAX = 100  # levels of lists and mappings in a value that leaves a template
ALERT_FIELDS: tuple[str, ...] = tuple(one.name for one in fields(Alert))
KNOWN_FIELDS = frozenset(ALERT_FIELDS)


class Absent(ChainableUndefined, StrictUndefined):
    """What a path that leads nowhere gives: any use but `default` and `is defined` fails, at any depth."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        return f"there is no '{str(self._undefined_name)[:80]}' in this alert"


def _rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def alert_field(alert: Alert, name: str) -> Any:
    """A field of the alert as templates see it; a severity the sender did not give is what it counts as."""
    if name == "severity":
        return effective(alert.severity).value
    return alert.status.value if name == "status" else getattr(alert, name)


def as_native(value: Any, depth: int = 0) -> Any:
    """A value of a template as JSON types, paid for. Raises UndefinedError, RenderError."""
    spend(len(value) // CHARS_PER_STEP if isinstance(value, str) else 1)
    if depth > NATIVE_DEPTH_MAX:
        raise RenderError("it gives data that is nested too deep")
    match value:
        case Enum():
            return value.value
        case float() if not math.isfinite(value):
            raise RenderError("it gives a number that JSON does not have")
        case str() | bool() | int() | float() | None:
            return value
        case Mapping():
            return {str(key): as_native(item, depth + 1) for key, item in value.items()}
        case Undefined():
            str(value)  # raises, with its own message
        case list() | tuple() | range() | Iterator() if not isinstance(value, LoopContext):
            return [as_native(item, depth + 1) for item in value]
        case datetime():
            return _rfc3339(value)
        case Link():
            return {"text": value.text, "href": value.href}
        case Alert():
            return {name: as_native(alert_field(value, name)) for name in ALERT_FIELDS}
    raise RenderError("it gives something that is no data")


def as_json(value: Any, indent: int | None = None) -> str:
    """A value of a template as JSON, paid for. Raises UndefinedError, RenderError."""
    return json.dumps(as_native(value), ensure_ascii=False, indent=indent)


def as_text(value: Any) -> str:
    """A value as it is written into text: nothing for null, JSON for lists and mappings."""
    match value:
        case str():
            return str(value)
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float() | TemplateModule():
            return str(value)
        case Undefined():
            return str(value)  # raises, with its own message
        case datetime():
            return _rfc3339(value)
    return as_json(value)
