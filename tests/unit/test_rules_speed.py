"""A large rule book costs an alert little more than a small one (the figures: `python -m bench.rules`)."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rules import alert
from bridge.domain.alert import Alert
from bridge.domain.errors import ConfigError, Place
from bridge.render import Renderer, RenderError
from bridge.rules.book import Rule, RuleBook
from bridge.rules.conditions import Equals, Regex
from bridge.rules.match import Condition, Not, On
from bridge.rules.paths import parse

PLACE = Place(file="rules/a.yaml")
CALLS = 200


def on(path: str, operator: type[Equals] | type[Regex], wanted: object) -> Condition:
    return On(name=path, path=parse(path), operator=operator.read(wanted))


def book(rules: int) -> RuleBook:
    dev = Not(name="not", wanted={}, conditions=(on("labels.env", Equals, ["dev", "staging"]),))
    common = (on("source", Equals, "datadog"), on("severity", Equals, ["critical", "error"]))
    made = (
        Rule(
            id=f"rule-{number}",
            place=PLACE,
            account="pd",
            incident={},
            conditions=(
                *common,
                on("labels.team", Equals, f"team-{number}"),
                on("title", Regex, "^pg-[0-9]+_"),
                dev,
            ),
        )
        for number in range(rules)
    )
    return RuleBook.of(made, unmatched=None, content="{}")


def took_s(rules: RuleBook, one: Alert) -> float:
    """Seconds on a processor: what else runs on this machine takes none of them."""
    began = time.thread_time()
    for _ in range(CALLS):
        rules.match(one)
    return time.thread_time() - began


@pytest.mark.parametrize("wanted", ["the last rule", "no rule"])
def test_ten_thousand_rules_decide_within_twice_the_time_of_ten(wanted: str) -> None:
    small, large = book(10), book(10_000)
    of_small, of_large = (alert(9), alert(9_999)) if wanted == "the last rule" else (alert(-1), alert(-1))
    tried = [rules.match(of) for rules, of in ((small, of_small), (large, of_large))]
    assert [any(one.matched for one in some) for some in tried] == [wanted == "the last rule"] * 2
    assert len(tried[1]) <= len(tried[0])  # rules that were asked
    rounds = [(took_s(small, of_small), took_s(large, of_large)) for _ in range(9)]
    assert min(took for _, took in rounds) <= 2 * min(took for took, _ in rounds)


PIECES = st.sampled_from(
    [
        *("{{ ", " }}", "{{", "}}", "{%", "%}", "{#", "{", "}", " ", "|", ".", "'", "(", ")", "x", "\n", "-"),
        *("alert", "payload", ".title", ".sevrity", ".labels", ".a", " | upper", "|trim", "|nope", "_b", "0"),
        *("{{ alert.title }}", "{{alert.labels.a|default('x')}}", "{{ payload.a | d('', true) }}", "|truncate(9)"),
        *("|default('}}')", '|default("a")', "|default('a\\')", "{{ alert.title | upper | lower }}"),
    ]
)


@given(pieces=st.lists(PIECES, max_size=8))
def test_a_template_known_to_be_sound_at_sight_is_what_its_parser_says(pieces: list[str]) -> None:
    source = "".join(pieces)
    assert outcome(Renderer({}), source) == outcome(Renderer({}, sees=["alert", "payload"]), source)


def outcome(renderer: Renderer, source: str) -> object:
    try:
        text = renderer.compile_text(source, PLACE)
    except ConfigError as error:
        return error.problems
    try:
        return text.value(alert(1))
    except RenderError as error:
        return str(error)
