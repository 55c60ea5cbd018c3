"""`*.test.yaml` beside the rules, read into values (DESIGN section 7); what is wrong with a file has its place.

In: one file. Out: Cases. Their fixtures are read here, so that running a case touches no file.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bridge.config.bodies import headers_of
from bridge.config.folders import visible
from bridge.config.sentences import found
from bridge.config.texts import text_in
from bridge.config.units import duration
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree, read_tree
from bridge.destinations import DESTINATIONS
from bridge.domain.errors import ConfigError, Place, Problem
from bridge.render import nearest
from bridge.rules.expectations import is_matcher
from bridge.rules.patterns import compiled
from bridge.rules.values import BadCondition

SUFFIXES = (".test.yaml", ".test.yml")
_STEP_KEYS = frozenset({"at", "send", "to", "headers", "upstream", "expect"})
_UPSTREAM_KEYS = frozenset({"account", "status", "headers", "body", "lost", "crash"})
_EXPECT_KEYS = frozenset({"account", "matched", "because", "created", "resolved", "open", "request"})
_OF_LAST_WEBHOOK = frozenset({"matched", "because", "request"})
_BECAUSE_KEYS = frozenset({"rule", "condition"})
_COUNTS = ("created", "resolved", "open")
_FIELDS = frozenset(name for made in DESTINATIONS.values() for name in made.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """A webhook comes in."""

    source: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How the upstream answers the next call. `lost`: it does what it is told, and the answer does not arrive; `crash`:
    the worker dies between the answer and writing it down.
    """

    account: str
    status: int | None
    headers: Mapping[str, str]
    body: Any
    lost: bool
    crash: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What must be true now."""

    wanted: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens, when on the test's own clock, and where it stands."""

    at: timedelta
    place: Place
    what: Send | Answer | Expect


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test."""

    name: str
    place: Place
    steps: tuple[Step, ...]


def test_files(paths: list[Path]) -> list[Path]:
    """The test files among these and under these folders, sorted."""
    found: set[Path] = set()
    for path in paths:
        inside = (one for one in visible(path, "*.test.y*ml") if one.name.endswith(SUFFIXES))
        found.update(inside if path.is_dir() else [path])
    return sorted(found)


def read_cases(
    path: Path,
    shown: str,
    sources: Mapping[str, Any],
    accounts: Mapping[str, Any],
    rules: Collection[str] | None = None,
) -> tuple[Case, ...]:
    """Every test of a file. Raises ConfigError with every Problem in it.

    `rules` are the ids that expectations may name; None: any, for whoever writes today's into them.
    """
    tree = read_tree(text_in(path, shown), shown)
    problems = list(tree.problems)
    reading = _Reading(
        tree=tree, folder=path.parent, sources=sources, accounts=accounts, rules=rules, problems=problems
    )
    cases = reading.cases() if not tree.problems else ()
    if reading.problems:
        raise ConfigError(reading.problems)
    return cases


@dataclass(slots=True, kw_only=True)
class _Reading:
    """One file while it is read."""

    tree: Tree
    folder: Path
    sources: Mapping[str, Any]
    accounts: Mapping[str, Any]
    rules: Collection[str] | None
    problems: list[Problem]

    def error(self, path: YamlPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem(place=self.tree.place(path), message=message, hint=hint))

    def cases(self) -> tuple[Case, ...]:
        if not isinstance(self.tree.value, list) or not self.tree.value:
            self.error((), "a file of tests is a list", "each test has a name and its steps")
            return ()
        return tuple(case for n, one in enumerate(self.tree.value) if (case := self._case(one, (n,))) is not None)

    def _case(self, one: Any, at: YamlPath) -> Case | None:
        if (
            not isinstance(one, Mapping)
            or not isinstance(one.get("name"), str)
            or not isinstance(one.get("steps"), list)
        ):
            self.error(at, "a test has a name and a list of steps", "- name: ...\n  steps: [...]")
            return None
        self._only(one, frozenset({"name", "steps"}), at)
        steps: list[Step] = []
        for number, step in enumerate(one["steps"]):
            steps += self._step(step, (*at, "steps", number), steps[-1].at if steps else timedelta(0))
        self._check_order(one["steps"], at)
        if not _asks_of_the_rules(one["steps"]):
            is_early = any(isinstance(step, Mapping) and "expect" in step for step in one["steps"])
            what = "expects something only before it sends anything" if is_early else "expects nothing"
            hint = "add a step such as {at: 1m, expect: {created: 1}}"
            self.error(at, f"the test {what}: it passes whatever the rules do", hint)
        return Case(name=one["name"], place=self.tree.place(at), steps=tuple(steps))

    def _check_order(self, steps: Sequence[Any], at: YamlPath) -> None:
        """Whether there is a last webhook wherever one is spoken of: of none, no rule matched."""
        for number, step in enumerate(steps):
            if not isinstance(step, Mapping):
                continue
            if "send" in step:
                return
            wanted = step.get("expect")
            if isinstance(wanted, Mapping) and _OF_LAST_WEBHOOK & wanted.keys():
                words = ", ".join(sorted(_OF_LAST_WEBHOOK & wanted.keys()))
                hint = "put it below the 'send' it is about"
                self.error((*at, "steps", number, "expect"), f"{words}: no webhook is sent before it", hint)

    def _step(self, step: Any, at: YamlPath, before: timedelta) -> list[Step]:
        if not isinstance(step, Mapping) or not step.keys() & {"send", "upstream", "expect"}:
            self.error(at, "a step sends, expects, or says how the upstream answers", "send, upstream or expect")
            return []
        self._only(step, _STEP_KEYS, at)
        when = self._when(step, at, before)
        made = [
            read(step, at)
            for word, read in (("upstream", self._answer), ("send", self._send), ("expect", self._expect))
            if word in step
        ]
        return [Step(at=when, place=self.tree.place(at), what=one) for one in made if one is not None]

    def _when(self, step: Mapping[str, Any], at: YamlPath, before: timedelta) -> timedelta:
        if "at" not in step:
            return before
        try:
            when = duration(str(step["at"]))
        except ValueError as error:
            self.error((*at, "at"), str(error))
            return before
        if when < before:
            self.error((*at, "at"), f"it comes before the step above it ({before.total_seconds():g} s)")
        return when

    def _send(self, step: Mapping[str, Any], at: YamlPath) -> Send | None:
        source, name = step.get("to"), step["send"]
        if source is None:
            hint = f"add 'to:' with a source: {', '.join(sorted(self.sources))}"
            self.error(at, f"nothing says to which source '{name}' is sent", hint)
            return None
        if not isinstance(source, str) or source not in self.sources:
            self.error((*at, "to"), f"there is no source '{source}'", nearest(str(source), self.sources, "sources"))
            return None
        path = self.folder / str(name)
        try:
            body = path.read_bytes()
            own = {str(name).lower(): str(value) for name, value in (step.get("headers") or {}).items()}
            return Send(source=source, headers={**headers_of(path), **own}, body=body)
        except (OSError, ValueError, AttributeError) as error:
            why = (error.strerror or "unreadable") if isinstance(error, OSError) else error
            self.error((*at, "send"), f"'{name}' cannot be read: {why}", "a file, relative to this one")
            return None

    def _answer(self, step: Mapping[str, Any], at: YamlPath) -> Answer | None:
        told, at = step["upstream"], (*at, "upstream")
        if not isinstance(told, Mapping):
            self.error(at, "an upstream's answer is a mapping", f"it has: {', '.join(sorted(_UPSTREAM_KEYS))}")
            return None
        self._only(told, _UPSTREAM_KEYS, at)
        self._account(told, at, required=True)
        headers = told.get("headers") or {}
        if not isinstance(headers, Mapping):
            self.error((*at, "headers"), "headers are a mapping", "{retry-after: '20'}")
            return None
        status = told.get("status")
        if status is not None and (not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599):
            self.error((*at, "status"), "a status is 200 to 599")
            return None
        self._flags(told, ("lost", "crash"), at)
        if status is None and not told.get("lost") and not told.get("crash"):
            self.error(at, "the upstream answers as ever: nothing is said of its answer", "give status, lost or crash")
            return None
        return Answer(
            account=str(told.get("account")),
            status=status,
            headers={str(name): str(value) for name, value in headers.items()},
            body=told.get("body"),
            lost=bool(told.get("lost", False)),
            crash=bool(told.get("crash", False)),
        )

    def _expect(self, step: Mapping[str, Any], at: YamlPath) -> Expect | None:
        wanted, at = step["expect"], (*at, "expect")
        if not isinstance(wanted, Mapping) or not wanted:
            self.error(at, "an expectation is a mapping", f"it has: {', '.join(sorted(_EXPECT_KEYS))}")
            return None
        self._only(wanted, _EXPECT_KEYS, at)
        self._account(wanted, at, required=False)
        if wanted.keys() == {"account"}:
            message = f"the expectation is of account '{wanted['account']}' and expects nothing"
            self.error(at, message, "add what, such as created: 1")
        for name in (name for name in _COUNTS if name in wanted):
            if type(wanted[name]) is not int or wanted[name] < 0:
                self.error((*at, name), f"'{name}' is a number of incidents, found {found(wanted[name])}")
        self._rule(wanted.get("matched"), (*at, "matched"))
        if "because" in wanted:
            self._because(wanted["because"], (*at, "because"))
        if "request" in wanted:
            self._request(wanted["request"], (*at, "request"))
        return Expect(wanted=wanted)

    def _because(self, wanted: Any, at: YamlPath) -> None:
        if not isinstance(wanted, Mapping):
            self.error(at, f"'because' is a mapping, found {found(wanted)}", "{rule: …, condition: …}")
            return
        self._only(wanted, _BECAUSE_KEYS, at)
        if not wanted:
            self.error(at, "'because' is empty: any condition of any rule would do", "{rule: …, condition: …}")
        self._rule(wanted.get("rule"), (*at, "rule"))

    def _account(self, told: Mapping[str, Any], at: YamlPath, *, required: bool) -> None:
        name = told.get("account")
        if (required or name is not None) and name not in tuple(self.accounts):  # a list has no hash
            self.error((*at, "account"), f"there is no account '{name}'", nearest(str(name), self.accounts, "accounts"))

    def _rule(self, name: Any, at: YamlPath) -> None:
        if isinstance(name, list | Mapping):
            self.error(at, f"the id of a rule is a text, found {found(name)}", "one expectation names one rule")
        elif name is not None and self.rules is not None and name not in list(self.rules):
            hint = nearest(str(name), self.rules, "rules")
            self.error(at, f"there is no rule {found(name)}", hint)

    def _request(self, wanted: Any, at: YamlPath) -> None:
        """What a create says. A field that no incident has would be absent whatever the rules do."""
        if not isinstance(wanted, Mapping):
            self.error(at, f"'request' is a mapping, found {found(wanted)}", "{incident: {title: …}}")
            return
        self._only(wanted, frozenset({"incident"}), at)
        incident = wanted.get("incident")
        if isinstance(incident, Mapping) and not is_matcher(incident):
            for name in (name for name in incident if name not in _FIELDS):
                hint = nearest(str(name), _FIELDS, "fields")
                place = self.tree.key_place((*at, "incident", name))
                self.problems.append(Problem(place=place, message=f"no incident has a field '{name}'", hint=hint))
        self._patterns(wanted, at)

    def _flags(self, told: Mapping[str, Any], names: Sequence[str], at: YamlPath) -> None:
        for name in names:
            if not isinstance(told.get(name, False), bool):
                self.error((*at, name), f"'{name}' is true or false, found {found(told[name])}")

    def _patterns(self, wanted: Any, at: YamlPath) -> None:
        match wanted:
            case {"regex": str(pattern)} if len(wanted) == 1:
                try:
                    compiled(pattern)
                except BadCondition as error:
                    self.error((*at, "regex"), str(error), error.hint)
            case {"one_of": values} if len(wanted) == 1 and not isinstance(values, list):
                self.error((*at, "one_of"), f"'one_of' is a list, found {found(values)}", "{one_of: [a, b]}")
            case {"absent": _} if len(wanted) == 1:
                self._flags(wanted, ("absent",), at)
            case Mapping():
                for name, one in wanted.items():
                    self._patterns(one, (*at, name))
            case list():
                for number, one in enumerate(wanted):
                    self._patterns(one, (*at, number))

    def _only(self, found: Mapping[str, Any], known: frozenset[str], at: YamlPath) -> None:
        for odd in found.keys() - known:
            place = self.tree.key_place((*at, odd))
            hint = nearest(str(odd), sorted(known), "keys")
            self.problems.append(Problem(place=place, message=f"unknown key '{odd}'", hint=hint))


def _asks_of_the_rules(steps: Sequence[Any]) -> bool:
    """Whether anything is expected once a webhook was sent; before that no rule had anything to do."""
    told = [step for step in steps if isinstance(step, Mapping)]
    first = next((number for number, step in enumerate(told) if "send" in step), len(told))
    return any("expect" in step for step in told[first:])
