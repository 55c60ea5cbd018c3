"""Which texts say nothing. In: any text of a sender; out: whether a person, or a key, could make something of it.

Senders fill templates; what they could not fill arrives in many disguises. None of them may enter a key or a title.
"""

import re
from unicodedata import category

_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and a symbol, as Unicode has it, with nothing to see
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Mc", "Me", "Mn", "Zl", "Zp", "Zs"})  # controls, what marks a letter, spaces
_START = frozenset("$*{%<nN") | _BLANKS  # every disguise begins with one of these: the rest skips the pattern
_LOOKED_AT = 1_024  # characters, the longest title: what shows nothing in so many shows nothing to anybody

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
_LONGEST_DISGUISE = 200  # characters; anything longer is text


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: it is empty, or made of spaces and characters without a width."""
    return all(category(one) in _UNSEEN or one in _BLANKS for one in text[:_LOOKED_AT])


def is_unsaid(text: str) -> bool:
    """Whether a text says nothing: nothing of it can be seen, or it is the leftover of a template."""
    first = text[:1]
    if first and first not in _START and first.isprintable() and first != " ":
        return False
    stripped = text.strip()
    if len(stripped) <= _LONGEST_DISGUISE and _DISGUISE.fullmatch(stripped) is not None:
        return True
    return is_blank(stripped)
