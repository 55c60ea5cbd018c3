"""From alerts to decisions: the request each rule opens with, its identity, and that a page always comes out."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.destinations import IncidentIo, PagerDuty
from bridge.destinations.base import Destination
from bridge.destinations.pagerduty import TITLE_MAX_CHARS
from bridge.domain.alert import Alert, Link, Notice, Severity, Status
from bridge.domain.decision import Decided, Decision, KeyRule, Mode, OnAcknowledge, OnResolve, Policy
from bridge.domain.delivery import NameRef
from bridge.domain.errors import Place
from bridge.domain.keys import series
from bridge.pipeline import VALUES_MAX, decide
from bridge.render import Renderer
from bridge.rules.book import Block, Constant, Leaf, Lookup, Rule, RuleBook
from bridge.rules.conditions import CONDITIONS, Glob
from bridge.rules.match import On, When
from bridge.rules.paths import parse
from bridge.sources.absent import says_nothing

PLACE = Place(file="rules/a.yaml")
RENDERER = Renderer({})
KEY_RENDERER = RENDERER.for_keys(says_nothing)
DESTINATIONS: Mapping[str, Destination] = {
    "pd": PagerDuty(account="pd", token="t", from_="bot@example.com", defaults={"service": "Catch-all"}),
    "io": IncidentIo(account="io", token="t", defaults={"severity": "Minor"}),
    "bare": PagerDuty(account="bare", token="t", from_="bot@example.com"),
}


def alert(**changes: Any) -> Alert:
    given_fields = {
        "source": "lab",
        "source_type": "generic",
        "fingerprint": "fp-1",
        "status": Status.FIRING,
        "severity": Severity.CRITICAL,
        "title": "Disk full on pg-1",
        "description": "97 % used",
        "payload": {"id": 5158, "service": "Postgres Primary", "scope": ["a", "b"], "empty": "", "unfilled": "$HOST"},
        "labels": MappingProxyType({"team": "db"}),
        "links": (Link(text="graph", href="https://example.com/g"),),
    }
    return Alert(**(given_fields | changes))


def leaf(text: str) -> Leaf:
    return RENDERER.compile_text(text, PLACE)


def key(text: str) -> Leaf:
    return KEY_RENDERER.compile_text(text, PLACE)


def lookup(path: str, table: dict[str, str], otherwise: str | None = None) -> Lookup:
    leaves = {key: leaf(value) for key, value in table.items()}
    return Lookup(path=parse(path), table=leaves, otherwise=None if otherwise is None else leaf(otherwise))


def rule(account: str = "pd", rule_id: str = "r", **settings: Any) -> Rule:
    incident: dict[str, Block] = {"title": leaf("{{ alert.title }}"), "service": leaf("Postgres Primary")}
    if account == "io":
        incident = {"name": leaf("{{ alert.title }}")}
    incident |= settings.pop("incident", {})
    return Rule(id=rule_id, place=PLACE, account=account, incident=incident, **({"conditions": ()} | settings))


def book(*rules: Rule, unmatched: str | None = None) -> RuleBook:
    return RuleBook.of(rules, unmatched=unmatched, content="{}")


def decided(one: Alert, *rules: Rule) -> Decided:
    (result,) = decide((one,), book(*rules), DESTINATIONS)
    return result


def decision(one: Rule, about: Alert | None = None) -> Decision:
    (result,) = decided(about or alert(), one).decisions
    return result


def test_a_firing_alert_becomes_the_complete_request_of_its_rule() -> None:
    made = decision(
        rule(
            incident={
                "title": leaf("[{{ alert.severity | upper }}] {{ alert.title }}"),
                "urgency": leaf("high"),
                "priority": lookup("severity", {"critical": "P1"}, "P3"),
                "body": leaf("{{ alert.description }}"),
            }
        )
    )
    assert made == Decision(
        rule="r",
        account="pd",
        mode=Mode.LIVE,
        severity=Severity.CRITICAL,
        title="[CRITICAL] Disk full on pg-1",
        series=series("pd", "Postgres Primary", ["lab", "fp-1"]),
        scope="Postgres Primary",
        parts=("lab", "fp-1"),
        marked=False,
        key_text=None,
        key_rule=KeyRule.WHILE_OPEN,
        fields={
            "title": "[CRITICAL] Disk full on pg-1",
            "service": "Postgres Primary",
            "urgency": "high",
            "priority": "P1",
            "body": "97 % used",
        },
        names=(
            NameRef(field="service", kind="service", text="Postgres Primary", fallback="Catch-all"),
            NameRef(field="priority", kind="priority", text="P1", fallback="P3"),
        ),
        notes=(),
        fold_key="r",
        fold_target=series("pd", "target", ({"service": "Postgres Primary"},))[:32],
        policy=Policy(),
    )


def test_every_matching_rule_of_a_reading_decides_in_order() -> None:
    result = decided(alert(), rule(rule_id="a", continues=True), rule("io", "b"), rule(rule_id="c"))
    assert [(one.rule, one.account) for one in result.decisions] == [("a", "pd"), ("b", "io")]
    assert result.matched == ("a", "b")


def test_readings_keep_their_order_and_notices_decide_nothing() -> None:
    notice = Notice(source="lab", source_type="generic", reason="a test", payload={})
    results = decide((notice, alert(), alert(fingerprint="fp-2")), book(rule()), DESTINATIONS)
    assert results[0] == Decided(reading=notice)
    assert [result.decisions[0].parts[1] for result in results[1:]] == ["fp-1", "fp-2"]


@pytest.mark.parametrize("status", [Status.RESOLVED, Status.ACKNOWLEDGED])
def test_an_alert_that_does_not_fire_only_records_which_rules_match(status: Status) -> None:
    result = decided(alert(status=status), rule())
    assert result.matched == ("r",)
    assert [match.rule for match in result.tried] == ["r"]
    assert result.decisions == ()


def test_an_alert_no_rule_matches_decides_nothing_and_shows_why() -> None:
    condition = On(name="source", path=parse("source"), operator=CONDITIONS["eq"].read("zendesk"))
    result = decided(alert(), rule(conditions=(condition,)))
    assert (result.matched, result.decisions) == ((), ())
    failed = result.tried[0].failed
    assert failed is not None
    assert (failed.condition, failed.actual) == ("source", "lab")


def test_the_rule_that_unmatched_names_decides_then() -> None:
    rules = book(rule(conditions=None), unmatched="r")
    (result,) = decide((alert(),), rules, DESTINATIONS)
    assert [one.rule for one in result.decisions] == ["r"]


def test_an_alert_that_only_a_rule_in_the_shadow_matches_is_still_paged_by_the_rule_that_unmatched_names() -> None:
    trial = rule(rule_id="trial", mode=Mode.SHADOW, continues=True)
    (result,) = decide((alert(),), book(trial, rule(conditions=None), unmatched="r"), DESTINATIONS)
    assert [(one.rule, one.mode) for one in result.decisions] == [("trial", Mode.SHADOW), ("r", Mode.LIVE)]


# -- identity


def test_alerts_of_a_webhook_that_share_a_long_list_are_decided_in_no_time() -> None:
    tags = [f"team:{number}" for number in range(4_000)]
    alerts = tuple(alert(fingerprint=f"fp-{number}", payload={"tags": tags}) for number in range(1_000))
    on_tags = tuple(
        On(name="payload.tags", path=parse("payload.tags"), operator=Glob.read(f"team:db-{number}*"))
        for number in range(3)
    )
    rules = book(*(rule(rule_id=f"r{number}", conditions=(one,)) for number, one in enumerate(on_tags)))
    began = time.thread_time()
    results = decide(alerts, rules, DESTINATIONS)
    assert not any(one.matched for one in results)
    assert time.thread_time() - began < 1


NESTED = "{% for a in payload.p %}{% for b in payload.p %}{{ b }}{% endfor %}{% endfor %}"


def test_thousands_of_alerts_with_costly_templates_are_decided_soon_and_none_is_lost() -> None:
    title = leaf("[{{ alert.severity }}] {{ alert.title }}")  # takes little, and so is written in any case
    costly = rule(incident={"title": title, "body": leaf(NESTED), "priority": leaf(NESTED), "urgency": leaf("high")})
    alerts = tuple(alert(fingerprint=f"fp-{number}", payload={"p": list(range(70))}) for number in range(1_500))
    began = time.thread_time()
    results = decide(alerts, book(costly), DESTINATIONS)
    assert time.thread_time() - began < 4
    first, last = (decided.decisions[0] for decided in (results[0], results[-1]))
    assert first.fields["body"].startswith("0123")
    assert last.fields | {"body": ""} == {
        "title": "[critical] Disk full on pg-1",
        "service": "Postgres Primary",
        "urgency": "high",
        "body": "",
    }
    assert last.fields["body"].startswith("97 % used")
    assert last.notes.count("the alerts of this webhook ask too much of the templates") == 1


def test_what_one_webhook_takes_of_the_templates_is_not_missing_for_the_next() -> None:
    costly = book(rule(incident={"body": leaf(NESTED)}))
    alerts = tuple(alert(fingerprint=f"fp-{number}", payload={"p": list(range(70))}) for number in range(50))
    again = [decide(alerts, costly, DESTINATIONS) for _ in range(5)]
    assert [one.decisions for one in again[0]] == [one.decisions for one in again[-1]]
    assert again[-1][-1].decisions[0].notes == ()


def test_costly_content_keeps_no_when_from_its_answer() -> None:
    asks = RENDERER.compile_expression("payload.p | map('string') | select('eq', '69') | list | length == 1", PLACE)
    costly = rule(
        conditions=(When(wanted="p holds 69", asks=asks.asks),),
        incident={"body": leaf(NESTED), "priority": leaf(NESTED)},
    )
    alerts = tuple(alert(fingerprint=f"fp-{number}", payload={"p": list(range(70))}) for number in range(500))
    results = decide(alerts, book(costly), DESTINATIONS)
    assert all(one.matched == ("r",) for one in results)


def test_five_thousand_ordinary_alerts_share_what_there_is_for_one_webhook() -> None:
    details = (Path(__file__).parent.parent.parent / "templates" / "incident-details.txt.j2").read_text()
    ordinary = rule(
        incident={
            "title": leaf("[{{ alert.severity | upper }}] {{ alert.title | truncate(80) }}"),
            "service": leaf("{{ alert.labels.service | default('Catch-all') }}"),
            "body": leaf(
                details + "{% for key, value in alert.labels | dictsort %}{{ key }}: {{ value }} {% endfor %}"
            ),
        }
    )
    labels = MappingProxyType({f"label-{number}": f"value {number}" for number in range(12)})
    alerts = tuple(alert(fingerprint=f"fp-{number}", labels=labels) for number in range(5_000))
    assert {one.decisions[0].notes for one in decide(alerts, book(ordinary), DESTINATIONS)} == {()}


def test_dedup_parts_are_typed_values_of_the_alert() -> None:
    made = decision(rule(dedup=(parse("source"), parse("payload.id"), parse("payload.scope"))))
    assert made.parts == ("lab", 5158, ["a", "b"])
    assert made.series == series("pd", "Postgres Primary", ["lab", 5158, ["a", "b"]])
    assert not made.marked


@pytest.mark.parametrize("path", ["payload.nothing", "payload.empty", "payload.unfilled", "episode"])
def test_a_part_that_says_nothing_is_replaced_by_the_fingerprint_and_marked(path: str) -> None:
    made = decision(rule(dedup=(parse("source"), parse(path))))
    assert made.parts == ("lab", "fp-1")
    assert made.marked
    assert made.notes == (f"dedup: nothing usable at {path}; the fingerprint stands in",)


def test_two_problems_without_the_part_never_share_a_series() -> None:
    paths = (parse("payload.nothing"),)
    first, second = (decision(rule(dedup=paths), alert(fingerprint=one)) for one in ("fp-1", "fp-2"))
    assert first.series != second.series


UNSAID = [
    None,
    "",
    "  ",
    "null",
    "$EXT",
    "{{ticket.external_id}}",
    "zd-$EXTERNAL_ID",
    [None],
    ["null", ""],
    {"a": None},
]


@pytest.mark.parametrize("value", [*UNSAID, [], {}, [["$EXT"], {"a": ""}], " " * 300])
def test_a_part_without_one_value_that_says_something_is_replaced_by_the_fingerprint(value: Any) -> None:
    made = decision(rule(dedup=(parse("source"), parse("payload.k"))), alert(payload={"k": value}))
    assert (made.parts, made.marked) == (("lab", "fp-1"), True)
    assert made.notes == ("dedup: nothing usable at payload.k; the fingerprint stands in",)


@pytest.mark.parametrize(
    "value", [0, False, "0", "none", "db01/MSSQL$SALES", ["a", None], ["", "b"], {"a": None, "b": 1}]
)
def test_a_part_with_a_value_that_says_something_stands_in_the_key_as_it_is(value: Any) -> None:
    made = decision(rule(dedup=(parse("source"), parse("payload.k"))), alert(payload={"k": value}))
    assert (made.parts, made.marked) == (("lab", value), False)


@pytest.mark.parametrize("value", UNSAID)
@pytest.mark.parametrize(
    "text",
    [
        "zd-{{ payload.k }}",
        "zd-{{ payload['k'] }}",
        "{% for value in [payload.k] %}zd-{{ value }}{% endfor %}",
        "zd-{{ payload.k | default(payload.k) }}",
    ],
)
def test_an_incident_key_takes_no_value_that_says_nothing(text: str, value: Any) -> None:
    first, second = (
        decision(rule(incident_key=key(text)), alert(fingerprint=one, payload={"k": value})) for one in ("fp-1", "fp-2")
    )
    assert (first.key_text, first.parts) == (None, ("lab", "fp-1"))
    assert first.series != second.series
    assert first.notes[-1] == "incident_key: it gave nothing; source and fingerprint are used"


@pytest.mark.parametrize("value", [None, "", "null", "$EXT", "zd-$EXTERNAL_ID"])
@pytest.mark.parametrize(
    "text",
    [
        "{{ 'zd-' ~ payload.k }}",
        "{{ 'zd-%s' % payload.k }}",
        "{{ payload.k | upper }}!",
        "{{ payload.get('k') }}!",
        "{{ ['zd', payload.k] | join('-') }}",
        "zd-{{ payload.l[0] }}",
        "zd-{{ payload.o | map(attribute='k') | join }}",
    ],
)
def test_no_way_of_writing_lets_a_value_that_says_nothing_into_an_incident_key(text: str, value: Any) -> None:
    payload = {"k": value, "l": [value, "x"], "o": [{"k": value}]}
    assert decision(rule(incident_key=key(text)), alert(payload=payload)).key_text is None


@pytest.mark.parametrize("value", [None, "", "$EXT"])
@pytest.mark.parametrize(
    ("text", "gives"),
    [
        ("zd-{{ payload.k | default('none') }}", "zd-none"),
        ("zd-{{ payload.k | default('') }}/{{ payload.id }}", "zd-/7"),
        ("zd-{{ payload.k or 'none' }}", "zd-none"),
        ("{% if payload.k %}{{ payload.k }}/{% endif %}{{ payload.id }}", "7"),
        ("{{ payload.id }}{{ '-replica' if payload.k else '' }}", "7"),
        ("{{ payload.id }}{{ '-prod' if payload.k == 'prod' else '-dev' }}", "7-dev"),
        ("{{ payload.id }}{{ '-prod' if payload.k in ['prod'] else '' }}", "7"),
        ("{{ payload.id }}-{{ payload.k is defined }}", "7-false"),
        ("{{ payload.id }}{{ '' if payload.k is undefined else '-' ~ payload.k }}", "7"),
    ],
)
def test_an_incident_key_may_say_what_stands_where_nothing_was_said(text: str, gives: str, value: Any) -> None:
    assert decision(rule(incident_key=key(text)), alert(payload={"id": 7, "k": value})).key_text == gives


def test_an_incident_key_may_ask_whether_a_value_is_null() -> None:
    text = "{{ payload.id }}{% if payload.k is not none %}-{{ payload.k }}{% endif %}"
    made = [decision(rule(incident_key=key(text)), alert(payload={"id": 7, "k": one})).key_text for one in (None, "a")]
    assert made == ["7", "7-a"]


def test_pagerduty_scopes_a_series_by_its_service_and_incident_io_does_not() -> None:
    assert decision(rule()).scope == "Postgres Primary"
    assert decision(rule("io")).scope == ""
    assert decision(rule()).series != decision(rule(incident={"service": leaf("Other")})).series
    assert decision(rule("io")).key_rule is KeyRule.FOR_EVER


def test_an_incident_key_is_the_only_part_of_its_series() -> None:
    made = decision(rule(incident_key=key("pg/{{ payload.id }}")))
    assert (made.key_text, made.parts) == ("pg/5158", ("pg/5158",))


@pytest.mark.parametrize("text", ["{{ payload.nothing }}", "{{ payload.empty }}", "{{ payload.unfilled }}"])
def test_an_incident_key_that_fails_leaves_the_default_identity(text: str) -> None:
    made = decision(rule(incident_key=key(text)))
    assert (made.key_text, made.parts) == (None, ("lab", "fp-1"))
    assert made.notes[-1] == "incident_key: it gave nothing; source and fingerprint are used"


def test_the_text_of_an_incident_never_changes_its_series() -> None:
    first = decision(rule(incident={"title": leaf("one"), "body": leaf("x")}))
    second = decision(rule(incident={"title": leaf("two"), "urgency": leaf("low")}))
    assert first.series == second.series


def test_only_what_reaches_the_same_people_shares_a_target() -> None:
    def target(**fields: str) -> str:
        return decision(
            rule(incident={"title": leaf("x"), **{name: leaf(one) for name, one in fields.items()}})
        ).fold_target

    same = target(service="A", escalation_policy="P")
    assert target(service="A", escalation_policy="P", urgency="low") == same
    others = [
        target(service="B", escalation_policy="P"),
        target(service="A"),
        target(service="A", assignee="p@example.com"),
    ]
    assert len({same, *others}) == 4


def test_fold_by_gives_the_key_that_folds_instead_of_the_rules_id() -> None:
    assert decision(rule(fold_by=(parse("labels.team"), parse("labels.nobody")))).fold_key == '["db",null]'
    long = decision(rule(fold_by=(parse("title"),)), alert(title="x" * 500)).fold_key
    assert len(long) == 64


# -- settings that are carried along


def test_a_rule_overrides_the_severity_for_order_and_display() -> None:
    assert decision(rule(severity=lookup("labels.team", {"db": "warning"}, "info"))).severity is Severity.WARNING
    assert decision(rule(severity=lookup("labels.x", {"db": "warning"}))).severity is Severity.CRITICAL
    odd = decision(rule(severity=leaf("grave")))
    assert odd.severity is Severity.CRITICAL
    assert odd.notes == (
        "severity: what the rule gives is none of critical, error, warning, info",
        "severity: the alert's own is used",
    )


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("{{ payload.level }}", "its template failed: there is no 'level' in this alert"),
        ("{{ payload.id }}", "what the rule gives is none of critical, error, warning, info"),
    ],
)
def test_a_severity_that_a_maps_entry_cannot_give_is_its_else(entry: str, why: str) -> None:
    made = decision(rule(severity=lookup("labels.team", {"db": entry}, "critical")), alert(severity=Severity.INFO))
    assert made.severity is Severity.CRITICAL
    assert made.notes == (f"severity: {why}", "severity: the rule's else is used")
    none = decision(rule(severity=lookup("labels.team", {"db": entry}, "grave")), alert(severity=Severity.INFO))
    assert none.severity is Severity.INFO
    assert none.notes[-1] == "severity: the alert's own is used"


def test_a_severity_the_sender_did_not_give_counts_as_error() -> None:
    assert decision(rule(), alert(severity=None)).severity is Severity.ERROR


def test_the_policy_of_a_rule_goes_with_its_decision() -> None:
    made = decision(
        rule(
            mode=Mode.SHADOW,
            on_resolve=OnResolve.RESOLVE,
            resolution=leaf("{{ alert.source }} says it is over"),
            on_acknowledge=OnAcknowledge.ACKNOWLEDGE,
            hold_resolve=timedelta(minutes=5),
            reopen_within=timedelta(minutes=15),
        )
    )
    assert made.mode is Mode.SHADOW
    assert made.policy == Policy(
        resolution="lab says it is over",
        on_acknowledge=OnAcknowledge.ACKNOWLEDGE,
        hold_resolve=timedelta(minutes=5),
        reopen_within=timedelta(minutes=15),
    )


# -- what fails falls back


def test_a_title_that_fails_becomes_the_alerts_own_and_the_incident_says_so() -> None:
    made = decision(rule(incident={"title": leaf("{{ payload.nothing }}")}))
    assert made.fields["title"] == made.title == "Disk full on pg-1"
    assert made.notes == (
        "title: its template failed: there is no 'nothing' in this alert",
        "title: made from the alert itself",
    )


@pytest.mark.parametrize(
    ("title", "shown"), [("", "Alert from lab: fp-1"), (" \n ", "Alert from lab: fp-1"), ("a\r\n\tb\x00c", "a b c")]
)
def test_a_title_is_one_line_and_never_empty(title: str, shown: str) -> None:
    assert decision(rule(), alert(title=title)).title == shown


def test_an_optional_field_that_fails_is_left_out() -> None:
    made = decision(rule(incident={"incident_type": leaf("{{ payload.nothing }}"), "urgency": leaf("{{ payload.x }}")}))
    assert {"incident_type", "urgency"}.isdisjoint(made.fields)
    assert "incident_type: nothing to fall back on; left out" in made.notes
    assert "urgency: left out" in made.notes


def test_a_service_that_fails_falls_back_to_else_and_then_to_the_account() -> None:
    by_else = decision(rule(incident={"service": lookup("labels.team", {"db": "{{ payload.no }}"}, "Other")}))
    assert by_else.fields["service"] == by_else.scope == "Other"
    assert by_else.names == (NameRef(field="service", kind="service", text="Other", fallback="Catch-all"),)
    assert by_else.notes[-1] == "service: the rule's else is used"
    by_default = decision(rule(incident={"service": leaf("{{ payload.empty }}")}))
    assert by_default.fields["service"] == by_default.scope == "Catch-all"
    assert by_default.notes == ("service: the account's default is used",)


def test_a_service_with_nothing_to_fall_back_on_is_left_out_and_the_page_is_decided_all_the_same() -> None:
    made = decision(rule("bare", incident={"service": leaf("{{ payload.no }}")}))
    assert "service" not in made.fields
    assert made.scope == ""
    assert made.notes[-1] == "service: nothing to fall back on; left out"


def test_a_default_of_the_account_fills_a_field_the_rule_does_not_give() -> None:
    made = decision(rule("io"))
    assert made.fields["severity"] == "Minor"
    assert made.notes == ()


def test_a_name_that_is_a_placeholder_nobody_filled_is_no_name() -> None:
    assert decision(rule(incident={"service": leaf("{{ payload.unfilled }}")})).fields["service"] == "Catch-all"


def test_a_choice_the_upstream_does_not_have_falls_back_and_says_so() -> None:
    by_else = decision(rule(incident={"urgency": lookup("labels.team", {"db": "{{ alert.title }}"}, "low")}))
    assert by_else.fields["urgency"] == "low"
    assert by_else.notes == (
        "urgency: what the rule gives is none of high, low",
        "urgency: the rule's else is used",
    )
    assert "urgency" not in decision(rule(incident={"urgency": leaf("{{ alert.title }}")})).fields


def test_notes_hold_no_payload_text() -> None:
    secret = alert(payload={"secret": "hunter2", "list": ["hunter2"]})
    templates = (
        "{{ payload.secret + 1 }}",
        "{{ payload.secret.no }}",
        "{{ payload.list.hunter }}",
        "{{ payload.secret / 2 }}",
    )
    for template in templates:
        made = decision(rule(incident={"title": leaf(template)}), secret)
        assert made.notes
        assert "hunter2" not in "".join(made.notes)


# -- what a field holds


def test_an_overlong_title_is_cut_and_stands_whole_in_the_body() -> None:
    title = "é" * (TITLE_MAX_CHARS + 10)
    made = decision(rule(incident={"body": leaf("short")}), alert(title=title))
    assert made.fields["title"] == "é" * (TITLE_MAX_CHARS - 1) + "…"
    assert made.fields["body"] == f"short\n\ntitle in full: {title}"
    assert made.notes == (f"title: cut to {TITLE_MAX_CHARS} characters",)


def test_a_body_keeps_its_lines_and_tabs_and_loses_control_characters() -> None:
    made = decision(
        rule(incident={"body": leaf("{{ alert.description }}")}), alert(description="a\r\nb\x1b[0m\tc\x00\x85")
    )
    assert made.fields["body"] == "a\nb[0m\tc"


def test_without_a_body_one_is_made_of_the_alert() -> None:
    expected = "97 % used\n\ngraph: https://example.com/g\n\nteam: db\n\ncritical, reported by lab (generic)"
    assert decision(rule()).fields["body"] == expected
    assert decision(rule("io")).fields["summary"] == expected


def test_payload_text_stays_text_in_every_field() -> None:
    evil = "{{ 7 * 7 }}{% if %}"
    made = decision(rule(incident={"body": leaf("{{ payload.v }}")}), alert(title=evil, payload={"v": evil}))
    assert made.fields["title"] == made.fields["body"] == evil


def test_a_mapping_field_holds_texts_and_drops_what_fails() -> None:
    bridge = {
        "conference_number": RENDERER.compile_expression("payload.id", PLACE),
        "conference_url": leaf("{{ payload.x }}"),
    }
    made = decision(rule(incident={"conference_bridge": bridge}))
    assert made.fields["conference_bridge"] == {"conference_number": "5158"}
    assert made.notes == ("conference_bridge.conference_url: its template failed: there is no 'x' in this alert",)


def test_an_expression_in_a_text_field_gives_its_text() -> None:
    made = decision(rule(incident={"title": RENDERER.compile_expression("payload.scope", PLACE)}))
    assert made.title == '["a","b"]'
    assert decision(rule(incident={"title": Constant(constant=503)})).title == "503"


# -- hostile alerts still page

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=10,
)


@given(
    title=st.text(st.characters()),
    description=st.text(st.characters()),
    fingerprint=st.text(st.characters(), min_size=1),
    labels=st.dictionaries(st.text(st.characters()), st.text(st.characters()), max_size=3),
    payload=anything,
)
def test_any_alert_becomes_a_request_that_can_be_stored_and_sent(
    title: str, description: str, fingerprint: str, labels: dict[str, str], payload: Any
) -> None:
    one = alert(title=title, description=description, fingerprint=fingerprint, labels=labels, payload=payload)
    rules = book(
        rule(
            dedup=(parse("payload"), parse("payload.a"), parse("fingerprint")),
            fold_by=(parse("payload"), parse("title")),
            incident_key=None,
            continues=True,
            incident={
                "title": leaf("{{ payload }} {{ alert.title }}"),
                "service": leaf("{{ payload.a }}"),
                "body": leaf("{{ payload | tojson }}{{ alert.description }}"),
                "priority": lookup("payload.a", {"1": "P1"}, "{{ alert.title }}"),
                "conference_bridge": {"conference_url": RENDERER.compile_expression("payload", PLACE)},
            },
        ),
        rule("io", "second", incident_key=key("{{ alert.title }}")),
    )
    (result,) = decide((one,), rules, DESTINATIONS)
    assert len(result.decisions) == 2
    for made in result.decisions:
        stored = json.dumps([made.fields, made.notes, made.key_text, made.fold_key], ensure_ascii=False)
        stored.encode("utf-8")
        assert made.title.strip()
        assert made.title.isprintable() or "\x00" not in made.title
        assert len(made.series) == 64


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u2003\u3000", "\n\u00a0", "\u200b\u200b", "\u2800", " \u2066 "])
def test_a_title_with_nothing_to_see_is_none(blank: str) -> None:
    assert decision(rule(), alert(title=blank)).title == "Alert from lab: fp-1"


def test_a_deeply_nested_and_a_huge_payload_still_page() -> None:
    deep: Any = "x"
    for _ in range(3_000):
        deep = {"a": [deep]}
    for payload in (deep, {"a": "x" * 3_000_000}, {"a": list(range(200_000))}, {str(i): i for i in range(100_000)}):
        made = decision(
            rule(
                dedup=(parse("payload"), parse("payload.a")),
                incident={"title": leaf("{{ payload }}"), "body": RENDERER.compile_expression("payload", PLACE)},
            ),
            alert(payload=payload, title="y" * 1_000_000, description="z" * 1_000_000),
        )
        assert made.marked
        assert len(json.dumps(made.fields)) < 200_000


def test_a_decision_is_the_same_every_time() -> None:
    assert decision(rule()) == decision(rule())


# -- mappings of names


def io(**incident: Block) -> Decision:
    return decision(rule("io", incident=incident))


def expression(text: str) -> Leaf:
    return RENDERER.compile_expression(text, PLACE)


def test_a_custom_field_has_one_value_or_several_and_each_may_be_a_name() -> None:
    made = io(
        custom_fields={"Team": (leaf("Support"), leaf("{{ alert.labels.team }}")), "Ticket": expression("payload.id")}
    )
    assert made.fields["custom_fields"] == {"Team": ["Support", "db"], "Ticket": ["5158"]}
    assert [name for name in made.names if name.field.startswith("custom_fields")] == [
        NameRef(field="custom_fields.Team", kind="custom_field", text="Team"),
        NameRef(field="custom_fields.Team.0", kind="custom_field_option", text="Support", within="custom_fields.Team"),
        NameRef(field="custom_fields.Team.1", kind="custom_field_option", text="db", within="custom_fields.Team"),
        NameRef(field="custom_fields.Ticket", kind="custom_field", text="Ticket"),
        NameRef(field="custom_fields.Ticket.0", kind="custom_field_option", text="5158", within="custom_fields.Ticket"),
    ]


def test_a_list_of_the_payload_is_several_values_and_what_says_nothing_is_none_of_them() -> None:
    made = io(custom_fields={"Team": (expression("payload.scope"), expression("payload.empty"), leaf("$HOST"))})
    assert made.fields["custom_fields"] == {"Team": ["a", "b"]}


def test_no_values_at_all_unset_a_custom_field_and_are_not_nothing() -> None:
    assert io(custom_fields={"Team": ()}).fields["custom_fields"] == {"Team": []}


def test_a_custom_field_whose_value_fails_is_left_out_and_said_so_and_the_page_comes_out() -> None:
    made = io(custom_fields={"Team": expression("payload.nothing.at.all"), "Ticket": leaf("{{ payload.empty }}")})
    assert made.title == "Disk full on pg-1"
    assert "custom_fields" not in made.fields
    assert [note for note in made.notes if note.endswith("left out")] == [
        "custom_fields.Team: left out",
        "custom_fields.Ticket: left out",
    ]
    assert not [name for name in made.names if name.field.startswith("custom_fields")]


def test_what_a_map_cannot_give_is_taken_from_its_else() -> None:
    made = io(
        custom_fields={"Team": lookup("labels.team", {"db": "{{ payload.empty }}"}, "Platform")},
        roles={"Lead": lookup("labels.team", {"web": "a@example.com"}, "b@example.com")},
    )
    assert made.fields["custom_fields"] == {"Team": ["Platform"]}
    assert made.fields["roles"] == {"Lead": "b@example.com"}


def test_more_values_than_anybody_reads_are_cut() -> None:
    crowd = alert(payload={"many": [f"v{number}" for number in range(200)]})
    made = decision(rule("io", incident={"custom_fields": {"Team": expression("payload.many")}}), crowd)
    assert len(made.fields["custom_fields"]["Team"]) == VALUES_MAX
    assert f"custom_fields.Team: the first {VALUES_MAX} of 200 values are used" in made.notes


def test_a_role_has_one_person_who_is_looked_up() -> None:
    made = io(roles={"Incident Lead": leaf("oncall@example.com"), "Scribe": expression("payload.empty")})
    assert made.fields["roles"] == {"Incident Lead": "oncall@example.com"}
    assert [name for name in made.names if name.field.startswith("roles")] == [
        NameRef(field="roles.Incident Lead", kind="incident_role", text="Incident Lead"),
        NameRef(field="roles.Incident Lead.user", kind="user", text="oncall@example.com"),
    ]
    assert "roles.Scribe: left out" in made.notes


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T14:00:00.250+02:00", "2026-03-01T12:00:00.250Z"),
        ("2026-03-01 12:00", "2026-03-01T12:00:00Z"),
        (1772366400, "2026-03-01T12:00:00Z"),
        ("1772366400500", "2026-03-01T12:00:00.500Z"),
        ("yesterday", None),
        (True, None),
        (7, None),
        ("", None),
    ],
)
def test_a_timestamp_is_an_instant_however_the_sender_writes_it(value: object, instant: str | None) -> None:
    one = alert(payload={"at": value})
    made = decision(rule("io", incident={"timestamps": {"Impact started": expression("payload.at")}}), one)
    assert made.fields.get("timestamps") == (None if instant is None else {"Impact started": instant})
    assert ("timestamps.Impact started: left out" in made.notes) == (instant is None)


def test_the_alerts_own_start_is_an_instant() -> None:
    one = alert(starts_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    for block in (expression("alert.starts_at"), leaf("{{ alert.starts_at }}")):
        made = decision(rule("io", incident={"timestamps": {"Impact started": block}}), one)
        assert made.fields["timestamps"] == {"Impact started": "2026-03-01T12:00:00Z"}
