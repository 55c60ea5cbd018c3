"""Explanations: every rule and condition, the nearest miss, the key, the request as it would be sent, the wait."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.rulebook import load_rulebook
from bridge.destinations import IncidentIo, PagerDuty
from bridge.destinations.base import Destination
from bridge.domain import keys
from bridge.domain.alert import Alert, Link, Notice, Severity, Status
from bridge.domain.delivery import Action, Delivery, NamedThing
from bridge.domain.lane import LaneState, Line, Pace
from bridge.domain.silences import Silence
from bridge.explain import explain
from bridge.explain.answers import RULES_SHOWN_MAX, sentence
from bridge.explain.plain import as_json
from bridge.explain.values import Answer, Explanation, Kind, LaneView, Request, RuleAnswer, Verdict
from bridge.pipeline import decide
from bridge.rules.book import RuleBook
from bridge.rules.silencing import Matcher, Silencing
from bridge.wiring import AccountView

NOW = datetime(2026, 8, 1, 10, 0, tzinfo=UTC)
TOKEN = "u+secret-token-4711"
DESTINATIONS: Mapping[str, Destination] = {
    "pd": PagerDuty(account="pd", token=TOKEN, from_="bot@example.com", defaults={"service": "Catch-all"}),
    "io": IncidentIo(account="io", token=TOKEN, defaults={"severity": "Minor"}),
}
RULES = """
defaults: {account: pd}
rules:
  - id: db
    match:
      source: [lab, tool]
      severity: [critical, error]
      payload.value: {gt: 30}
      not: {labels.env: [dev, staging]}
      any:
        - {labels.team: db, labels.tier: '1'}
        - {title: {regex: '^pg'}}
    when: "alert.labels.host is defined"
    dedup: [source, payload.id, labels.host]
    incident: {title: '{{ alert.title }}', service: Postgres, priority: {from: severity, map: {critical: P1}, else: P3}}
  - id: tickets
    account: io
    match: {source: desk}
    incident: {name: '{{ alert.title }}', severity: Major}
  - id: quiet
    match: {source: lab, labels.team: quiet}
    mode: shadow
    continue: true
    incident: {title: quiet, service: S}
  - id: lab
    match: {source: lab, labels.team: [web, quiet]}
    incident: {title: '{{ alert.title }}', service: Web, incident_key: 'own-{{ payload.id }}'}
  - id: late
    match: {source: lab}
    incident: {title: late, service: S}
unmatched: record
"""


def book(folder: Path, text: str = RULES) -> RuleBook:
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    (rules / "rules.yaml").write_text(text, encoding="utf-8")
    views = {name: AccountView(name=name, destination=made) for name, made in DESTINATIONS.items()}
    loaded, _ = load_rulebook(rules, folder / "templates", views, {"lab", "tool", "desk"}, folder)
    return loaded


def alert(**changes: Any) -> Alert:
    given_fields: dict[str, Any] = {
        "source": "lab",
        "source_type": "generic",
        "fingerprint": "fp-1",
        "status": Status.FIRING,
        "severity": Severity.CRITICAL,
        "title": "pg-1 is slow",
        "payload": {"id": 7, "value": "94"},
        "labels": MappingProxyType({"team": "db", "host": "pg-1", "env": "prod"}),
        "links": (Link(text="graph", href="https://example.com/g"),),
        "reported_at": NOW,
    }
    return Alert(**(given_fields | changes))


def explained(folder: Path, one: Any, text: str = RULES, **known: Any) -> Explanation:
    return explain((one,), book(folder, text), DESTINATIONS, source="lab", now=NOW, **known)


def rules_of(explanation: Explanation) -> dict[str, RuleAnswer]:
    return {rule.rule: rule for rule in explanation.alerts[0].rules}


def request_of(explanation: Explanation) -> Request:
    (request,) = explanation.alerts[0].requests
    return request


def answers_of(rule: RuleAnswer) -> dict[str, Answer]:
    return {answer.condition: answer for answer in rule.answers}


# -- rules and conditions


def test_every_condition_of_a_rule_says_what_it_wanted_and_what_it_found(tmp_path: Path) -> None:
    rule = rules_of(explained(tmp_path, alert(payload={"id": 7, "value": 12})))["db"]
    assert (rule.verdict, rule.held, rule.of) == (Verdict.REFUSED, 5, 6)
    answers = answers_of(rule)
    assert answers["source"] == Answer(
        condition="source", kind=Kind.ON, wanted=["lab", "tool"], actual="lab", held=True
    )
    assert answers["payload.value.gt"] == Answer(
        condition="payload.value.gt", kind=Kind.ON, wanted=30, actual=12, held=False
    )
    assert answers["not.labels.env"] == Answer(
        condition="not.labels.env", kind=Kind.NOT, wanted=["dev", "staging"], actual="prod", held=True
    )
    assert answers["when"].kind is Kind.WHEN
    assert answers["when"].held


def test_alternatives_show_each_condition_inside_them(tmp_path: Path) -> None:
    group = answers_of(rules_of(explained(tmp_path, alert()))["db"])["any"]
    assert (group.kind, group.held) == (Kind.ANY, True)
    assert [(part.condition, part.held) for part in group.parts] == [
        ("any[0].labels.team", True),
        ("any[0].labels.tier", False),
        ("any[1].title.regex", True),
    ]


def test_a_group_that_is_denied_shows_what_held_in_it(tmp_path: Path) -> None:
    text = RULES.replace("not: {labels.env: [dev, staging]}", "not: {labels.env: prod, labels.team: db}")
    rule = rules_of(explained(tmp_path, alert(), text))["db"]
    group = answers_of(rule)["not"]
    assert (group.kind, group.held) == (Kind.NOT, False)
    assert [(part.condition, part.held) for part in group.parts] == [
        ("not.labels.env", True),
        ("not.labels.team", True),
    ]


def test_the_verdicts_are_those_of_production(tmp_path: Path) -> None:
    explanation = explained(tmp_path, alert(labels=MappingProxyType({"team": "quiet"})))
    assert {name: rule.verdict for name, rule in rules_of(explanation).items()} == {
        "db": Verdict.REFUSED,
        "tickets": Verdict.REFUSED,
        "quiet": Verdict.MATCHED,
        "lab": Verdict.MATCHED,
        "late": Verdict.NOT_TRIED,
    }
    assert rules_of(explanation)["late"].why == (
        "not tried, for rule lab matches and does not continue; it would match, too"
    )
    assert explanation.alerts[0].summary == (
        "rule quiet matches: an incident at pd (shadow: recorded, never sent); rule lab matches: an incident at pd"
    )


def test_the_rule_that_unmatched_names_is_told_apart_from_one_that_matches(tmp_path: Path) -> None:
    text = RULES.replace("unmatched: record", "unmatched: tickets")
    explanation = explained(tmp_path, alert(source="tool", payload={}), text)
    rule = rules_of(explanation)["tickets"]
    assert (rule.verdict, rule.why) == (Verdict.FALLBACK, "no live rule matches, and 'unmatched' names it")
    assert request_of(explanation).account == "io"


def test_the_rule_that_unmatched_names_decides_beside_one_in_the_shadow(tmp_path: Path) -> None:
    text = RULES.replace("unmatched: record", "unmatched: tickets").replace("team: quiet}", "team: trial}")
    text = text.replace("match: {source: lab}", "match: {source: tool}")  # the last rule would take it
    one = explained(tmp_path, alert(source="lab", labels={"team": "trial"}, payload={}), text).alerts[0]
    assert one.summary == (
        "rule quiet matches: an incident at pd (shadow: recorded, never sent); "
        "rule tickets as the fallback: an incident at io"
    )


def test_an_alert_that_nothing_matches_is_told_so_with_the_nearest_miss(tmp_path: Path) -> None:
    one = explained(tmp_path, alert(source="tool", payload={"id": 7, "value": 12})).alerts[0]
    assert one.summary == "unmatched: no rule matches; it is recorded and nobody is paged"
    assert one.requests == ()
    assert one.nearest is not None
    assert one.nearest.rule == "db"
    assert [check.condition for check in one.nearest.misses] == ["payload.value.gt"]
    assert one.nearest.why == "payload.value.gt is 12, wanted 30"


def test_a_rule_for_another_sender_is_no_near_miss(tmp_path: Path) -> None:
    text = """
rules:
  - {id: other, account: pd, match: {source: tool, severity: critical, labels.team: db}, incident: {title: x}}
  - {id: ours, account: pd, match: {source: lab, severity: info, labels.team: x}, incident: {title: x}}
unmatched: record
"""
    nearest = explained(tmp_path, alert(), text).alerts[0].nearest
    assert nearest is not None
    assert nearest.rule == "ours"


def test_what_is_missing_and_what_is_denied_read_as_sentences(tmp_path: Path) -> None:
    labels = MappingProxyType({"team": "db", "env": "dev"})
    misses = rules_of(explained(tmp_path, alert(labels=labels, payload={})))["db"].misses
    assert [sentence(check) for check in misses][:2] == [
        "payload.value.gt is missing, wanted 30",
        'not.labels.env is "dev", wanted anything but ["dev","staging"]',
    ]


def test_of_a_large_book_those_that_match_and_the_nearest_are_shown(tmp_path: Path) -> None:
    one = "  - {{id: r{n}, account: pd, match: {{source: lab, payload.id: {n}}}, incident: {{title: x, service: S}}}}\n"
    text = "rules:\n" + "".join(one.format(n=n) for n in range(200)) + "unmatched: record\n"
    explanation = explained(tmp_path, alert(payload={"id": 150}), text).alerts[0]
    assert len(explanation.rules) + explanation.left_out == 200
    assert len(explanation.rules) <= RULES_SHOWN_MAX
    assert [rule.rule for rule in explanation.rules if rule.verdict is Verdict.MATCHED] == ["r150"]


# -- key, request, names


def test_the_key_parts_are_named_and_a_stand_in_is_marked(tmp_path: Path) -> None:
    missing_host = alert(labels=MappingProxyType({"team": "db", "env": "prod", "tier": "1", "host": "$HOSTNAME"}))
    key = request_of(explained(tmp_path, missing_host)).key
    assert [(part.path, part.value, part.stands_in) for part in key.parts] == [
        ("source", "lab", False),
        ("payload.id", 7, False),
        ("labels.host", "fp-1", True),
    ]
    assert (key.account, key.scope, key.field) == ("pd", "Postgres", "incident_key")
    assert key.series == keys.series("pd", "Postgres", ["lab", 7, "fp-1"])
    assert key.text == f"ib1-{key.series[:40]}"


def test_a_key_of_the_rules_own_is_shown_as_it_is(tmp_path: Path) -> None:
    key = request_of(explained(tmp_path, alert(labels=MappingProxyType({"team": "web"})))).key
    assert key.text == "own-7"
    assert [(part.path, part.value) for part in key.parts] == [("incident_key", "own-7")]


def test_a_key_that_ends_in_the_episode_says_when_it_is_not_known_yet(tmp_path: Path) -> None:
    ticket = alert(source="desk")
    unknown = request_of(explained(tmp_path, ticket)).key
    assert unknown.field == "idempotency_key"
    assert unknown.note
    known = request_of(explained(tmp_path, replace(ticket, episode="e-1"))).key
    stored = request_of(explained(tmp_path, ticket, event="01J00000000000000000000000")).key
    assert (known.note, stored.note) == ("", "")
    assert known.text == f"ib1-{known.series[:40]}-{keys.episode('e-1', 'any event', 0)}"
    assert len({unknown.text, known.text, stored.text}) == 3


LISTS = {
    ("pd", "service"): (NamedThing(id="PSVC1", name="Postgres"), NamedThing(id="PSVC2", name="Catch-all")),
    ("pd", "priority"): (NamedThing(id="PPRI1", name="P1"),),
}


def test_the_request_is_byte_for_byte_what_a_worker_would_send(tmp_path: Path) -> None:
    rules = book(tmp_path)
    (decided,) = decide((alert(),), rules, DESTINATIONS)
    (decision,) = decided.decisions
    delivery = Delivery(
        id="any",
        incident="any",
        account="pd",
        action=Action.CREATE,
        key=keys.upstream_key(decision.key_rule, decision.series, None, "unused"),
        fields=decision.fields,
        names=decision.names,
        ids={"service": "PSVC1", "priority": "PPRI1"},
        notes=decision.notes,
        created_at=NOW,
    )
    sent = DESTINATIONS["pd"].request_for(delivery, {})
    shown = request_of(explained(tmp_path, alert(), lists=LISTS)).http
    assert (shown.method, shown.url, shown.body) == (sent.method, sent.url, sent.body)
    assert set(shown.headers) == set(sent.headers)


def test_a_name_the_upstream_lacks_is_served_by_its_fallback_and_the_incident_says_so(tmp_path: Path) -> None:
    lists = {**LISTS, ("pd", "service"): (NamedThing(id="PSVC2", name="Catch-all"),)}
    request = request_of(explained(tmp_path, alert(), lists=lists))
    assert {name.field: name.id for name in request.names} == {"service": "PSVC2", "priority": "PPRI1"}
    assert any("'Catch-all' serves instead" in note for note in request.notes)
    body = json.loads(request.http.body or b"")
    assert body["incident"]["service"]["id"] == "PSVC2"
    assert "'Catch-all' serves instead" in body["incident"]["body"]["details"]


def test_a_list_that_was_never_fetched_is_said_and_stays_out_of_the_body(tmp_path: Path) -> None:
    request = request_of(explained(tmp_path, alert()))
    assert [name.id for name in request.names] == [None, None]
    assert sum("is not known here" in note for note in request.notes) == 2
    assert b"not known here" not in (request.http.body or b"")


def test_no_credential_shows_anywhere(tmp_path: Path) -> None:
    for one in (alert(), alert(source="desk")):
        explanation = explained(tmp_path, one)
        assert TOKEN not in repr(explanation)
        assert TOKEN not in json.dumps(as_json(explanation))
        headers = request_of(explanation).http.headers
        assert headers["Authorization"].endswith(" [redacted]")


def test_a_shadow_rules_request_is_shown_as_one_that_is_never_sent(tmp_path: Path) -> None:
    quiet, live = explained(tmp_path, alert(labels=MappingProxyType({"team": "quiet"})), lanes=LANES).alerts[0].requests
    assert (quiet.rule, quiet.sent, quiet.wait) == ("quiet", False, None)
    assert (live.rule, live.sent) == ("lab", True)


def test_a_silence_that_hides_it_now_is_named_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    silence = Silence(
        id="s1", match={"source": "lab"}, starts_at=NOW, ends_at=NOW + hour, author="ops", reason="rack moves"
    )
    silencing = Silencing(matchers=(Matcher(silence=silence, conditions=()),))
    explanation = explained(tmp_path, alert(severity=Severity.ERROR), lanes=LANES, silencing=silencing)
    request = request_of(explanation)
    assert (request.sent, request.wait, request.silence) == (False, None, silence.sentence)
    assert f"(recorded, not sent: {silence.sentence})" in explanation.alerts[0].summary
    assert as_json(explanation)["alerts"][0]["requests"][0]["silence"] == silence.sentence
    over = Silencing(matchers=(Matcher(silence=replace(silence, ends_at=NOW), conditions=()),))
    assert request_of(explained(tmp_path, alert(severity=Severity.ERROR), silencing=over)).sent


def test_a_resolved_report_shows_the_key_of_the_report_that_fired(tmp_path: Path) -> None:
    fired = request_of(explained(tmp_path, alert()))
    explanation = explained(tmp_path, alert(status=Status.RESOLVED))
    over = request_of(explanation)
    assert over.key == fired.key
    assert (over.sent, over.wait) == (False, None)
    assert explanation.alerts[0].summary.startswith("resolved: follows the incidents it is a member of")


def test_a_notice_has_its_reason_and_no_rules(tmp_path: Path) -> None:
    one = explained(tmp_path, Notice(source="lab", source_type="generic", reason="a test message", payload={})).alerts[
        0
    ]
    assert one.summary == "no alert, so no rule is asked: a test message"
    assert (one.rules, one.nearest, one.requests) == ((), None, ())


# -- the wait

PACE = Pace(
    interval=timedelta(seconds=5),
    burst=4,
    reserve=1,
    update_interval=timedelta(seconds=1),
    promote_after=timedelta(seconds=60),
    give_up_after=timedelta(hours=24),
)
IDLE = LaneState(name="pd", create_tat=NOW, update_tat=NOW)


def lanes(state: LaneState | None, ahead: int = 0) -> dict[str, LaneView]:
    line = None if state is None else Line(state=state, ahead=dict.fromkeys(Severity, ahead))
    return {"pd": LaneView(lane="pd", rate="12/min", pace=PACE, line=line)}


LANES = lanes(IDLE)


def test_an_idle_lane_sends_at_once(tmp_path: Path) -> None:
    wait = request_of(explained(tmp_path, alert(), lanes=LANES)).wait
    assert wait is not None
    assert (wait.lane, wait.rate, wait.ahead, wait.eta_s) == ("pd", "12/min", 0, 0.0)
    assert wait.sentence == "at once, 0 before it"


def test_what_waits_before_it_costs_its_pace(tmp_path: Path) -> None:
    spent = replace(IDLE, create_tat=NOW + timedelta(seconds=20))  # the bucket is empty
    wait = request_of(explained(tmp_path, alert(), lanes=lanes(spent, ahead=8))).wait
    assert wait is not None
    assert wait.eta_s == 5 + 8 * 5  # the next token, and eight before it
    assert wait.sentence == "in about 45 s, 8 before it"


def test_a_paused_lane_has_no_time(tmp_path: Path) -> None:
    wait = request_of(explained(tmp_path, alert(), lanes=lanes(replace(IDLE, paused_at=NOW)))).wait
    assert wait is not None
    assert (wait.eta_s, wait.sentence) == (None, "paused by an operator; resume it to go on")


def test_without_a_ledger_the_lane_is_named_and_its_wait_unknown(tmp_path: Path) -> None:
    wait = request_of(explained(tmp_path, alert(), lanes=lanes(None))).wait
    assert wait is not None
    assert (wait.lane, wait.eta_s, wait.ahead) == ("pd", None, None)


# -- plain values


def test_the_plain_values_are_json_with_every_key_always_there(tmp_path: Path) -> None:
    full = as_json(explained(tmp_path, alert(), lists=LISTS, lanes=LANES))
    assert json.loads(json.dumps(full)) == full
    (one,) = full["alerts"]
    assert set(one) == {"alert", "summary", "rules", "rules_left_out", "nearest", "requests"}
    (request,) = one["requests"]
    assert json.loads(request["request"]["body"])["incident"]["priority"]["id"] == "PPRI1"
    assert request["lane"]["eta_s"] == 0.0
    assert {rule["rule"]: rule["verdict"] for rule in one["rules"]} == {
        "db": "matched",
        "tickets": "not_tried",
        "quiet": "not_tried",
        "lab": "not_tried",
        "late": "not_tried",
    }
    unmatched = as_json(explained(tmp_path, alert(source="tool", payload={})))["alerts"][0]
    assert set(unmatched) == set(one)
    assert unmatched["nearest"]["rule"] == "db"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def shared_book(tmp_path_factory: pytest.TempPathFactory) -> RuleBook:
    return book(tmp_path_factory.mktemp("book"))


@given(
    payload=_json,
    title=st.text(max_size=30),
    labels=st.dictionaries(st.sampled_from(["team", "env", "host", "x"]), st.text(max_size=10)),
    source=st.sampled_from(["lab", "tool", "desk", "gone"]),
    severity=st.none() | st.sampled_from(list(Severity)),
)
def test_any_alert_is_explained_as_it_is_decided(
    shared_book: RuleBook, payload: Any, title: str, labels: dict[str, str], source: str, severity: Severity | None
) -> None:
    one = alert(payload=payload, title=title, labels=MappingProxyType(labels), source=source, severity=severity)
    (decided,) = decide((one,), shared_book, DESTINATIONS)
    explanation = explain((one,), shared_book, DESTINATIONS, source=source, now=NOW)
    told = explanation.alerts[0]
    assert tuple(rule.rule for rule in told.rules if rule.verdict is Verdict.MATCHED) == decided.matched
    for rule in told.rules:
        assert (rule.held == rule.of) == (not rule.misses)
        assert rule.verdict is not Verdict.MATCHED or not rule.misses
    assert [request.key.series for request in told.requests] == [decision.series for decision in decided.decisions]
    json.dumps(as_json(explanation))
