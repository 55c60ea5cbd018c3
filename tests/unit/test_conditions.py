"""Conditions of rules: when each holds, and the Check that says why not."""

import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Severity, Status
from bridge.domain.decision import Check
from bridge.rules.conditions import CONDITIONS, Contains, Equals
from bridge.rules.match import AllOf, AnyOf, Condition, Not, On, Remembering, When, refusal
from bridge.rules.paths import MISSING, parse
from bridge.rules.patterns import PATTERN_SEES_CHARS
from bridge.rules.values import LIST_SEES_ITEMS, BadCondition, number_of, shown
from bridge.sources.body import json_in

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def alert(payload: Any = None, **changes: Any) -> Alert:
    given_fields = {
        "source": "lab",
        "source_type": "generic",
        "fingerprint": "fp-1",
        "status": Status.FIRING,
        "title": "pg-main is slow",
        "payload": payload,
        "labels": MappingProxyType({"team": "db", "env": "prod"}),
    }
    return Alert(**(given_fields | changes))


def holds(operator: str, wanted: Any, actual: Any) -> bool:
    return CONDITIONS[operator].read(wanted).holds(actual)


def on(path: str, wanted: Any, prefix: str = "") -> Condition:
    return On(name=prefix + path, path=parse(path), operator=Equals.read(wanted))


@pytest.mark.parametrize(
    ("operator", "wanted", "actual"),
    [
        ("eq", "a", "a"),
        ("eq", ["a", "b"], "b"),
        ("eq", 1, 1.0),
        ("eq", None, None),
        ("eq", True, True),
        ("eq", "a", ["x", "a"]),
        ("eq", ["a", "b"], ("b", "c")),
        ("ne", "a", "b"),
        ("ne", ["a", "b"], "c"),
        ("ne", 1, "1"),
        ("in", ["a", 2], 2),
        ("exists", True, ""),
        ("exists", True, 0),
        ("exists", False, None),
        ("contains", "gre", "postgres"),
        ("contains", ["x", "post"], "postgres"),
        ("contains", "a", ["b", "a"]),
        ("contains", 1, [1]),
        ("contains", "key", {"key": None}),
        ("contains", ["x", "key"], {"key": None}),
        ("regex", "^pg[-_]", "pg-main"),
        ("regex", "main", "pg-main"),
        ("regex", ["^a", "n$"], "pg-main"),
        ("regex", "^5..$", 503),
        ("regex", "^b", ["abc", "bcd"]),
        ("glob", "db-*", "db-1"),
        ("glob", "db-?", "db-1"),
        ("glob", "*[0-9]", "db-1"),
        ("glob", "[!a]b", "xb"),
        ("glob", "a[-/]b", "a/b"),
        ("glob", "a[!/]b", "axb"),
        ("glob", "https://[a-z/]*", "https://db/1"),
        ("glob", "a.c*", "a.c\nd"),
        ("eq", 98765432109876543210, "98765432109876543210"),
        ("in", [1, -98765432109876543210], "-98765432109876543210"),
        ("contains", 98765432109876543210, ["98765432109876543210"]),
        ("eq", 98765432109876543210, 98765432109876543210),
        ("gt", 30, 30.5),
        ("gt", 30, "31"),
        ("gte", "30", 30),
        ("lt", 30, " 29.9 "),
        ("lte", 30, "3e1"),
        ("gt", 5, [1, 9]),
    ],
)
def test_an_operator_holds(operator: str, wanted: Any, actual: Any) -> None:
    assert holds(operator, wanted, actual)


@pytest.mark.parametrize(
    ("operator", "wanted", "actual"),
    [
        ("eq", "1", 1),
        ("eq", 1, "1"),
        ("eq", 1, True),
        ("eq", True, 1),
        ("eq", 0, False),
        ("eq", "a", "A"),
        ("eq", "a", {"a": 1}),
        ("eq", None, 0),
        ("ne", "a", ["a", "b"]),
        ("in", ["a"], "b"),
        ("exists", False, ""),
        ("contains", "x", "postgres"),
        ("contains", "1", [1]),
        ("contains", "1", 1),
        ("regex", "^main", "pg-main"),
        ("regex", "(?i)true", True),
        ("regex", "a", {"a": 1}),
        ("glob", "db", "db-1"),
        ("glob", "a.c", "abc"),
        ("glob", "a[!/]b", "a/b"),
        ("eq", 9_223_372_036_854_775_807, "9223372036854775807"),  # 64 bits hold it: it is a number
        ("ne", 98765432109876543210, "98765432109876543210"),
        ("glob", "(a|b)", "a"),
        ("gt", 30, 30),
        ("gt", 30, "31 ms"),
        ("gt", 30, True),
        ("gt", 30, "0x40"),
        ("gte", 30, 29.9),
        ("lt", 30, 30),
        ("lte", 30, 30.1),
        ("lt", 30, ""),
        ("lt", 30, "inf"),
    ],
)
def test_an_operator_does_not_hold(operator: str, wanted: Any, actual: Any) -> None:
    assert not holds(operator, wanted, actual)


WANTED: dict[str, Any] = {
    **dict.fromkeys(["eq", "ne", "contains", "regex", "glob"], "a"),
    **dict.fromkeys(["gt", "gte", "lt", "lte"], 1),
    "in": ["a"],
    "exists": True,
}


@pytest.mark.parametrize("operator", sorted(CONDITIONS))
def test_a_missing_path_fails_every_operator_but_ne_and_exists_false(operator: str) -> None:
    assert holds(operator, WANTED[operator], MISSING) is (operator == "ne")


def test_exists_false_holds_for_a_missing_path() -> None:
    assert holds("exists", False, MISSING)


@pytest.mark.parametrize("operator", sorted(CONDITIONS))
@given(actual=json_values)
def test_an_operator_has_an_answer_for_any_json(operator: str, actual: Any) -> None:
    assert holds(operator, WANTED[operator], actual) in (True, False)


def test_an_integer_beyond_64_bits_matches_the_body_that_holds_it() -> None:
    payload = json_in(b'{"id": 98765432109876543210}')
    assert on("payload.id", 98765432109876543210).refused(alert(payload)) is None
    assert on("payload.id", 98765432109876543211).refused(alert(payload)) is not None
    assert on("payload.id", 10**4_000).refused(alert(payload)) is not None


@given(value=st.none() | st.booleans() | st.integers() | st.text())
def test_ne_is_the_opposite_of_eq(value: Any) -> None:
    for wanted in ("a", 1, True, None):
        assert holds("eq", wanted, value) is not holds("ne", wanted, value)


@pytest.mark.parametrize(
    ("operator", "wanted", "sentence"),
    [
        ("eq", [], "an empty list can never match"),
        ("eq", [["a"]], "a value to compare with is a text, a number, true, false or null, not a list"),
        ("in", "a", "'in' wants a list, found the text 'a'"),
        ("exists", "yes", "'exists' wants true or false, found the text 'yes'"),
        ("regex", 5, "'regex' wants a text, found the number 5"),
        ("regex", "a(", "regex 'a(' cannot be used: missing ): a("),
        ("regex", "(?=a)", "regex '(?=a)' cannot be used: invalid perl operator: (?="),
        ("regex", "\bdb", "'regex' looks for the character U+0008, a backspace; no text has it"),
        ("glob", ["db", "\b*"], "'glob' looks for the character U+0008, a backspace; no text has it"),
        ("gt", "many", "'gt' wants a number, found the text 'many'"),
        ("gt", True, "'gt' wants a number, found true"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_sentence(operator: str, wanted: Any, sentence: str) -> None:
    with pytest.raises(BadCondition) as refused:
        CONDITIONS[operator].read(wanted)
    assert str(refused.value) == sentence


def test_a_nasty_pattern_on_a_long_text_is_quick_because_matching_is_linear() -> None:
    assert not holds("regex", "^(a+)+$", "a" * 100_000 + "!")


@pytest.mark.parametrize(
    ("operator", "wanted"),
    [("eq", "x"), ("in", ["x"]), ("contains", "x"), ("regex", "x"), ("glob", "x*"), ("gt", 9)],
)
def test_of_a_list_the_first_elements_are_tried(operator: str, wanted: Any) -> None:
    match = 10 if operator == "gt" else "x"
    assert holds(operator, wanted, ["1"] * (LIST_SEES_ITEMS - 1) + [match])
    assert not holds(operator, wanted, ["1"] * LIST_SEES_ITEMS + [match])


def test_a_pattern_sees_as_much_of_the_texts_of_a_list_as_of_one_text() -> None:
    half = "a" * (PATTERN_SEES_CHARS // 2)
    assert holds("regex", "x", [half, half[1:], "x"])
    assert not holds("regex", "x", [half, half, "x"])
    assert not holds("regex", "^a$", [half, half[1:], "ab"])  # one that is not seen whole is not seen at all
    assert holds("regex", "^a", ["a" * (PATTERN_SEES_CHARS + 1)])


@pytest.mark.parametrize("operator", ["eq", "ne", "in", "contains", "regex", "glob", "gt"])
def test_a_list_of_millions_takes_no_time(operator: str) -> None:
    wanted: Any = {"in": ["x"], "gt": 9}.get(operator, "x")
    tags = ["1"] * 2_000_000
    began = time.thread_time()
    for _ in range(10):
        holds(operator, wanted, tags)
    assert time.thread_time() - began < 0.5


@dataclass(kw_only=True)
class Counting:
    """An operator that counts how often it is asked."""

    wanted: Any = None
    asked: int = 0

    @classmethod
    def read(cls, wanted: Any) -> "Counting":
        return cls(wanted=wanted)

    def holds(self, actual: Any) -> bool:
        self.asked += 1
        return actual is not MISSING


def test_of_a_long_value_that_many_alerts_share_a_condition_is_asked_once_per_webhook() -> None:
    counting = Counting()
    condition = On(name="payload", path=parse("payload"), operator=counting)
    for _ in range(2):  # webhooks
        shared = ["a"] * 1_000
        with Remembering():
            answers = [condition.refused(alert(shared)) for _ in range(5)]
            answers.append(condition.refused(alert(["a"] * 1_000)))  # equal, but another
        assert answers == [None] * 6
    assert counting.asked == 4


def test_what_one_condition_says_of_a_long_value_is_no_answer_to_another() -> None:
    words = "disk full on pg-main " * 20
    asked = [On(name=word, path=parse("payload"), operator=Contains.read(word)) for word in ("disk", "nfs", "pg-main")]
    with Remembering():
        for _ in range(2):
            assert [one.refused(alert(words)) is None for one in asked] == [True, False, True]


def test_the_check_names_the_condition_and_shows_both_sides() -> None:
    assert on("labels.env", ["dev"]).refused(alert()) == Check(
        condition="labels.env", wanted=["dev"], actual="prod", held=False
    )


def test_the_check_of_a_missing_path_shows_null() -> None:
    check = on("labels.tier", "1").refused(alert())
    assert check is not None
    assert check.actual is None


def test_not_with_one_condition_names_it() -> None:
    inner = on("labels.env", ["prod", "staging"], "not.")
    refused = Not(name="not", wanted={}, conditions=(inner,)).refused(alert())
    assert refused == Check(condition="not.labels.env", wanted=["prod", "staging"], actual="prod", held=False)


def test_not_of_several_holds_unless_all_of_them_do() -> None:
    both = (on("labels.env", "prod", "not."), on("labels.team", "db", "not."))
    one = (on("labels.env", "prod", "not."), on("labels.team", "web", "not."))
    assert Not(name="not", wanted={}, conditions=one).refused(alert()) is None
    refused = Not(name="not", wanted={"labels.env": "prod", "labels.team": "db"}, conditions=both).refused(alert())
    assert refused == Check(
        condition="not",
        wanted={"labels.env": "prod", "labels.team": "db"},
        actual={"not.labels.env": "prod", "not.labels.team": "db"},
        held=False,
    )


def test_not_holds_for_a_missing_path() -> None:
    assert Not(name="not", wanted={}, conditions=(on("labels.tier", "1"),)).refused(alert()) is None


def test_any_holds_when_one_alternative_does_and_names_the_last_otherwise() -> None:
    wrong = (on("labels.env", "dev", "any[0]."),)
    right = (on("labels.env", "prod", "any[1]."), on("labels.team", "db", "any[1]."))
    half = (on("labels.env", "prod", "any[1]."), on("labels.team", "web", "any[1]."))
    assert AnyOf(name="any", wanted=[], groups=(wrong, right)).refused(alert()) is None
    check = AnyOf(name="any", wanted=[], groups=(wrong, half)).refused(alert())
    assert check is not None
    assert check.condition == "any[1].labels.team"


def test_all_names_the_first_condition_that_says_no() -> None:
    groups = ((on("labels.env", "prod", "all[0]."),), (on("labels.team", "web", "all[1]."),))
    check = AllOf(name="all", wanted=[], groups=groups).refused(alert())
    assert check is not None
    assert check.condition == "all[1].labels.team"


def test_when_shows_why_it_could_not_be_answered() -> None:
    assert When(wanted="x", asks=lambda _alert: True).refused(alert()) is None
    check = When(wanted="x > 1", asks=lambda _alert: "cannot be answered: there is no 'x'").refused(alert())
    assert check == Check(condition="when", wanted="x > 1", actual="cannot be answered: there is no 'x'", held=False)


def test_exists_asks_what_the_sender_gave_and_equality_what_it_counts_as() -> None:
    given_none = On(name="severity.exists", path=parse("severity"), operator=CONDITIONS["exists"].read(False))
    assert given_none.refused(alert()) is None
    assert given_none.refused(alert(severity=Severity.ERROR)) is not None
    assert on("severity", ["critical", "error"]).refused(alert()) is None


def test_the_first_condition_that_says_no_is_the_one_reported() -> None:
    check = refusal((on("labels.env", "prod"), on("labels.team", "x"), on("source", "y")), alert())
    assert check is not None
    assert check.condition == "labels.team"


@given(value=json_values)
def test_what_a_trace_shows_is_bounded(value: Any) -> None:
    assert len(repr(shown(value))) < 60_000


def test_a_trace_cuts_long_texts_lists_and_mappings() -> None:
    assert shown("x" * 1000) == "x" * 199 + "…"
    assert shown(list(range(50))) == [*range(10), "(and 40 more)"]
    assert shown({str(i): i for i in range(50)}) == "(a mapping of 50)"
    assert shown([[[["deep"]]]]) == [[["(a list of 1)"]]]
    assert shown(10**5000) == "(an integer of over 300 digits)"


@given(number=st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_number_reads_as_that_number(number: float) -> None:
    assert number_of(str(number)) == number
