"""What a template or expression reads of an alert, as paths: found in its text, for checks that a person reads.

In: the text. Out: paths in the words of rules. A path beside a `default` is left out where the asker wants to know what
must be there: who wrote it knows that it may be missing.
"""

import re
from collections.abc import Iterator

_NAMED = r"\.[A-Za-z_]\w*"
_BRACKETED = r"\[(?:'[^'\n]*'|\"[^\"\n]*\"|\d{1,9})\]"
_REFERENCE = re.compile(
    rf"(?<![\w.'\"])(?:(?P<payload>(?:alert\.)?payload)|alert(?P<field>{_NAMED}))"
    rf"(?P<steps>(?:{_NAMED}|\.\d{{1,9}}|{_BRACKETED})*)(?P<call>\s*\()?"
    r"(?P<optional>\s*(?:\|\s*(?:default|d)\b|is\s+(?:not\s+)?defined))?"
)
_MARKED = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_STEP = re.compile(rf"{_NAMED}|\.\d{{1,9}}|{_BRACKETED}")


def references_in_template(text: str, *, optional: bool = True) -> Iterator[str]:
    """The paths that stand between the braces of a template; without the `optional` ones those that must be there."""
    for part in _MARKED.finditer(text):
        yield from references(part.group(), optional=optional)


def references(expression: str, *, optional: bool = True) -> Iterator[str]:
    """The paths an expression names: `title`, `labels.team`, `payload.a['b']`."""
    for found in _REFERENCE.finditer(expression):
        if found["optional"] and not optional:
            continue
        steps = _STEP.findall(found["steps"])
        if found["call"]:
            steps = steps[:-1]  # a method: .items(), .get()
        head = "payload" if found["payload"] else found["field"][1:]
        yield head + "".join(steps)
