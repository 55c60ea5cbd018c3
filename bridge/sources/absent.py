"""Which values of a payload mean "nothing was said", and every other scalar as text.

Senders fill templates; what they could not fill arrives in many disguises. All of them become None here, so that
none can enter a key or a title.
"""

import re
from collections.abc import Mapping
from typing import Any

_START = frozenset("$*{%<nN")  # every disguise begins with one of these: the rest skips the pattern

# The shapes of templates left unfilled: Datadog $VAR and $TAGS[key], ${var}, {{placeholder}}, Zabbix {MACRO} and
# *UNKNOWN*, PRTG %var, UptimeRobot *var*, Go's <no value>; the text null is Datadog's for a variable without a value.
_DISGUISE = re.compile(
    r"""null
    | <no\ value>
    | \$[A-Za-z_][\w.]*(?:\[[^\]]*\])?
    | \$\{[^{}]*\}
    | \{\{[^{}]*\}\}
    | \{[A-Z$\#][A-Z0-9_.$\#]*\}
    | %[a-z][a-z0-9_]*%?
    | \*[A-Za-z_]+\*
    """,
    re.VERBOSE | re.IGNORECASE,
)
# A dollar right behind a letter or digit is part of a name: MSSQL$SALES is the service of an instance of SQL Server
# (https://documentation.help/instsql/in_runsetup_32cy.htm; read 2026-11).
_UNFILLED_INSIDE = re.compile(r"(?<![A-Za-z0-9])\$[A-Z][A-Z_]{2,}|\$\{[^{}]*\}|\{\{[^{}]*\}\}")
_LONGEST_DISGUISE = 200  # characters; anything longer is text


def is_absent(value: Any) -> bool:
    """Whether a value says nothing: null, empty, or the leftover of a template."""
    if value is None:
        return True
    if not isinstance(value, str):
        return False
    first = value[:1]
    if first and first not in _START and not first.isspace():
        return False
    text = value.strip()
    return not text or (len(text) <= _LONGEST_DISGUISE and _DISGUISE.fullmatch(text) is not None)


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
