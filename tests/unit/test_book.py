"""The rule book: which rules match, in which order, what the trace shows, and that an index loses nothing."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Severity, Status
from bridge.domain.decision import Check, Match, Mode
from bridge.domain.errors import Place
from bridge.rules.book import TRIED_MAX, Constant, Lookup, Rule, RuleBook, table_keys
from bridge.rules.conditions import Equals, NotEquals, Regex
from bridge.rules.match import AllOf, Condition, On
from bridge.rules.paths import MISSING, parse

PLACE = Place(file="rules/a.yaml")


def alert(labels: dict[str, str] | None = None, **changes: Any) -> Alert:
    given_fields = {
        "source": "lab",
        "source_type": "generic",
        "fingerprint": "fp-1",
        "status": Status.FIRING,
        "title": "Disk full",
        "payload": {"tags": ["a", "b"], "n": 1},
        "labels": MappingProxyType(labels or {}),
    }
    return Alert(**(given_fields | changes))


def equals(path: str, wanted: Any) -> Condition:
    return On(name=path, path=parse(path), operator=Equals.read(wanted))


def rule(rule_id: str, *conditions: Condition, continues: bool = False, without_match: bool = False) -> Rule:
    return Rule(
        id=rule_id,
        place=PLACE,
        account="pd",
        conditions=None if without_match else conditions,
        incident={},
        continues=continues,
    )


def book(*rules: Rule, unmatched: str | None = None) -> RuleBook:
    return RuleBook.of(rules, unmatched=unmatched, content="{}")


def matched(rules: RuleBook, one: Alert) -> list[str]:
    return [match.rule for match in rules.match(one) if match.matched]


def test_the_first_rule_that_matches_decides() -> None:
    rules = book(rule("a", equals("source", "x")), rule("b"), rule("c"))
    assert rules.match(alert()) == (
        Match(rule="a", failed=Check(condition="source", wanted="x", actual="lab", held=False)),
        Match(rule="b"),
    )


def test_a_rule_that_continues_lets_later_ones_match_too() -> None:
    rules = book(rule("a", continues=True), rule("b", equals("source", "x"), continues=True), rule("c"), rule("d"))
    assert matched(rules, alert()) == ["a", "c"]


def test_unmatched_names_the_rule_that_decides_when_none_matches() -> None:
    rules = book(rule("a", equals("source", "x")), rule("last", without_match=True), unmatched="last")
    assert [(match.rule, match.matched) for match in rules.match(alert())] == [("a", False), ("last", True)]


def test_unmatched_stays_out_when_a_rule_matches() -> None:
    rules = book(rule("last", without_match=True), rule("a", continues=True), unmatched="last")
    assert matched(rules, alert()) == ["a"]


def test_a_rule_in_the_shadow_that_continues_keeps_no_alert_from_the_unmatched_rule() -> None:
    trial = replace(rule("trial", continues=True), mode=Mode.SHADOW)
    assert matched(book(trial, rule("last", without_match=True), unmatched="last"), alert()) == ["trial", "last"]
    assert matched(book(trial, rule("a", continues=True), unmatched="trial"), alert()) == ["trial", "a"]


def test_an_unmatched_rule_in_the_shadow_that_matches_by_itself_decides_once() -> None:
    rules = book(replace(rule("trial", continues=True), mode=Mode.SHADOW), unmatched="trial")
    assert matched(rules, alert()) == ["trial"]


def test_without_an_unmatched_rule_an_alert_may_match_nothing() -> None:
    assert matched(book(rule("a", equals("source", "x"))), alert()) == []


def many(count: int) -> list[Rule]:
    return [rule(f"r{i}", equals("source", "lab"), equals("labels.service", f"svc-{i}")) for i in range(count)]


def test_a_small_book_shows_every_rule_it_tried() -> None:
    rules = book(*many(TRIED_MAX))
    assert len(rules.match(alert({"service": "nobody"}))) == TRIED_MAX


def test_a_large_book_tries_only_what_the_index_lets_through() -> None:
    rules = book(*many(5000))
    assert rules.match(alert({"service": "svc-4321"})) == (Match(rule="r4321"),)
    assert rules.match(alert({"service": "nobody"})) == ()


def test_a_large_book_names_no_more_than_a_bounded_number_of_rules() -> None:
    odd = On(name="title.regex", path=parse("title"), operator=Regex.read("^nothing"))
    rules = book(*(rule(f"r{i}", odd) for i in range(500)), rule("last"))
    tried = rules.match(alert())
    assert len(tried) == TRIED_MAX + 1
    assert tried[-1] == Match(rule="last")


def test_an_indexed_rule_keeps_its_place_before_later_ones() -> None:
    rules = book(*many(100), rule("any"), rule("svc", equals("labels.service", "svc-x")))
    assert matched(rules, alert({"service": "svc-x"})) == ["any"]
    assert matched(rules, alert({"service": "svc-7"})) == ["r7"]


VALUES = st.sampled_from(["a", "b", "c"])


@st.composite
def rules_of_all_kinds(draw: st.DrawFn) -> list[Rule]:
    made = []
    for number in range(draw(st.integers(TRIED_MAX + 1, TRIED_MAX + 12))):
        conditions: list[Condition] = []
        for path in draw(st.lists(st.sampled_from(["labels.x", "labels.y", "payload.tags", "payload.n"]), max_size=3)):
            wanted = draw(VALUES | st.lists(VALUES, min_size=1, max_size=2) | st.sampled_from([1, True, "1"]))
            kind = draw(st.sampled_from([Equals, NotEquals]))
            one: Condition = On(name=path, path=parse(path), operator=kind.read(wanted))
            conditions.append(AllOf(name="all", wanted=[], groups=((one,),)) if draw(st.booleans()) else one)
        made.append(rule(f"r{number}", *conditions, continues=True))
    return made


@given(
    made=rules_of_all_kinds(), x=VALUES, y=VALUES, tags=st.lists(VALUES, max_size=3), n=st.sampled_from([1, "1", True])
)
def test_the_index_finds_exactly_the_rules_that_match(
    made: list[Rule], x: str, y: str, tags: list[str], n: Any
) -> None:
    one = alert({"x": x, "y": y}, payload={"tags": tags, "n": n})
    indexed = matched(book(*made), one)
    assert indexed == [name for r in made for name in matched(book(r), one)]


def test_books_of_the_same_content_have_the_same_hash() -> None:
    first, second = RuleBook.of([], unmatched=None, content="{}"), RuleBook.of([], unmatched=None, content="{} ")
    assert first.hash == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert first.hash != second.hash


def lookup(path: str, table: dict[str, str], otherwise: str | None = None) -> Lookup:
    leaves = {key: Constant(constant=value) for key, value in table.items()}
    return Lookup(path=parse(path), table=leaves, otherwise=None if otherwise is None else Constant(constant=otherwise))


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (lookup("severity", {"critical": "P1"}, "P3"), "P1"),
        (lookup("labels.nobody", {"critical": "P1"}, "P3"), "P3"),
        (lookup("labels.nobody", {"critical": "P1"}), MISSING),
        (lookup("payload.n", {"1": "one"}), "one"),
        (lookup("payload.tags", {"b": "B", "a": "A"}), "B"),
        (lookup("payload", {"b": "B"}, "else"), "else"),
    ],
)
def test_a_map_gives_the_entry_for_what_its_path_reads(made: Lookup, value: Any) -> None:
    assert made.value(alert(severity=Severity.CRITICAL)) == value


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (True, ["true"]), (1, ["1"]), (1.5, ["1.5"]), (1.0, ["1.0", "1"]), (-0.0, ["-0.0", "0"]),
        (1e3, ["1000.0", "1000"]), ("x", ["x"]), ("1.0", ["1.0"]), (None, []), ([], []),
    ],
)  # fmt: skip
def test_a_scalar_is_the_keys_that_yaml_writes(value: Any, keys: list[str]) -> None:
    assert list(table_keys(value)) == keys
