"""What is allowed in a rule and hardly ever meant: each is a warning, and nothing is refused for it.

In: a rule as written and compiled. Out: Problems of the grade warning, at their place. Texts that likely mean something
else are found in `config/slips.py`, rules that can never match in `rules/dead.py`, paths that no known payload has in
`rules/payload_paths.py`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.config.slips import slips
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree
from bridge.destinations.base import Destination
from bridge.domain.decision import Mode
from bridge.domain.errors import Grade, Place, Problem
from bridge.rules.book import Rule
from bridge.rules.dead import Dead, dead_rules, lets_nothing_fire
from bridge.rules.references import references, references_in_template

VICTIMS_MAX = 3  # of one rule that are named; more of them are one warning

_MATTERS = ("service", "severity")  # they fall back where others are left out: DESIGN section 5
_FIELDS_THAT_CHANGE = {
    "status": "it differs between firing and recovery",
    "severity": "it may rise while the problem lasts",
    "title": "many senders write the state or a measured value into it",
    "description": "it differs from report to report",
    "reported_at": "it differs from report to report",
    "starts_at": "a new firing would be another incident, and some senders change it",
    "ends_at": "only a recovery has it",
    "payload": "it is the whole report, and each differs",
}
_TIMES = frozenset({"time", "timestamp", "datetime", "date", "ts", "now", "updated", "triggered", "fired"})
_VALUES = frozenset({"value", "values", "count", "duration", "elapsed", "current"})
_TEXTS = frozenset({"message", "msg", "description", "body", "text", "reason", "output"})
_STATES = frozenset({"transition", "status", "state", "severity", "priority", "level"})
_IDS = re.compile(r"(?:^|_)(?:event|delivery|request|message|notification|webhook)_?(?:id|uuid)$|^snapshot")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_STABLE = frozenset(
    {"id", "key", "uid", "uuid", "name", "slug", "ref"}
)  # status_id, priority.name: what they name stays
_LAST_STEP = re.compile(r"""(?:\.|^)(\w[^.\[\]]*)$|\[['"]([^'"]*)['"]\]$""")


def warnings_of(
    rule: Rule, incident: Mapping[str, Any], tree: Tree, at: YamlPath, to: Destination
) -> Iterator[Problem]:
    """What is odd about one rule that holds together; its `incident` as written, and where it stands in the tree."""
    yield from slips(tree, at)
    yield from _key_warnings(rule, incident, tree, at)
    yield from _fallback_warnings(rule, incident, tree, at, to)


# -- keys


def _key_warnings(rule: Rule, incident: Mapping[str, Any], tree: Tree, at: YamlPath) -> Iterator[Problem]:
    key = incident.get("incident_key")
    if key is None:
        for number, path in enumerate(rule.dedup or ()):
            why = volatility(path.text)
            if why is not None:
                own, inherited = (tree.place((*where, "dedup", number)) for where in (at, ("defaults",)))
                yield _volatile(path.text, why, own if own != tree.place(at) else inherited, "dedup")
        return
    for path_text in dict.fromkeys(_read_by(key)):
        why = volatility(path_text)
        if why is not None:
            yield _volatile(path_text, why, tree.place((*at, "incident", "incident_key")), "incident_key")


def _volatile(path: str, why: str, place: Place, name: str) -> Problem:
    message = f"'{name}' is made of '{path}', which does not stay the same while a problem lasts: {why}"
    hint = "a report whose key differs opens another incident, and its recovery closes none; 'check --keys' proves it"
    return _warning(place, message, hint)


def volatility(path: str) -> str | None:
    """Why what a path reads changes while a problem lasts, judged by its name; None when nothing says so."""
    if path in _FIELDS_THAT_CHANGE:
        return _FIELDS_THAT_CHANGE[path]
    if not path.startswith(("labels", "payload")):
        return None
    found = _LAST_STEP.search(path)
    words = [word.lower() for word in _WORDS.findall(found[1] or found[2] or "")] if found else []
    name = "_".join(words)
    if _IDS.search(name):
        return "each report has its own"
    if not words or words[-1] in _STABLE:
        return None
    if _TIMES & {*words} or name in ("updated_at", "last_seen", "sent_at", "received_at", "reported_at"):
        return "it is a time"
    kinds = ((_VALUES, "it is a measured value"), (_TEXTS, "it is a message"), (_STATES, "it is a state"))
    return next((why for known, why in kinds if words[-1] in known), None)


def _read_by(value: Any) -> Iterator[str]:
    """The paths that one value of a rule reads."""
    match value:
        case str():
            yield from references_in_template(value)
        case {"expr": str(expression)}:
            yield from references(expression)
        case {"from": str(path), **more}:
            yield path
            table = more.get("map")
            for one in (*(table.values() if isinstance(table, Mapping) else ()), more.get("else")):
                yield from _read_by(one)


# -- names that come from data


def _fallback_warnings(
    rule: Rule, incident: Mapping[str, Any], tree: Tree, at: YamlPath, to: Destination
) -> Iterator[Problem]:
    for name, value in incident.items():
        about = to.fields.get(name)
        if about is None or about.lookup is None or name in to.defaults or not (about.required or name in _MATTERS):
            continue
        if not _depends_on_data(value):
            continue
        paths = ", ".join(dict.fromkeys(_read_by(value))) or "the alert"
        message = f"'{name}' of rule '{rule.id}' comes from {paths} and has no fallback"
        missing = "add an 'else:' to it, or" if isinstance(value, Mapping) and "map" in value else "add"
        hint = (
            f"without one an alert that lacks it pages nobody: {missing} '{name}:' to the defaults of '{rule.account}'"
        )
        yield _warning(tree.place((*at, "incident", name)), message, hint)


def _depends_on_data(value: Any) -> bool:
    """Whether an alert may have nothing for it."""
    match value:
        case {"map": _, **more}:
            return "else" not in more or _depends_on_data(more["else"])
        case Mapping():
            return True
        case str():
            return "{{" in value or "{%" in value
    return False


# -- all rules together


def book_warnings(rules: Sequence[Rule], unmatched: str | None) -> Iterator[Problem]:
    """What only all rules together show: those that can never match, and shadows that keep alerts from the others.

    `unmatched` is the rule that decides when no live one matches.
    """
    for rule in rules:
        silent = lets_nothing_fire(rule)
        if silent is not None:
            message = (
                f"rule '{rule.id}' opens nothing: only an alert that fires does, and its condition '{silent}' lets"
            )
            hint = "what ends or acknowledges a problem follows its incident by itself: see 'on_resolve' of its rule"
            yield _warning(rule.place, f"{message} none through", hint)
        if rule.id == unmatched and rule.mode is Mode.SHADOW:
            message = f"rule '{rule.id}' decides where no other does and is in the shadow: those alerts page nobody"
            yield _warning(rule.place, message, "write 'unmatched: record' if that is meant, or leave out its 'mode'")
        if rule.mode is Mode.SHADOW and rule.conditions is not None and not rule.continues:
            message = f"rule '{rule.id}' is in the shadow and ends the search: the alerts it matches page nobody"
            hint = "give it 'continue: true', so that the rules after it, and 'unmatched', see them too"
            yield _warning(rule.place, message, hint)
    by_killer: dict[str, list[Dead]] = {}
    for dead in dead_rules(rules):
        if dead.by is None:
            one, other = dead.contradiction
            message = f"rule '{dead.rule.id}' can never match: its conditions '{one}' and '{other}' exclude each other"
            yield _warning(dead.rule.place, message, "change one of them")
        else:
            by_killer.setdefault(dead.by.id, []).append(dead)
    for victims in by_killer.values():
        yield from _dead_by(victims)


def _dead_by(victims: Sequence[Dead]) -> Iterator[Problem]:
    by = victims[0].by
    if by is None:
        return
    first, count = victims[0].rule, len(victims)
    takes = f"rule '{by.id}' before it ({by.place}) takes every alert it would"
    files = " (files are read in the order of their paths)" if first.place.file != by.place.file else ""
    hint = f"put the narrower rule before '{by.id}'{files}, or give '{by.id}' 'continue: true', or delete one"
    if count > VICTIMS_MAX:
        yield _warning(first.place, f"rule '{first.id}' and {count - 1} others after it can never match: {takes}", hint)
        return
    for victim in victims:
        yield _warning(victim.rule.place, f"rule '{victim.rule.id}' can never match: {takes}", hint)


def _warning(place: Place, message: str, hint: str) -> Problem:
    return Problem(place=place, message=message, hint=hint, grade=Grade.WARNING)
