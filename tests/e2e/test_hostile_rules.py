"""Hostile rule files: each is refused when it is loaded, or costs next to nothing when it runs; three ways alike.

`check`, `test` and the receiver are given the same files. No file may crash one of them, take it longer than LOAD_S to
load or RUN_S to decide one webhook, or bring out more than a page's worth of text.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from bridge import wiring
from bridge.domain.errors import ConfigError
from tests.e2e.processes import write_configuration
from tests.e2e.test_commands import FINE, PROBLEMS, run
from tests.receiving import Desk

pytestmark = pytest.mark.e2e

LOAD_S = 8.0  # of processor time; a file of 4 MiB full of conditions takes half of it
RUN_S = 2.0
TEXT_MAX_CHARS = 65_536
SOURCES = {"lab": {"type": "generic", "auth": "none"}}
BODY = {"title": "x" * 5_000, "fingerprint": "f", "severity": "critical", "n": 5, "deep": {"a": [1, 2, "y" * 100_000]}}


def rule(match: str = "{source: lab}", *, title: str = "x", more: str = "") -> str:
    """A rule file of one rule."""
    incident = f"{{title: {json.dumps(title)}, service: S{more}}}"
    return f"rules:\n  - id: hostile\n    account: pd\n    match: {match}\n    incident: {incident}\n"


def titled(template: str) -> str:
    return rule(title=template)


def many(count: int, entry: str) -> str:
    return "defaults: {account: pd}\nrules:\n" + "".join(f"- {entry % {'n': number}}\n" for number in range(count))


GROWS = "{%% set ns = namespace(a=%s) %%}{%% for i in range(99) %%}{%% set ns.a = %s %%}{%% endfor %%}{{ ns.a }}"
DOUBLED = "&a [x, x, x, x, x, x, x, x, x]\n"

REFUSED: Mapping[str, str] = {
    # YAML
    "billion laughs": f"a: {DOUBLED}"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in ("ab", "bc", "cd", "de"))
    + "rules: [*e]\n",
    "an alias of itself": "rules: &r [*r]\n",
    "lists in lists": "rules: " + "[" * 100_000,
    "mappings in mappings": "rules: " + "{a: " * 60 + "1" + "}" * 60,
    "a scalar of 10 MB": titled("x" * 10_000_000),
    "a template of 3 MB": titled("{{ alert.title }}" + "x" * 3_000_000),
    "a key of 2 MB": rule("{labels." + "k" * 2_000_000 + ": x}"),
    "an id of 3 MB": rule().replace("id: hostile", "id: " + "k" * 3_000_000),
    "a tag that builds objects": "rules: !!python/object/apply:os.system ['true']\n",
    "a file of nothing but zeros": "\0" * 100_000,
    "100,000 rules": many(100_000, "{id: r%(n)d}"),
    "25,000 sound rules": many(25_000, "{id: r%(n)d, match: {}, incident: {title: x, service: S}}"),
    # regexes and globs
    "repeats of repeats": rule("{title: {regex: '(((x{1000}){1000}){1000}){1000}'}}"),
    "a pattern of 1 MB": rule(f"{{title: {{regex: '{'a|' * 500_000}'}}}}"),
    "classes that multiply": rule("{title: {regex: '" + r"\pL{100}" * 20 + "'}}"),
    "a glob of 50,000 stars": rule(f"{{title: {{glob: '{'*a' * 50_000}'}}}}"),
    "a back-reference": rule(r"{title: {regex: '(a+)+\1'}}"),
    "repeats of repeats in a template": titled("{{ alert.title | regex_search('(x{1000}){1000}') }}"),
    # templates
    "a power tower": titled("{{ 9**9**9 }}"),
    "a filter that nobody allowed": titled("{{ 'x' | center(999999999) }}"),
    "another one": titled("{{ alert | attr('__class__') }}"),
    "a walk from the alert": titled("{{ alert.__class__.__mro__[1].__subclasses__() }}"),
    "the same by index": titled("{{ alert['__class__'] }}"),
    "a name of the engine's": titled("{{ self.__init__.__globals__ }}"),
    "a number beyond floats": titled("{{ 1e999 }}"),
    "a number of 5,000 digits": titled(f"{{{{ {'9' * 5_000} }}}}"),
    "brackets in brackets": titled(f"{{{{ {'(' * 300}1{')' * 300} }}}}"),
    "filters after filters": titled("{{ alert.title" + " | upper" * 5_000 + " }}"),
    "fields of fields": titled("{{ payload" + ".a" * 5_000 + " }}"),
    "conditions in conditions": titled("{% if 1 %}" * 90 + "{% endif %}" * 90),
    "loops in loops in loops": titled("{% for i in [1] %}" * 40 + "{% endfor %}" * 40),
    "a row of elif": titled("{% if 0 %}" + "{% elif 0 %}" * 3_000 + "{% endif %}"),
    "a generator of text": titled("{{ lipsum(9999) }}"),
}
BOUNDED: Mapping[str, str] = {
    # YAML and conditions
    "a text of 3 MB": titled("x" * 3_000_000),
    "a number of 300 digits": rule(f"{{payload.n: {'9' * 300}}}"),
    "a number of 5,000 digits to compare with": rule(f"{{payload.n: {'9' * 5_000}}}"),
    "a bound of 399 digits": rule(f"{{payload.n: {{lt: {'9' * 399}}}}}"),
    "a bound beyond floats": rule("{payload.n: {lt: 1e999999}}"),
    "40 nots": rule("{not: " * 40 + "{labels.a: b}" + "}" * 40),
    "20,000 alternatives": rule("{any: [" + ", ".join(f"{{labels.l{n}: x}}" for n in range(20_000)) + "]}"),
    "50,000 values": rule("{labels.l: [" + ", ".join(f"v{n}" for n in range(50_000)) + "]}"),
    "a path of 500 steps": rule(f"{{? payload{'.a' * 500} : x}}"),
    "a map of 20,000": rule(
        more=", urgency: {from: title, map: {" + ", ".join(f"k{n}: high" for n in range(20_000)) + "}, else: low}"
    ),
    # regexes and globs
    "stars on stars": rule(f"{{title: {{regex: '{'(a*)*' * 2_000}'}}}}"),
    "brackets in brackets in a pattern": rule(f"{{title: {{regex: '{'(' * 900}a{')' * 900}'}}}}"),
    "a backtracker's nightmare": rule("{title: {regex: '^(x+x+)+y'}}"),
    "a glob of classes": rule(f"{{title: {{glob: '{'[a-z]*' * 5_000}'}}}}"),
    # templates
    "a product of text": titled("{{ 'a' * 500000000 }}"),
    "a product of text and a float": titled("{{ 'a' * 5e8 }}"),
    "a product of lists": titled("{{ [1] * 500000000 }}"),
    "numbers that square themselves": titled(GROWS % ("9", "ns.a * ns.a")),
    "floats without end": titled("{{ 1e308 * 10 }}"),
    "loops within loops": titled("{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}"),
    "a macro that calls itself": titled("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}"),
    "a range without end": titled("{{ range(1000000000) | list }}"),
    "a long range, many times": titled("{{ range(9999) | list | string * 9999 }}"),
    "a wide join": titled("{{ range(9999) | join('x' * 9999) }}"),
    "a wide replacement": titled("{{ ('x' * 9999) | replace('x', 'y' * 9999) }}"),
    "a wide format": titled("{{ '%999999999d' | format(1) }}"),
    "a wide format by operator": titled("{{ '%999999999d' % 1 }}"),
    "a wide indent": titled("{{ 'x' | indent(999999999) }}"),
    "a wide indent of JSON": titled("{{ payload | tojson(indent=999999999) }}"),
    "a method of text that nobody allowed": titled("{{ 'x'.ljust(999999999) }}"),
    "a format of attributes": titled("{{ '{0.__class__}'.format(alert) }}"),
    "text of lists of text": titled(GROWS % ("[1]", "[ns.a, ns.a] | list | string")),
    "text upon text": titled(GROWS % ("'x'", "ns.a ~ ns.a")),
    "lists of lists": titled(GROWS % ("[1]", "[ns.a, ns.a]")),
    "a walk from a text": titled("{{ ''.__class__.__mro__ }}"),
    "a walk by a filter": titled("{{ [alert] | map(attribute='__class__') | list }}"),
    "a template that includes itself": titled("{% include 'loop.j2' %}"),
    "two that include each other": titled("{% include 'ping.j2' %}"),
    "3,000 variables": titled("".join(f"{{% set a{n} = 1 %}}" for n in range(3_000))),
    "a question without end": rule().replace(
        "match: {source: lab}", 'when: "(range(9999) | list | string * 9999) | length > 0"'
    ),
    "a key without end": rule(more=", incident_key: \"{{ range(9999) | join('x' * 9999) }}\""),
    "a severity without end": rule().replace(
        "account: pd", "account: pd\n    severity: \"{{ 'critical' * 99999999 }}\""
    ),
}
TEMPLATES = {
    # without a condition they would be refused when they are loaded
    "loop.j2": "{% if payload %}{% include 'loop.j2' %}{% include 'loop.j2' %}{% endif %}",
    "ping.j2": "{% if payload %}{% include 'pong.j2' %}{% endif %}",
    "pong.j2": "{% if payload %}{% include 'ping.j2' %}{% endif %}",
}
CASE = [{"name": "one webhook", "steps": [{"send": "body.json", "to": "lab"}, {"at": "1m", "expect": {"created": 1}}]}]


FILES = {
    **{f"templates/{name}": text for name, text in TEMPLATES.items()},
    "rules/body.json": json.dumps(BODY),
    "rules/a.test.yaml": json.dumps(CASE),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bridge whose own rules come after the hostile ones."""
    write_configuration(tmp_path, sources=SOURCES)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_check_test_and_receiver_alike(folder: Path, name: str) -> None:
    (folder / "rules" / "a.yaml").write_text(REFUSED[name])
    for words in (("check", "--offline"), ("test",)):
        began = time.process_time()
        ran = run(folder, *words)
        assert time.process_time() - began < LOAD_S
        assert ran.code == PROBLEMS
        assert "rules/a.yaml:" in ran.err
        assert len(ran.err) < 1_000_000
    began = time.process_time()
    with pytest.raises(ConfigError):
        wiring.load(folder / "bridge.yaml")  # what the receiver starts with
    assert time.process_time() - began < LOAD_S


@pytest.mark.parametrize("name", BOUNDED)
def test_it_is_bounded_in_check_test_and_receiver_alike(tmp_path: Path, name: str) -> None:
    with Desk(tmp_path, SOURCES, files=FILES | {"rules/a.yaml": BOUNDED[name]}) as desk:
        began = time.process_time()
        answer = desk.post("lab", json.dumps(BODY).encode(), {"content-type": "application/json"})
        assert time.process_time() - began < RUN_S
        assert answer.status_code == 202
        event = desk.event(answer)
        assert event["alerts"][0]["outcome"] == "opened"
        titles = [incident["title"] for incident in desk.ledger.incidents(limit=5).items]
        assert all(len(title) <= TEXT_MAX_CHARS for title in titles)
    began = time.process_time()
    assert run(tmp_path, "check", "--offline").code == FINE
    assert time.process_time() - began < LOAD_S
    began = time.process_time()
    ran = run(tmp_path, "test")
    assert time.process_time() - began < LOAD_S + RUN_S
    assert (ran.code, "1 test passes" in ran.out) == (FINE, True), ran.out
