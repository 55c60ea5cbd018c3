"""Templates: what they give, what is refused when they are loaded, and that no template or payload runs away."""

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Link, Severity, Status
from bridge.domain.errors import ConfigError, Place
from bridge.render import FILTERS, OUTPUT_MAX_CHARS, TESTS, Renderer, RenderError, nearest

PLACE = Place(file="rules/a.yaml", line=3, column=7)
TEMPLATES = Path(__file__).parent.parent.parent / "templates"
PAYLOAD = {
    "a": [{"b": 1, "items": "data"}],
    "n": None,
    "yes": True,
    "items": 5,
    "0": "zero",
    "tags": ["web", "db"],
    "html": "<b>hot</b> <!-- no --> disk",
    "evil": "{{ 7 * 7 }}{% for i in range(9) %}x{% endfor %}",
}


def alert(**changes: Any) -> Alert:
    given_fields = {
        "source": "lab",
        "source_type": "generic",
        "fingerprint": "fp-1",
        "status": Status.FIRING,
        "title": "Disk full on pg-1",
        "payload": PAYLOAD,
        "labels": MappingProxyType({"team": "db", "tier": "3"}),
        "links": (Link(text="graph", href="https://example.com/g"),),
        "starts_at": datetime(2026, 8, 1, 10, 0, tzinfo=UTC),
    }
    return Alert(**(given_fields | changes))


def text(source: str, one: Alert | None = None) -> str:
    return Renderer({}).compile_text(source, PLACE).value(one or alert())


def refusal(source: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        Renderer({}).compile_text(source, PLACE)
    return [f"{problem.message} | {problem.hint}" for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("plain", "plain"),
        ("{{ alert.title }}", "Disk full on pg-1"),
        ("[{{ alert.severity | upper }}]", "[ERROR]"),
        ("{{ alert.status }} {{ alert['source'] }}", "firing lab"),
        ("{{ alert.severity != none and alert.severity not in ('', none) }}", "true"),
        ("{{ '' == alert.status or alert.status is eq(none) }}", "false"),
        ("{{ payload.a.0.b }}{{ payload['a'][0]['b'] }}{{ alert.payload.a[-1].b }}", "111"),
        ("{{ payload.items }} {{ payload.a.0.items }} {{ payload.0 }}", "5 data zero"),
        ("{{ payload.a.0.get('c', 'none') }}", "none"),
        ("{{ payload.values | default('none') }} {{ payload.values.b.c | d('-') }}", "none -"),
        ("{{ payload.tags.1 }} {{ payload.tags.2 | default('none') }} {{ payload.tags[-3] | d('-') }}", "db none -"),
        ("{{ payload.keys is defined }} {{ alert.labels.get is undefined }}", "false true"),
        ("{{ payload.html.title | default('none') }} {{ payload.html.count[0] is defined }}", "none false"),
        ("{{ payload.a.0.keys() }} {{ payload.tags.0.upper() }}", '["b", "items"] WEB'),
        ("{{ payload.n }}|{{ alert.episode }}|{{ payload.yes }}", "||true"),
        ("{{ payload.x.y.z | default('-') }}{{ payload.n | d('null') }}", "-null"),
        ("{{ alert.description | default('none', true) }}", "none"),
        ("{% if payload.x.y is defined %}a{% else %}b{% endif %}", "b"),
        ("{{ alert.starts_at }}", "2026-08-01T10:00:00Z"),
        ("{{ payload.a }}", '[{"b": 1, "items": "data"}]'),
        ("{{ alert.labels | tojson }}", '{"team": "db", "tier": "3"}'),
        ("{{ {'q': '<&>\"'} | tojson }}", '{"q": "<&>\\""}'),
        ("{% for k, v in alert.labels.items() %}{{ k }}={{ v }};{% endfor %}", "team=db;tier=3;"),
        ("{% for l in alert.links %}{{ loop.index }}. {{ l.text }}: {{ l.href }}{% endfor %}", "1. graph: https://example.com/g"),
        ("{% for x in payload.n %}x{% else %}none{% endfor %}", "none"),
        ("{{ 'a' ~ 1 ~ payload.n ~ true }}", "a1true"),
        ("{{ 10 // 3 }} {{ 10 % 3 }} {{ 2 * 3 }} {{ 'ab' * 2 }} {{ 'a' + 'b' }}", "3 1 6 abab ab"),
        ("{{ '%s of %d' % ('a', 2) }} {{ '%05.1f' | format(2.55) }}", "a of 2 002.5"),
        ("{{ alert.title | truncate(8) }}|{{ alert.title | truncate(8, true, '…') }}", "Disk...|Disk fu…"),
        ("{{ alert.title | regex_search('pg-([0-9])', 1) }}", "1"),
        ("{{ alert.title | regex_replace('[aeiou]') }}", "Dsk fll n pg-1"),
        ("{{ payload.html | striptags }}", "hot disk"),
        ("{{ payload.tags | map('upper') | join('/') }} {{ payload.tags | sort | first }}", "WEB/DB db"),
        ("{{ payload.a | selectattr('b', 'eq', 1) | map(attribute='items') | list }}", '["data"]'),
        ("{{ alert.title.split(' ')[1] }} {{ alert.title.startswith('Disk') }}", "full true"),
        ("{{ 'x' | int }} {{ '3' | int + 1 }} {{ 2.345 | round(2) }} {{ [1, 2] | sum }}", "0 4 2.35 3"),
        ("{{ 'a b&c' | urlencode }} {{ ' x ' | trim }} {{ 'a\nb' | indent(2) }}", "a%20b%26c x a\n  b"),
        ("{% set ns = namespace(n=0) %}{% for t in [1, 2] %}{% set ns.n = ns.n + t %}{% endfor %}{{ ns.n }}", "3"),
        ("{% macro b(x) %}<{{ x }}>{% endmacro %}{{ b(1) }}{{ b('y') }}", "<1><y>"),
        ("{{ range(3) | list }}", "[0, 1, 2]"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    ],
)  # fmt: skip
def test_a_template_writes(source: str, written: str) -> None:
    assert text(source) == written


@pytest.mark.parametrize(
    ("called", "written"),
    [
        ("'a bC'.lower()", "a bc"),
        ("'a bC'.upper()", "A BC"),
        ("'a bC'.title()", "A Bc"),
        ("'a bC'.capitalize()", "A bc"),
        ("' a '.strip()", "a"),
        ("' a '.lstrip()", "a "),
        ("' a '.rstrip()", " a"),
        ("'pg-1'.startswith('pg')", "true"),
        ("'pg-1'.endswith('-1')", "true"),
        ("'pg-1'.removeprefix('pg')", "-1"),
        ("'pg-1'.removesuffix('1')", "pg-"),
        ("'a-b-c'.find('b')", "2"),
        ("'a-b-c'.count('-')", "2"),
        ("'12'.isdigit()", "true"),
        ("'a-b-c'.partition('-')", '["a", "-", "b-c"]'),
        ("'a-b-c'.rpartition('-')", '["a-b", "-", "c"]'),
        ("'a-b-c'.split('-')", '["a", "b", "c"]'),
        ("alert.labels.items()", '[["team", "db"], ["tier", "3"]]'),
        ("alert.labels.keys()", '["team", "tier"]'),
        ("alert.labels.values()", '["db", "3"]'),
        ("alert.labels.get('team')", "db"),
    ],
)
def test_every_method_that_the_readme_names_can_be_called(called: str, written: str) -> None:
    assert text(f"{{{{ {called} }}}}") == written
    name = called.partition("(")[0].rpartition(".")[2]
    assert f"`{name}" in (TEMPLATES / "README.md").read_text()


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("index", "1 2 "),
        ("index0", "0 1 "),
        ("revindex", "2 1 "),
        ("revindex0", "1 0 "),
        ("first", "true false "),
        ("last", "false true "),
        ("length", "2 2 "),
        ("depth", "1 1 "),
        ("previtem", "- web "),
        ("nextitem", "db - "),
        ("cycle('a', 'b')", "a b "),
    ],
)
def test_a_loop_says_where_it_is(field: str, written: str) -> None:
    assert text(f"{{% for t in payload.tags %}}{{{{ loop.{field} | d('-') }}}} {{% endfor %}}") == written


def test_payload_text_is_never_read_as_a_template() -> None:
    assert text("{{ payload.evil }}") == PAYLOAD["evil"]
    assert text("{% set x %}{{ payload.evil }}{% endset %}{{ x }}") == PAYLOAD["evil"]


@given(value=st.text())
def test_any_payload_text_comes_out_as_it_went_in(value: str) -> None:
    assert text("<{{ payload.v }}>", alert(payload={"v": value})) == f"<{value}>"


def test_a_file_includes_imports_and_extends_others_of_the_same_folder() -> None:
    files = {
        "outer.j2": "{% set x = 1 %}{% include 'inner.j2' %}",
        "inner.j2": "{{ x }} of {{ alert.source }}",
        "macros.j2": "{% macro twice(n) %}{{ n * 2 }}{% endmacro %}",
        "base.j2": "[{% block b %}old{% endblock %}]",
    }
    renderer = Renderer(files)
    assert renderer.problems == ()

    def written(source: str) -> str:
        return renderer.compile_text(source, PLACE).value(alert())

    assert renderer.template("outer.j2", PLACE).value(alert()) == "1 of lab"
    assert written("{% from 'macros.j2' import twice %}{{ twice(2) }}") == "4"
    assert written("{% import 'macros.j2' as m %}{{ m.twice(3) }}") == "6"
    assert written("{% import 'base.j2' as whole %}{{ whole }}") == "[old]"
    assert written("{% extends 'base.j2' %}{% block b %}new and {{ super() }}{% endblock %}") == "[new and old]"


@pytest.mark.parametrize(
    ("source", "clause"),
    [
        ("{{ payload.x }}", "there is no 'x' in this alert"),
        ("{{ payload.a.7.b }}", "a list or text has too few items"),
        ("{% if payload.x %}a{% endif %}", "there is no 'x' in this alert"),
        ("{{ payload.x | upper }}", "there is no 'x' in this alert"),
        ("{{ payload.x ~ 'a' }}", "there is no 'x' in this alert"),
        ("{{ 1 / 0 }}", "it divides by zero"),
        ("{{ 'a' < 1 }}", "'<' not supported between instances of 'str' and 'int'"),
        ("{{ payload.tags() }}", "it calls something that is no function"),
        ("{{ payload.x() }}", "there is no 'x' in this alert"),
        ("{{ payload.values }}", "there is no 'values' in this alert; the method is called values()"),
        ("{{ payload.values.first() }}", "there is no 'values' in this alert; the method is called values()"),
        ("{{ payload.values[0]() }}", "there is no 'values' in this alert; the method is called values()"),
        ("{% if payload.html.title %}a{% endif %}", "there is no 'title' in this alert; the method is called title()"),
        ("{% for i in [1] %}{{ loop }}{% endfor %}", "it gives something that is no data"),
    ],
)
def test_a_template_that_fails_says_why_without_payload_text(source: str, clause: str) -> None:
    with pytest.raises(RenderError) as failed:
        text(source)
    assert str(failed.value) == clause


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{% set x = alert.title %}{{ x.format }}",
        "{% set x = alert.title %}{{ x.format_map({}) }}",
        "{{ payload.__class__.__mro__ }}",
        "{{ payload['__class__'] }}",
        "{{ payload.pop('a') }}",
        "{{ payload.tags.append(1) }}",
        "{{ payload | map(attribute='__class__') | list }}",
        "{{ namespace.__init__ }}",
        "{{ range.__class__ }}",
        "{{ alert.links.0.__class__ }}",
        "{% macro f() %}{% endmacro %}{{ f._func }}{{ f.name }}",
        "{{ alert.title.upper.function }}",
        "{% set x = alert.labels %}{{ x.items.owner }}",
    ],
)
def test_nothing_of_python_is_reachable(source: str) -> None:
    with pytest.raises(RenderError):
        text(source)


@pytest.mark.parametrize(
    ("source", "sentences"),
    [
        ("{{ alert.sevrity }}", ["alert has no field 'sevrity' | did you mean 'severity'?"]),
        ("{{ alert['titel'] }}", ["alert has no field 'titel' | did you mean 'title'?"]),
        ("{{ alert.title.text }}", ["'alert.title' holds one value, and it has no 'text' |"]),
        ("{{ alert.severity.name | default('') }}", ["'alert.severity' holds one value, and it has no 'name' |"]),
        ("{{ alert.labels.service.tier }}", ["a label holds one text, and it has no 'tier' | write alert.labels['ser"]),
        ("{{ alert.title.replace('a', 'b') }}", ["'alert.title' holds one value, and it has no 'replace' | write al"]),
        ("{{ alert.labels.env.length }}", ["a label holds one text, and it has no 'length' | write alert.labels.env"]),
        ("{{ alert.severity == 'crit' }}", ["alert.severity is never 'crit' | did you mean 'critical'?"]),
        ("{{ 'Firing' != alert.status }}", ["alert.status is never 'Firing' | did you mean 'firing'?"]),
        ("{% if alert.severity in ['error', 'fatal'] %}{% endif %}", ["alert.severity is never 'fatal' |"]),
        ("{{ alert.severity is eq 'crit' }}", ["alert.severity is never 'crit' |"]),
        ("{{ alert.severity >= 'error' }}", ["alert.severity is a word, and words have no order but their letters' |"]),
        ("{{ payload.level < alert.severity }}", ["alert.severity is a word, and words have no order but their"]),
        ("{{ alert.labels.tier >= 2 }}", ["a text is neither more nor less than a number | write alert.labels.tier"]),
        ("{{ 2 < alert.title }}", ["a text is neither more nor less than a number | write alert.title | int"]),
        ("{{ alert['title'].text }}", ["'alert.title' holds one value, and it has no 'text' |"]),
        ("{{ alert.labels['a-b'].c }}", ["a label holds one text, and it has no 'c' | write alert.labels['a-b.c']"]),
        ("{{ alert['severity'] == 'crit' }}", ["alert.severity is never 'crit' |"]),
        ("{{ alert.severity is in ['fatal'] }}", ["alert.severity is never 'fatal' |"]),
        ("{{ alert.severity is ge 'error' }}", ["alert.severity is a word, and words have no order but their"]),
        ("{{ alert.labels['a-b'] > 2 }}", ["a text is neither more nor less than a number | write alert.labels['a-b'"]),
        ("{{ 0 < alert.labels.n < payload.n }}", ["a text is neither more nor less than a number | write alert.l"]),
        ("{{ alert.labels.n > -5 }}", ["a text is neither more nor less than a number | write alert.labels.n | int"]),
        ("{{ title }}", ["templates know no 'title' | did you mean 'alert.title'?"]),
        ("{{ lipsum() }}", ["templates know no 'lipsum' | they see: alert, payload"]),
        ("{{ 2 ** 9 }}", ["templates have no '**' |"]),
        ("{{ 1 | uper }}", ["there is no template filter 'uper' | did you mean 'upper'?"]),
        ("{{ 1 is od }}", ["there is no template test 'od' | did you mean 'odd'?"]),
        ("{{ [1] | map('uper') | list }}", ["there is no template filter 'uper' |"]),
        ("{{ [1] | map(payload.f) | list }}", ["'map' takes the name of a filter in quotes |"]),
        ("{{ [1] | map('_pay') | list }}", ["there is no template filter '_pay' |"]),
        ("{{ 'a' | replace('a') }}", ["the template filter 'replace' cannot be used so: missing a required"]),
        ("{{ 'a' | upper(1) }}", ["the template filter 'upper' cannot be used so: too many positional arguments"]),
        ("{{ 'a' | trim(' ', 1) }}", ["the template filter 'trim' cannot be used so: too many positional arguments"]),
        ("{{ 'a' | join(by=' ') }}", ["the template filter 'join' cannot be used so: got an unexpected"]),
        ("{{ [1] | map('replace', 'a') | list }}", ["the template filter 'replace' cannot be used so: missing a"]),
        ("{{ 1 is divisibleby }}", ["the template test 'divisibleby' cannot be used so: missing a required"]),
        ("{{ [1] | selectattr('a', 'gt') | list }}", ["the template test 'gt' cannot be used so: missing a required"]),
        ("{{ 1 | _pay(-9) }}", ["there is no template filter '_pay' |"]),
        ("{{ 'a' | regex_search(payload.p) }}", ["'regex_search' takes a pattern in quotes |"]),
        ("{{ 'a' | regex_search('(?=a)') }}", ["regex '(?=a)': it cannot be used; patterns are RE2"]),
        (r"{{ 'a' | regex_search('\bdb') }}", ["'regex_search' looks for the character U+0008, a backspace"]),
        (r"{{ 'a' | regex_replace('\bdb', '') }}", ["'regex_replace' looks for the character U+0008, a backspace"]),
        (r"{{ 'a' | regex_replace('(a)', '\1') }}", ["'regex_replace' writes its text as it stands, "]),
        (r"{{ 'a' | regex_replace('(a)', '\\1') }}", ["'regex_replace' writes its text as it stands, "]),
        ("{{ f(*payload.a) }}", ["templates have no '*' and '**' in calls |", "templates know no 'f' |"]),
        ("{% set alert = 1 %}", ["'alert' cannot be given another value |"]),
        ("{% call f() %}{% endcall %}", ["templates have no 'call' |", "templates know no 'f' |"]),
        ("{% for i in [] recursive %}{% endfor %}", ["templates have no recursive loops |"]),
        ("{% autoescape true %}{% endautoescape %}", ["templates have no 'autoescape' |"]),
        ("{% macro m() %}{{ varargs }}{% endmacro %}", ["templates have no 'varargs' |"]),
        ("{% include 'no.j2' %}", ["template 'no.j2' does not exist |"]),
        ("{% include payload.file %}", ["the file of a template is one name in quotes |"]),
        ("{{ alert.title", ["template: unexpected end of template, expected 'end of print statement'."]),
        ("{% frobnicate %}", ["template: Encountered unknown tag 'frobnicate'."]),
        ("{{ " + "(" * 500 + "1" + ")" * 500 + " }}", ["template: it is nested too deep or holds too long a number |"]),
        ("{{ 1" + " + 1" * 500 + " }}", ["template: it is nested too deep or holds too long a number |"]),
        ("{{ " + "9" * 5000 + " }}", ["template: it is nested too deep or holds too long a number |"]),
        ("{% if 0 %}" + "{% elif 0 %}" * 1_001 + "{% endif %}", ["template: it is nested too deep or holds too long"]),
        ("{{ 1 }}" + "x" * 70_000, ["a template may have 65536 characters, this one has 70007 |"]),
    ],
)  # fmt: skip
def test_a_wrong_template_is_refused_when_it_is_loaded(source: str, sentences: list[str]) -> None:
    found = refusal(source)
    assert len(found) == len(sentences)
    for sentence in sentences:
        assert any(one.startswith(sentence) for one in found), found


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("{{ alert.title && 1 }}", "'and' is written as the word"),
        ("{{ alert.title || 1 }}", "'or' is written as the word"),
        ("{{ !alert.title }}", "'not' is written as the word"),
        ("{{ alert.title ? 1 : 2 }}", "a choice is written: a if condition else b"),
        ("{{ $labels.x }}", "there are no variables but alert, payload"),
        ("{{ .Labels.alertname }}", "fields stand behind alert or payload"),
        ("{% if alert.title = 'x' %}{% endif %}", "equality is ==; between"),
        ("{% if alert.title is 'x' %}{% endif %}", "equality is ==; after 'is'"),
        ("{% if 1 %}{% elseif 2 %}{% endif %}", "a further condition is {% elif"),
        ("{% if 1 %}{% else if 2 %}{% endif %}", "a further condition is {% elif"),
        ("{% foreach x in payload.a %}", "a loop is {% for one in"),
        ("{% if 1 %}x{% end %}", "blocks end in {% endif %}"),
        ("{{ alert.title", "see templates/README.md"),
    ],
)
def test_what_another_language_writes_is_told_as_jinja_has_it(source: str, hint: str) -> None:
    (told,) = refusal(source)
    assert told.split(" | ", 1)[1].startswith(hint)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{{ payload.x }}", "template: an expression stands without braces\n    write payload.x"),
        ("a = b", "template: the expression ends before its text does\n    equality is ==; between"),
    ],
)
def test_an_expression_in_braces_is_told_so(source: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Renderer({}).compile_expression(source, PLACE)
    assert str(refused.value.problems[0]).split(": ", 1)[1].startswith(told)


@pytest.mark.parametrize(
    "source",
    [
        *(
            "{{ alert.title.upper() }}{{ alert.labels.team.upper() }}",
            "{{ alert.links.0.href }}{{ alert.payload.a.b }}",
        ),
        *("{{ alert.severity in ('error', 'critical') }}", "{{ alert.severity | upper == 'CRITICAL' }}"),
        *("{{ alert.labels.tier | int >= 2 }}", "{{ alert.labels.tier >= '2' }}", "{{ payload.n > 2 }}"),
        *("{{ alert.title == 'crit' }}", "{{ alert.severity == payload.severity }}", "{{ 'crit' in alert.severity }}"),
        *("{{ alert.severity in 'critical, error' }}", "{{ alert.severity is in 'critical, error' }}"),
    ],
)
def test_what_a_value_of_the_alert_has_is_read(source: str) -> None:
    Renderer({}).compile_text(source, PLACE)


def test_every_problem_of_a_template_is_reported_at_once() -> None:
    assert len(refusal("{{ alert.x }}{{ 1 | y }}{{ z }}")) == 3


def test_problems_of_a_file_stand_at_their_line() -> None:
    files = {"a.j2": "one\n{{ alert.sevrity }}\n\n{{ 1 | uper }}", "b.j2": "{% if %}"}
    problems = Renderer(files, folder="templates").problems
    assert [(str(problem.place), problem.message) for problem in problems] == [
        ("templates/b.j2:1:1", "template: Expected an expression, got 'end of statement block'"),
        ("templates/a.j2:2:1", "alert has no field 'sevrity'"),
        ("templates/a.j2:4:1", "there is no template filter 'uper'"),
    ]


@pytest.mark.parametrize(
    ("files", "sentences"),
    [
        (
            {"a.j2": "x\n{% include 'b.j2' %}", "b.j2": "{% include 'a.j2' %}", "c.j2": "{% include 'a.j2' %}"},
            ["templates/a.j2:2: template 'a.j2' uses itself: a.j2 -> b.j2 -> a.j2"],
        ),
        ({"a.j2": "{% extends 'a.j2' %}"}, ["templates/a.j2:1: template 'a.j2' uses itself: a.j2 -> a.j2"]),
        (
            {"a.j2": "{% from 'b.j2' import m %}", "b.j2": "{% import 'c.j2' as c %}", "c.j2": "{% extends 'a.j2' %}"},
            ["templates/a.j2:1: template 'a.j2' uses itself: a.j2 -> b.j2 -> c.j2 -> a.j2"],
        ),
        ({"a.j2": "{% include 'b.j2' %}{% include 'b.j2' %}", "b.j2": "{% include 'c.j2' %}", "c.j2": ""}, []),
    ],
)
def test_files_that_need_themselves_are_refused_when_they_are_loaded(
    files: dict[str, str], sentences: list[str]
) -> None:
    assert [f"{one.place.file}:{one.place.line}: {one.message}" for one in Renderer(files).problems] == sentences


def test_a_file_may_use_itself_under_a_condition() -> None:
    inner = "{% with node = child %}({% include 'tree.j2' %}){% endwith %}"
    tree = "{{ node.name }}{% for child in node.of %}" + inner + "{% endfor %}"
    renderer = Renderer({"tree.j2": tree, "start.j2": "{% set node = payload %}{% include 'tree.j2' %}"})
    assert renderer.problems == ()
    payload = {"name": "a", "of": [{"name": "b", "of": [{"name": "c", "of": []}]}, {"name": "d", "of": []}]}
    assert renderer.template("start.j2", PLACE).value(alert(payload=payload)) == "a(b(c))(d)"


GROWS = "{% set ns = namespace(a=START) %}{% for i in range(64) %}{% set ns.a = STEP %}{% endfor %}"


def grows(start: str, step: str, then: str) -> str:
    return GROWS.replace("START", start).replace("STEP", step) + then


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{{ 1000000000 * 'a' }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%(a)1000000000d' % {'a': 1} }}",
        "{{ '%(a(b)c)99999999999999s' % {'a(b)c': 1} }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%.999999999f' | format(1.0) }}",
        "{{ 'a' | indent(1000000000) }}",
        "{{ 1 | round(-1000000000) }}",
        "{{ range(1000000000) | list }}",
        "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}",
        grows("'x'", "ns.a ~ ns.a", "{{ ns.a }}"),
        grows("'x'", "ns.a + ns.a", "{{ ns.a }}"),
        grows("'x'", "ns.a | replace('x', 'xx')", "{{ ns.a }}"),
        grows("'x'", "[ns.a, ns.a] | join", "{{ ns.a }}"),
        grows("'x'", "'%s%s' % (ns.a, ns.a)", "{{ ns.a }}"),
        grows("[1]", "[ns.a, ns.a]", "{{ ns.a }}"),
        grows("[1]", "[ns.a, ns.a]", "{{ ns.a == [1] }}"),
        grows("[1]", "[ns.a, ns.a]", "{{ ns.a | tojson }}"),
        grows("(1,)", "(ns.a, ns.a)", "{{ {ns.a: 1} }}"),
        grows("(1,)", "(ns.a, ns.a)", "{{ [ns.a] | unique | list }}"),
        grows("(1,)", "(ns.a, ns.a)", "{{ payload.get(ns.a) }}"),
        grows("(1,)", "(ns.a, ns.a)", "{{ payload[ns.a] }}"),
        grows("9", "ns.a * ns.a", "{{ ns.a }}"),
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% set a = 'x' * 1000 %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40 + "{{ a }}",
        "{% set x %}{% for i in range(9999) %}" + "y" * 60_000 + "{% endfor %}{% endset %}",
        "{% include 'self.j2' %}",
    ],
)
def test_a_template_that_would_grow_without_end_fails_at_once(source: str) -> None:
    leaf = Renderer({"self.j2": "{% include 'self.j2' %}"}).compile_text(source, PLACE)
    began = time.thread_time()
    with pytest.raises(RenderError):
        leaf.value(alert())
    assert time.thread_time() - began < 2


@pytest.mark.parametrize(
    "source",
    [
        "{% for t in payload.tags %}{% if t in payload.big %}x{% endif %}{% endfor %}",
        "{% for t in payload.tags %}{{ payload.big | upper | length }}{% endfor %}",
        "{{ payload.tags | map('replace', 't', payload.big) | join }}",
        "{{ payload.tags | select('in', payload.tags) | list }}",
        "{% for t in payload.tags %}{% for u in payload.tags %}{{ t == u }}{% endfor %}{% endfor %}",
        "{{ payload.big | regex_replace('x', 'yy') }}",
        "{{ payload.lt | striptags }}",
        "{{ payload.big | replace('', payload.big) }}",
        "{% for t in payload.tags %}{% set x = payload.tags | list %}{% endfor %}",
        "{% for t in payload.tags %}{% set x = payload.tags[:] %}{% endfor %}",
        "{{ payload.tags | sort | join(payload.big) }}",
    ],
)
def test_a_hostile_payload_makes_no_template_run_long(source: str) -> None:
    payload = {"big": "x" * 2_000_000, "lt": "<" * 2_000_000, "tags": [f"t{i}" for i in range(100_000)]}
    leaf = Renderer({}).compile_text(source, PLACE)
    began = time.thread_time()
    with contextlib.suppress(RenderError):  # either is fine, as long as it is soon
        leaf.value(alert(payload=payload))
    assert time.thread_time() - began < 2


LONG = ("payload.v + payload.v", "payload.v ~ payload.v", "payload.v * 2", "payload.v.upper()", "payload.v[1:]")


@pytest.mark.parametrize("source", ["payload.v", "[payload.v]", *LONG])
def test_a_long_text_is_written(source: str) -> None:
    assert len(text(f"{{{{ {source} }}}}", alert(payload={"v": "x" * 90_000}))) == OUTPUT_MAX_CHARS


@pytest.mark.parametrize(
    "source",
    ["{{ [payload.v] * 40 }}", *(f"{{% for i in range(40) %}}{{% set x = {one} %}}{{% endfor %}}" for one in LONG)],
)
def test_a_long_text_costs_its_length_each_time(source: str) -> None:
    with pytest.raises(RenderError, match="it does too much for one alert"):
        text(source, alert(payload={"v": "x" * 90_000}))


def test_constants_are_not_evaluated_while_a_template_is_compiled() -> None:
    began = time.thread_time()
    Renderer({}).compile_text("{{ ('a' * 99999 * 99999) | upper | length }}", PLACE)
    assert time.thread_time() - began < 1


def test_long_output_is_cut_with_an_ellipsis() -> None:
    written = text("{{ payload.v }}", alert(payload={"v": "x" * 100_000}))
    assert len(written) == OUTPUT_MAX_CHARS
    assert written.endswith("x…")


def test_one_render_does_not_pay_for_another() -> None:
    leaf = Renderer({}).compile_text("{% for i in range(5000) %}{{ i }}{% endfor %}", PLACE)
    assert len({leaf.value(alert()) for _ in range(20)}) == 1


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("payload.a", [{"b": 1, "items": "data"}]),
        ("alert.labels.tier | int >= 2", True),
        ("alert.labels", {"team": "db", "tier": "3"}),
        ("payload.tags | map('upper')", ["WEB", "DB"]),
        ("payload.n", None),
        ("alert.starts_at", "2026-08-01T10:00:00Z"),
        ("1.5", 1.5),
    ],
)
def test_an_expression_gives_json(source: str, value: Any) -> None:
    assert Renderer({}).compile_expression(source, PLACE).value(alert()) == value


def test_an_expression_pays_for_the_length_of_what_it_gives() -> None:
    with pytest.raises(RenderError, match="it does too much for one alert"):
        Renderer({}).compile_expression("[payload.v] * 40", PLACE).value(alert(payload={"v": "x" * 90_000}))


def test_a_whole_alert_is_given_as_json() -> None:
    assert Renderer({}).compile_expression("alert", PLACE).value(alert(payload={"a": 1})) == {
        "source": "lab",
        "source_type": "generic",
        "fingerprint": "fp-1",
        "status": "firing",
        "title": "Disk full on pg-1",
        "payload": {"a": 1},
        "episode": None,
        "reported_at": None,
        "severity": "error",
        "description": "",
        "labels": {"team": "db", "tier": "3"},
        "links": [{"text": "graph", "href": "https://example.com/g"}],
        "starts_at": "2026-08-01T10:00:00Z",
        "ends_at": None,
    }


@pytest.mark.parametrize("source", ["1 %}{{ 2", "alert.sevrity", "1 +", "a b", "", "2 ** 3"])
def test_a_wrong_expression_is_refused(source: str) -> None:
    with pytest.raises(ConfigError):
        Renderer({}).compile_expression(source, PLACE)


def test_a_question_that_has_no_answer_says_why() -> None:
    renderer = Renderer({})
    assert renderer.compile_expression("alert.labels.tier | int > 2", PLACE).asks(alert()) is True
    assert renderer.compile_expression("alert.labels.tier | int > 3", PLACE).asks(alert()) is False
    unanswered = renderer.compile_expression("payload.x > 2", PLACE).asks(alert())
    assert unanswered == "cannot be answered: there is no 'x' in this alert"


def test_an_expression_gives_no_data_nested_beyond_measure() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    with pytest.raises(RenderError):
        Renderer({}).compile_expression("payload", PLACE).value(alert(payload=deep))


def test_a_template_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ConfigError) as refused:
        Renderer({"incident.j2": ""}).template("incidnt.j2", PLACE)
    assert str(refused.value) == (
        "rules/a.yaml:3:7: template 'incidnt.j2' does not exist\n"
        "    did you mean 'incident.j2'? templates: incident.j2"
    )  # fmt: skip


def test_the_alert_templates_see_counts_a_missing_severity_as_error() -> None:
    assert text("{{ alert.severity }}", alert(severity=None)) == "error"
    assert text("{{ alert.severity }}", alert(severity=Severity.INFO)) == "info"


PIECES = [
    *"{}%#|().'\"[]~*+- abcxyz019\n",
    "{{ ",
    " }}",
    "{% if ",
    "{% endif %}",
    "alert.",
    "payload.",
    "title",
    "tags",
]


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_text_at_all_is_a_template_or_refused_with_a_sentence(pieces: list[str]) -> None:
    with contextlib.suppress(ConfigError):
        leaf = Renderer({}).compile_text("".join(pieces), PLACE)
        with contextlib.suppress(RenderError):
            leaf.value(alert())


def test_a_near_word_is_offered_before_the_list() -> None:
    assert nearest("urgencyy", ["urgency", "title"], "fields") == "did you mean 'urgency'? fields: title, urgency"
    assert nearest("URGENCY", ["urgency", "title"], "fields") == "did you mean 'urgency'? fields: title, urgency"
    assert nearest("tags", ["status", "title"], "fields") == "fields: status, title"
    assert nearest("zzz", ["urgency", "title"], "fields") == "fields: title, urgency"


def test_the_readme_of_templates_names_every_filter_test_and_template_field() -> None:
    readme = (TEMPLATES / "README.md").read_text(encoding="utf-8")
    for name in FILTERS:
        assert f"`{name}`" in readme or f"`{name}(" in readme, name
    for name in TESTS:
        assert f"`{name}`" in readme, name
    for name in ("source", "payload", "starts_at"):
        assert f"`{name}`" in readme, name


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("a <!-- b --> c", "a c"),
        ("a <!-- b", "a <!-- b"),
        ("a <!-- b > c", "a c"),
        ("<!--x--><!--y", "<!--y"),
        ("1 < 2 and 3 > 2", "1 2"),
        ("a <b", "a <b"),
        ("<p>x</p><!---->y", "x y"),
    ],
)
def test_tags_and_comments_are_stripped(html: str, said: str) -> None:
    assert text("{{ payload.html | striptags }}", alert(payload={"html": html})) == said


RUNS_AWAY = {
    "comments that never close": "{{ payload.html | striptags | length }}",
    "a pattern that looks far": "{{ payload.html | regex_replace('<[^#]*#|<', '') | length }}",
    "a pattern whose automaton is too large": "{{ payload.ab | regex_search('([ab].{0,30}){20}d') }}",
    "one that finds nothing": "{{ payload.ab | regex_replace('([ab].{0,30}){20}d') | length }}",
    "a small one of many states": "{{ payload.random | regex_replace('x(.*a[ab]{12}c)?', '') }}",
    "characters at one end": "{{ payload.ab.strip(payload.last) | length }}",
    "characters of a template's own": "{% set x = 'a' * 300000 %}{{ x | trim('b' * 300000 ~ 'a') | length }}",
    "a text looked for from the end": "{% set x = 'a' * 300000 %}{{ x.rpartition('ab' ~ 'a' * 150000) | length }}",
    "an attribute of many parts": "{{ range(300) | map(attribute='" + "a." * 30_000 + "a') | list | length }}",
}


@pytest.mark.parametrize("what", RUNS_AWAY)
def test_nothing_a_template_does_takes_long(what: str) -> None:
    random = Random(1)
    payload = {
        "html": "<!--a>" * 100_000,
        "ab": "ab" * 150_000,
        "last": "c" * 300_000 + "ab",
        "random": "".join(random.choices("ab" * 99 + "x", k=400_000)),
    }
    before = time.process_time()
    with contextlib.suppress(RenderError, ConfigError):
        text(RUNS_AWAY[what], alert(payload=payload))
    assert time.process_time() - before < 2.0


@pytest.mark.parametrize(
    ("pattern", "word", "times"),
    [
        (r"\\s+", "  ", 200),
        (r"https?://\\S+", "https://example.com/a ", 200),
        (r"[\\w.+-]+@[\\w.-]+\\.\\w{2,}", "ada@example.com ", 200),
        (r"\\d{1,3}(\\.\\d{1,3}){3}", "10.20.30.40 ", 200),
        (r"[^\\pL ]+", "Größe? ", 30),
    ],
)
def test_ordinary_patterns_are_found_many_times_in_ordinary_texts(pattern: str, word: str, times: int) -> None:
    long = alert(payload={"text": (word + "and some words that say more of it ") * times})
    assert text(f"{{{{ payload.text | regex_replace('{pattern}', '#') }}}}", long).count("#") >= times
    assert text(f"{{{{ payload.text | regex_search('{pattern}') }}}}", long) in word


def test_a_number_of_thousands_of_digits_is_refused_when_it_is_loaded() -> None:
    with pytest.raises(ConfigError, match="a number is too large"):
        text("{{ '%d' % " + "9" * 700 + " }}")
