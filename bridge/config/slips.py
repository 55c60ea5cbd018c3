"""Texts in a rule that are read as they stand where another meaning was likely: each is a warning.

In: a rule's `match`, `when` and `incident` as written. Out: Problems of the grade warning, at the text. A condition
that compares with `pg*` or with quotes from a chat never holds, and only the page that does not come would say so.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bridge.config.rule_match import ELSEWHERE, GROUPS
from bridge.config.yaml_reader import Path, Tree
from bridge.domain.errors import Grade, Problem

_BARE = ""  # the operator of `path: value`; who writes {eq: value} means the text as it stands
_EQUALITIES = frozenset({_BARE, "ne", "in"})

# Spaces of a document, and what has no width; beside letters of other scripts and in an emoji a joiner belongs there.
_UNSEEN = re.compile("[\u00a0\u00ad\u2007\u200b\u202f\u2060\ufeff]|(?<![^\0-\x7f])[\u200c-\u200f](?![^\0-\x7f])")
_CURLY = re.compile("(?s)[\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb](.*)[\u2018\u2019\u201c\u201d\u00ab\u00bb]")
_OPERATOR = re.compile(r"(!=|==|=~|!~|~=|[<>]=?(?=\s*-?[\d.]+$)|!(?=\s*\w))\s*(.+)")
_EITHER = re.compile(r"[\w-]+(?:\|[\w-]+)+")
_WILD = re.compile(r".*\.[*+].*|\*[^*\s][^*]*|[^*]*[^*\s]\*|\*[^*\s][^*]*\*")
_REGEX = re.compile(r"\^.+|\S+\$|/.*[\^$*+?|()\[\]\\].*/")
_REGEX_IN_GLOB = re.compile(r"^\^|^\.\*|\\[dws](?![A-Za-z])|\([^()|]*\|[^()]*\)")  # no C:\data
_BRACES_IN_GLOB = re.compile(r"\{[^{}:=,]+,[^{}:=]+\}")  # no {env:prod,team:db}, as titles of Datadog have it

_LABEL = r"alert\.labels(?:\.([A-Za-z_]\w*)|\[(?:'([^'\n]*)'|\"([^\"\n]*)\")\])"
_DIFFERS = re.compile(rf"{_LABEL}\s*(?:!=|not\s+in\b)|\bnot\s*(?:\(\s*)?{_LABEL}\s*(?:==|in\b)")

_BARE_PATH = re.compile(r"\s*(?:alert|payload)\.[A-Za-z_][\w.]*(?:\[[^\]{}]*\][\w.]*)*\s*")
_ONE_BRACE = re.compile(r"(?<![{$])\{\s*((?:alert|payload)\.[\w.]+)\s*\}(?!\})")
_VARIABLE = re.compile(  # of a template literal, of bridge.yaml, of Datadog; a body may quote any other of a shell
    r"\$\{(?:alert|payload)\.[^{}]*\}|^\$\{\w+(?::-[^{}]*)?\}$|\$(?:ALERT|EVENT|AGGREG|INCIDENT|TEXT_ONLY)_[A-Z_]+\b"
)


def slips(tree: Tree, at: Path) -> Iterator[Problem]:
    """What is odd about the texts of the rule at a path of its file, but for what is no YAML of ours anyway."""
    yield from (slip for slip in _slips(tree, at) if all(slip.place != known.place for known in tree.problems))


def _slips(tree: Tree, at: Path) -> Iterator[Problem]:
    rule: Any = tree.value
    for step in at:
        rule = rule[step]
    yield from _in_conditions(tree, rule.get("match"), (*at, "match"))
    if isinstance(rule.get("when"), str):
        yield from _in_when(tree, rule["when"], rule.get("match"), (*at, "when"))
    incident = rule.get("incident")
    for name, value in incident.items() if isinstance(incident, Mapping) else ():
        yield from _in_leaves(tree, name, value, (*at, "incident", name))


# -- conditions


def _in_conditions(tree: Tree, conditions: Any, at: Path) -> Iterator[Problem]:
    if isinstance(conditions, list):
        for number, one in enumerate(conditions):
            yield from _in_conditions(tree, one, (*at, number))
    if not isinstance(conditions, Mapping):
        return
    for key, wanted in conditions.items():
        path = (*at, key)
        unseen = _UNSEEN.search(key)
        if unseen is not None:
            message = f"the path '{_shown(key)}' holds U+{ord(unseen[0]):04X}, which nobody sees"
            yield _warning(tree, path, message, "delete it; it comes along when a text is copied", is_key=True)
        if key in GROUPS:
            yield from _in_conditions(tree, wanted, path)
        elif isinstance(wanted, Mapping):
            for operator, operand in wanted.items():
                yield from _in_texts(tree, key, operator, operand, (*path, operator))
        else:
            yield from _in_texts(tree, key, _BARE, wanted, path)


def _in_texts(tree: Tree, key: str, operator: str, wanted: Any, at: Path) -> Iterator[Problem]:
    for number, one in enumerate(wanted) if isinstance(wanted, list) else ((None, wanted),):
        slip = _slip(operator, one) if isinstance(one, str) else None
        if slip is not None:
            message, hint = slip
            yield _warning(tree, at if number is None else (*at, number), f"'{_shown(key)}' {message}", hint)


def _slip(operator: str, text: str) -> tuple[str, str] | None:
    """What is odd about a text that is compared with, and what was likely meant."""
    shown = _shown(text)
    unseen, curly = _UNSEEN.search(text), _CURLY.fullmatch(text)
    if operator == "eq" and unseen is None:
        return None
    if unseen is not None:
        return f"compares with '{shown}', which holds U+{ord(unseen[0]):04X}", "delete it; nobody sees it in the text"
    if curly is not None:
        return f"compares with {shown}, and to YAML these quotes are part of the text", f"write '{_shown(curly[1])}'"
    if operator == "glob":
        return _slip_in_glob(text)
    if operator not in _EQUALITIES:
        return None
    if text != text.strip():
        return f"compares with '{shown}', which begins or ends with white space", "take it out of the quotes"
    meant = _meant_by(text, operator)
    if meant is None:
        return None
    itself = _unless("{eq: …}", operator)
    return f"compares with the text '{shown}' as it stands", f"{meant}; if the text itself is meant: {itself}"


def _meant_by(text: str, operator: str) -> str | None:
    """How it is written what was likely meant by a text of an equality."""
    shown, spelled = _shown(text), _OPERATOR.fullmatch(text)
    if spelled is not None:
        name = ELSEWHERE.get(spelled[1])
        return f"write {{{name}: {_shown(spelled[2])}}}" if name is not None else "write not: {…: {regex: …}}"
    if _EITHER.fullmatch(text) is not None:
        return f"a list means any of: [{_shown(text.replace('|', ', '))}]"
    if _REGEX.fullmatch(text) is not None:
        regex = f"{{regex: '{_shown(text.removeprefix('/').removesuffix('/'))}'}}"
        return f"a pattern is written {_unless(regex, operator)}"
    if _WILD.fullmatch(text) is not None:
        glob = f"{{glob: '{shown}'}}"
        return f"a pattern is written {_unless(glob, operator)}, or as a {{regex: …}}"
    return None


def _unless(written: str, operator: str) -> str:
    """The condition that stands for another one; under `ne` its opposite, for there is no operator of that kind."""
    return f"not: {{…: {written}}}" if operator == "ne" else written


def _slip_in_glob(text: str) -> tuple[str, str] | None:
    if _REGEX_IN_GLOB.search(text) is not None:
        return (
            f"has the glob '{_shown(text)}', which reads like a regex",
            "a regex is written {regex: …}; a list of globs: any of them will do",
        )
    if _BRACES_IN_GLOB.search(text) is not None:
        return f"has the glob '{_shown(text)}', and {{a,b}} is text in it", "give a list of globs: any of them will do"
    return None


def _in_when(tree: Tree, when: str, match: Any, at: Path) -> Iterator[Problem]:
    """Labels whose absence keeps an alert out, where a condition of `match` would let it in."""
    names = dict.fromkeys(next(filter(None, found.groups()), "") for found in _DIFFERS.finditer(when))
    for name in names:
        path = f"labels.{name}"
        asked = [found[0] for found in re.finditer(_LABEL, when) if name in found.groups()]
        is_known = any(re.search(rf"{re.escape(one)}\s*(?:\||is\b)", when) is not None for one in asked)
        is_sought = re.search(rf"['\"]{re.escape(name)}['\"]\s+(?:not\s+)?in\s+alert\.labels\b", when) is not None
        if not name or is_known or is_sought or path in _keys(match):
            continue
        message = f"an alert without '{path}' does not match: 'when' cannot be answered for it"
        yield _warning(tree, at, message, f"write {asked[0]} | default(''), or in 'match': {path}: {{ne: …}}")


def _keys(match: Any) -> Iterator[str]:
    """The paths that the conditions of a `match` ask for, those of its groups as well, but for what is kept out."""
    if isinstance(match, list):
        yield from (key for one in match for key in _keys(one))
    elif isinstance(match, Mapping):
        yield from match
        yield from (key for group in ("any", "all") for key in _keys(match.get(group)))


# -- what is sent


def _in_leaves(tree: Tree, name: str, value: Any, at: Path) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in ("expr", "from", "template"):
                yield from _in_leaves(tree, name, inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _in_leaves(tree, name, inner, (*at, number))
    elif isinstance(value, str):
        bare, variable = _ONE_BRACE.search(value), _VARIABLE.search(value)
        if _BARE_PATH.fullmatch(value) is not None:
            yield _as_it_stands(tree, at, name, value.strip(), f'"{{{{ {value.strip()} }}}}"')
        elif bare is not None:
            yield _as_it_stands(tree, at, name, bare[0], f"{{{{ {bare[1]} }}}}")
        elif variable is not None:
            yield _as_it_stands(tree, at, name, variable[0], "{{ alert.title }}, {{ alert.labels.team }} and the like")


def _as_it_stands(tree: Tree, at: Path, name: str, text: str, meant: str) -> Problem:
    return _warning(tree, at, f"'{_shown(text)}' is sent as it stands in '{_shown(name)}'", f"write {meant}")


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:80]


def _warning(tree: Tree, path: Path, message: str, hint: str, *, is_key: bool = False) -> Problem:
    place = tree.key_place(path) if is_key else tree.place(path)
    return Problem(place=place, message=message, hint=hint, grade=Grade.WARNING)
