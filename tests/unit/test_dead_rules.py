"""Rules that can never match: what is called dead is dead, and the plain cases are found."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Severity, Status
from bridge.domain.errors import Grade
from bridge.rules.dead import dead_rules, lets_nothing_fire
from bridge.rules.match import refusal
from tests.unit.test_rulebook import load, written

RULES = """
defaults: {{account: pagerduty-prod}}
rules:
  - {{id: first, match: {first}, incident: {{title: x, service: y}}}}
  - {{id: second, match: {second}, incident: {{title: x, service: y}}}}
unmatched: record
"""


def said(root: Path, first: str, second: str) -> list[str]:
    _, problems = load(written(root, a=RULES.format(first=first, second=second)))
    return [problem.message for problem in problems if problem.grade is Grade.WARNING]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{}", "{source: lab}"),
        ("{source: lab}", "{source: lab}"),
        ("{source: lab}", "{source: lab, severity: critical}"),
        ("{severity: [critical, error]}", "{severity: critical, labels.team: db}"),
        ("{labels.team: {glob: 'db-*'}}", "{labels.team: [db-a, db-b]}"),
        ("{labels.team: {regex: '^db'}}", "{labels.team: db}"),
        ("{labels.team: {exists: true}}", "{labels.team: {contains: db}}"),
        ("{payload.n: {gt: 3}}", "{payload.n: {gt: 5}}"),
        ("{payload.n: {gte: 3}}", "{payload.n: 7}"),
        ("{payload.n: {gte: 3}}", "{payload.n: {gte: 3.0}}"),
        ("{payload.n: {contains: [1, a]}}", "{payload.n: {contains: [1.0, a]}}"),
        ("{payload.n: {regex: '^a'}}", "{payload.n: [a, ab]}"),
        ("{payload.n: {lte: 3}}", "{payload.n: {lt: 3}}"),
        ("{not: {labels.env: dev}}", "{labels.env: prod}"),
        ("{not: {labels.env: dev}}", "{not: {labels.env: [dev, staging]}}"),
        ("{labels.env: {ne: dev}}", "{labels.env: prod}"),
        ("{any: [{source: lab}, {labels.a: b}]}", "{labels.a: b, title: {regex: x}}"),
        ("{all: [{source: lab}, {labels.a: b}]}", "{labels.a: b, source: lab}"),
        ("{severity: [critical, error]}", "{any: [{severity: critical}, {severity: error, labels.a: b}]}"),
    ],
)
def test_a_rule_behind_one_that_takes_all_of_it_is_dead(tmp_path: Path, first: str, second: str) -> None:
    place = "rules/a.yaml:4:10"
    wanted = f"rule 'second' can never match: rule 'first' before it ({place}) takes every alert it would"
    assert said(tmp_path, first, second) == [wanted]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{source: lab, severity: critical}", "{source: lab}"),
        ("{severity: critical}", "{severity: [critical, error]}"),
        ("{payload.tags: {ne: a}}", "{payload.tags: b}"),  # a list may hold both
        ("{not: {payload.tags: a}}", "{payload.tags: b}"),
        ("{severity: {exists: true}}", "{severity: error}"),  # one that was not given reads error, and does not exist
        ("{payload.n: {gt: 5}}", "{payload.n: {gt: 3}}"),
        ("{source: lab}", "{payload.n: {gt: 5, lt: 3}}"),  # one element of a list, and another
        ("{source: lab}", "{labels.n: {gte: 5, lte: 5}}"),
        ("{labels.team: {regex: '^db$'}}", "{labels.team: [db, dba]}"),
        ("{any: [{source: lab}, {labels.a: b}]}", "{labels.a: c}"),
        ("{not: {source: lab, labels.a: b}}", "{source: lab}"),
        ("{payload.c: {contains: true}}", "{payload.c: {contains: 1}}"),
        ("{payload.c: {contains: [0]}}", "{payload.c: {contains: [false]}}"),
        ("{payload.c: {glob: '?'}}", "{payload.c: 1}"),  # 1.0 is equal to 1, and is no single character
        ("{payload.c: {regex: '^1$'}}", "{payload.c: [1, '1']}"),
    ],
)
def test_a_rule_that_can_match_is_not_called_dead(tmp_path: Path, first: str, second: str) -> None:
    assert said(tmp_path, first, second) == []


@pytest.mark.parametrize("setting", ["continue: true", "mode: shadow, continue: true"])
def test_a_rule_that_does_not_end_the_search_kills_none(tmp_path: Path, setting: str) -> None:
    text = RULES.format(first="{}", second="{}").replace("id: first,", f"id: first, {setting},")
    _, problems = load(written(tmp_path, a=text))
    assert problems == ()


@pytest.mark.parametrize(
    ("match", "named"),
    [
        ("{labels.env: dev, not: {labels.env: [dev, staging]}}", "'labels.env' and 'not'"),
        ("{labels.env: {in: [dev], ne: dev}}", "'labels.env.in' and 'labels.env.ne'"),
        ("{source: lab, all: [{source: zendesk}]}", "'source' and 'all[0].source'"),
        ("{labels.n: {gt: 5, lt: 3}}", "'labels.n.gt' and 'labels.n.lt'"),
        ("{labels.n: {gte: 5, lt: 5}}", "'labels.n.gte' and 'labels.n.lt'"),
    ],
)
def test_conditions_that_exclude_each_other_are_named(tmp_path: Path, match: str, named: str) -> None:
    wanted = f"rule 'second' can never match: its conditions {named} exclude each other"
    assert said(tmp_path, "{source: datadog}", match) == [wanted]


def test_a_catch_all_is_told_once_however_many_stand_behind_it(tmp_path: Path) -> None:
    rules = "".join(
        f"  - {{id: r{number}, match: {{labels.n: '{number}'}}, incident: {{title: x, service: y}}}}\n"
        for number in range(500)
    )
    text = RULES.format(first="{}", second="{source: lab}").replace("unmatched:", f"{rules}unmatched:")
    _, problems = load(written(tmp_path, a=text))
    assert [problem.message for problem in problems] == [
        "rule 'second' and 500 others after it can never match: rule 'first' before it (rules/a.yaml:4:10) takes every "
        "alert it would"
    ]


VALUES = st.sampled_from(["a", "b", "c"])
ON = st.tuples(
    st.sampled_from(["labels.x", "payload.x", "labels.y"]),
    st.one_of(
        VALUES,
        st.lists(VALUES, min_size=1, max_size=2),
        st.builds(
            lambda operator, value: {operator: value},
            st.sampled_from(["ne", "contains", "regex", "glob"]),
            st.sampled_from(["a", "b", "[ab]", "*"]).filter(lambda text: text != "*"),
        ),
        st.booleans().map(lambda wanted: {"exists": wanted}),
    ),
)
STATUSES = st.sampled_from(list(Status)).map(str)
ON_STATUS = st.tuples(
    st.just("status"),
    st.one_of(STATUSES, st.lists(STATUSES, min_size=1, max_size=2), STATUSES.map(lambda status: {"ne": status})),
)
BLOCK = st.lists(ON | ON_STATUS, max_size=3).map(dict)


@st.composite
def matches(draw: st.DrawFn) -> Mapping[str, Any]:
    block: dict[str, Any] = draw(BLOCK)
    if draw(st.booleans()):
        block["not"] = draw(BLOCK.filter(bool))
    if draw(st.booleans()):
        kind = draw(st.sampled_from(["any", "all"]))
        block[kind] = draw(st.lists(BLOCK.filter(bool), min_size=1, max_size=2))
    return block


ALERTS = st.builds(
    lambda x, y, held: Alert(
        source="lab",
        source_type="generic",
        fingerprint="f",
        status=Status.FIRING,
        severity=Severity.ERROR,
        title="t",
        labels=MappingProxyType({name: value for name, value in (("x", x), ("y", y)) if value is not None}),
        payload={} if held is None else {"x": held},
    ),
    st.none() | VALUES,
    st.none() | VALUES,
    st.none() | VALUES | st.lists(VALUES, max_size=3),
)


@given(first=matches(), second=matches(), alerts=st.lists(ALERTS, min_size=20, max_size=20))
def test_what_is_called_dead_never_decides_and_what_lets_nothing_fire_does_not(
    tmp_path_factory: pytest.TempPathFactory, first: Mapping[str, Any], second: Mapping[str, Any], alerts: list[Alert]
) -> None:
    book, _ = load(written(tmp_path_factory.mktemp("r"), a=RULES.format(first=dict(first), second=dict(second))))
    dead = {one.rule.id: one.by for one in dead_rules(book.rules)}
    for alert in alerts:
        for rule in book.rules:
            if rule.id in dead and refusal(rule.conditions or (), alert) is None:
                killer = dead[rule.id]
                assert killer is not None
                assert refusal(killer.conditions or (), alert) is None
            if lets_nothing_fire(rule) is not None:
                assert refusal(rule.conditions or (), alert) is not None


def test_a_shadow_that_ends_the_search_is_said_and_kills_nothing(tmp_path: Path) -> None:
    text = RULES.format(first="{}", second="{}").replace("id: first,", "id: first, mode: shadow,")
    _, problems = load(written(tmp_path, a=text))
    assert [(problem.message, problem.grade) for problem in problems] == [
        ("rule 'first' is in the shadow and ends the search: the alerts it matches page nobody", Grade.WARNING)
    ]


@pytest.mark.parametrize(
    ("match", "condition"),
    [
        ("{status: resolved}", "status"),
        ("{status: [acknowledged, resolved], source: lab}", "status"),
        ("{source: lab, all: [{status: {ne: firing}}]}", "all[0].status.ne"),
        ("{not: {status: firing}}", "not"),
        ("{status: [firing, resolved]}", None),
        ("{not: {status: resolved}}", None),
        ("{any: [{status: resolved}, {source: lab}]}", None),
    ],
)
def test_a_rule_that_lets_no_firing_alert_through_opens_nothing(
    tmp_path: Path, match: str, condition: str | None
) -> None:
    wanted = [
        f"rule 'first' opens nothing: only an alert that fires does, and its condition '{condition}' lets none through"
    ]
    assert said(tmp_path, match, "{}")[:1] == (wanted if condition else [])


def test_what_nobody_matches_is_not_left_to_a_shadow(tmp_path: Path) -> None:
    text = RULES.format(first="{source: lab}", second="{source: zendesk}")
    text = text.replace("match: {source: zendesk}", "mode: shadow").replace("record", "second")
    _, problems = load(written(tmp_path, a=text))
    assert [(problem.message, problem.grade) for problem in problems] == [
        ("rule 'second' decides where no other does and is in the shadow: those alerts page nobody", Grade.WARNING)
    ]
