"""What `check` warns of in the texts of a rule: patterns, operators, quotes and paths that are read as they stand."""

import time
from pathlib import Path

import pytest

from bridge.domain.errors import Grade
from tests.unit.test_rulebook import load, written

RULE = """
rules:
  - id: one
    account: pagerduty-prod
    match:
      {match}
    incident:
      title: {title}
      service: Catch-all
unmatched: record
"""


def warned(root: Path, *, match: str = "source: lab", title: str = "x") -> list[str]:
    written(root, a=RULE.format(match=match, title=title))
    _, problems = load(root)
    assert all(problem.grade is Grade.WARNING for problem in problems)
    return [f"{one.place.line}:{one.place.column} {one.message} | {one.hint}" for one in problems]


@pytest.mark.parametrize(
    ("match", "sentence"),
    [
        (
            "title: 'pg*'",
            "6:14 'title' compares with the text 'pg*' as it stands | a pattern is written {glob: 'pg*'}, or",
        ),
        (
            "title: /^pg/",
            "6:14 'title' compares with the text '/^pg/' as it stands | a pattern is written {regex: '^pg'}",
        ),
        ("labels.a: '!db'", "6:17 'labels.a' compares with the text '!db' as it stands | write {ne: db}"),
        ("labels.a: '> 2'", "6:17 'labels.a' compares with the text '> 2' as it stands | write {gt: 2}"),
        ("labels.a: =~ pg", "6:17 'labels.a' compares with the text '=~ pg' as it stands | write {regex: pg}"),
        ("labels.a: b|c", "6:17 'labels.a' compares with the text 'b|c' as it stands | a list means any of: [b, c]"),
        ("labels.a: \u201cdb\u201d", "6:17 'labels.a' compares with \u201cdb\u201d, and to YAML these quotes are part"),
        ("labels.a: db\u00a0", "6:17 'labels.a' compares with 'db ', which holds U+00A0 | delete it"),
        ("labels.a\u200bb: db", "6:7 the path 'labels.a b' holds U+200B, which nobody sees | delete it"),
        ("labels.a: 'db '", "6:17 'labels.a' compares with 'db ', which begins or ends with white space | take it"),
        (
            "not: {labels.a: {in: [x, 'dev*']}}",
            "6:32 'labels.a' compares with the text 'dev*' as it stands | a pattern",
        ),
        (
            "labels.a: {ne: 'dev*'}",
            "6:22 'labels.a' compares with the text 'dev*' as it stands | a pattern is written"
            " not: {…: {glob: 'dev*'}}, or as a {regex: …}; if the text itself is meant: not: {…: {eq: …}}",
        ),
        (
            "labels.a: C$",
            "6:17 'labels.a' compares with the text 'C$' as it stands | a pattern is written {regex: 'C$'}; if the text"
            " itself is meant: {eq: …}",
        ),
        ("any: [{labels.a: ^dev}]", "6:24 'labels.a' compares with the text '^dev' as it stands | a pattern is"),
        ("labels.a: {glob: '(a|b)*'}", "6:24 'labels.a' has the glob '(a|b)*', which reads like a regex | a regex"),
        ("labels.a: {glob: 'web-{1,2}'}", "6:24 'labels.a' has the glob 'web-{1,2}', and {a,b} is text in it | give"),
    ],
)
def test_a_condition_that_hardly_means_its_text_is_warned_of_with_what_was_meant(
    tmp_path: Path, match: str, sentence: str
) -> None:
    (found,) = warned(tmp_path, match=match)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    "match",
    [
        *(
            "labels.scope: '*'",
            "labels.path: /api/v1/",
            "title: '*bold* text'",
            "title: '**bold**'",
            "title: 5 $ a day",
        ),
        *("title: {contains: '*'}", "title: {regex: '^(a|b).*$'}", "labels.a: {glob: 'db.*'}", "labels.a: a | b"),
        *("labels.a: {eq: '*.example.com'}", "labels.a: {eq: [C$, /api/*]}", "not: {labels.a: {eq: ^dev}}"),
        *("labels.a: {glob: 'D:\\data\\*'}", "title: {glob: '*{env:prod,team:db}*'}", "payload.operator: '>='"),
        *("title: {contains: \U0001f468\u200d\U0001f4bb}", "title: \u0645\u06cc\u200c\u062e", "title: '> 90% used'"),
        *("payload.query: avg:cpu{*} > 90", "title: <!here> up", "title: 'Disk \u201cvar\u201d is full'"),
    ],
)
def test_a_condition_that_may_mean_its_text_is_left_alone(tmp_path: Path, match: str) -> None:
    assert warned(tmp_path, match=match) == []


@pytest.mark.parametrize(
    "match",
    [
        *(f"labels.a: {{glob: '{begin}{'a,|' * 100_000}'}}" for begin in "({"),
        f"source: lab\n    when: not{' ' * 50_000}alert.title",
    ],
    ids=["choice", "braces", "not"],
)
def test_a_text_without_an_end_is_looked_at_in_no_time(tmp_path: Path, match: str) -> None:
    began = time.thread_time()
    assert warned(tmp_path, match=match) == []
    assert time.thread_time() - began < 2


@pytest.mark.parametrize(
    ("title", "sentence"),
    [
        ("alert.title", "8:14 'alert.title' is sent as it stands in 'title' | write \"{{ alert.title }}\""),
        ("'Down: {alert.title}'", "8:14 '{alert.title}' is sent as it stands in 'title' | write {{ alert.title }}"),
        ("'${alert.title}'", "8:14 '${alert.title}' is sent as it stands in 'title' | write {{ alert.title }}, "),
        ("$ALERT_TITLE", "8:14 '$ALERT_TITLE' is sent as it stands in 'title' | write {{ alert.title }}, "),
        ("{from: severity, map: {error: alert.title}, else: x}", "8:44 'alert.title' is sent as it stands in 'title'"),
    ],
)
def test_a_text_that_was_meant_as_a_template_is_warned_of(tmp_path: Path, title: str, sentence: str) -> None:
    (found,) = warned(tmp_path, title=title)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    "title", ["payload.a is odd", "'{{ {1: alert.title}[1] }}'", "{expr: alert.title}", "kubectl -n ${NS} get $POD"]
)
def test_a_text_that_says_what_it_means_is_left_alone(tmp_path: Path, title: str) -> None:
    assert warned(tmp_path, title=title) == []


@pytest.mark.parametrize(
    "when",
    [
        *("alert.labels.env != 'dev'", "alert.labels['env'] not in ['dev']", "not alert.labels.env == 'dev'"),
        *("alert.title and not (alert.labels.env == 'dev')", "not alert.labels[\"env\"] in ['dev', 'test']"),
    ],
)
def test_a_when_that_keeps_out_what_has_no_such_label_is_warned_of(tmp_path: Path, when: str) -> None:
    (found,) = warned(tmp_path, match=f"source: lab\n    when: >-\n      {when}")
    assert found.startswith(
        "7:11 an alert without 'labels.env' does not match: 'when' cannot be answered for it | write"
    )


@pytest.mark.parametrize(
    ("match", "when"),
    [
        ("source: lab", "alert.labels.env | default('') != 'dev'"),
        ("source: lab", "alert.labels.env is undefined or alert.labels.env != 'dev'"),
        ("source: lab", "alert.labels.env == 'dev'"),
        ("source: lab", "payload.env != 'dev'"),
        ("labels.env: {exists: true}", "alert.labels.env != 'dev'"),
        ("all: [{labels.env: {exists: true}}]", "alert.labels.env != 'dev'"),
        ("source: lab", "'env' not in alert.labels or alert.labels.env != 'dev'"),
    ],
)
def test_a_when_that_says_what_is_with_a_missing_label_is_left_alone(tmp_path: Path, match: str, when: str) -> None:
    assert warned(tmp_path, match=f"{match}\n    when: >-\n      {when}") == []
