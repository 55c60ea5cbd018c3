"""Which values of a payload mean "nothing was said", and every other scalar as text.

All of the former become None here, so that none can enter a key or a title.
"""

import re
from collections.abc import Mapping
from typing import Any

from bridge.domain.absent import is_unsaid

# A dollar right behind a letter or digit is part of a name: MSSQL$SALES is the service of an instance of SQL Server
# (https://documentation.help/instsql/in_runsetup_32cy.htm; read 2026-11).
_UNFILLED_INSIDE = re.compile(r"(?<![A-Za-z0-9])\$[A-Z][A-Z_]{2,}|\$\{[^{}]*\}|\{\{[^{}]*\}\}")


def is_absent(value: Any) -> bool:
    """Whether a value says nothing: null, nothing to see in it, or the leftover of a template."""
    return value is None or (isinstance(value, str) and is_unsaid(value))


def text_of(value: Any) -> str | None:
    """A scalar as text, stripped; None for what is absent and for lists and objects."""
    return None if is_absent(value) else scalar_text(value)


def scalar_text(value: Any) -> str | None:
    """As `text_of`, for a value known not to be absent."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None


def key_of(value: Any) -> str | None:
    """A scalar that may stand in a key: as `text_of`, but also None when an unfilled variable stands inside it."""
    text = text_of(value)
    return None if text is None or is_half_filled(text) else text


def is_half_filled(text: str) -> bool:
    """Whether an unfilled variable stands somewhere inside a text."""
    return ("$" in text or "{{" in text) and _UNFILLED_INSIDE.search(text) is not None


def says_nothing(value: Any) -> bool:
    """Whether a value of any JSON type may not stand in a key: absent, half filled, or made of such values alone."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)
        elif not is_absent(one) and not (isinstance(one, str) and is_half_filled(one)):
            return False
    return True
