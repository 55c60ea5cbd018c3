"""Kibana: bodies of any spelling, what identifies an alert of a rule, and summaries of many alerts."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.base import BasicAuth, NoAuth
from bridge.sources.elastic_kibana import ElasticKibana
from bridge.sources.generic import ALERTS_MAX
from tests.receiving import told_as_it_is

NOW = datetime(2026, 1, 5, tzinfo=UTC)
WORDS = st.from_regex(r"[a-z0-9:.-]{1,12}", fullmatch=True).filter(told_as_it_is)
RULE = "2c7e4f10-7d0a-11f0-9f4e-0b1d7a3f5e20"


def readings_of(body: Any) -> tuple[Any, ...]:
    webhook = Webhook(source="kb", headers={}, body=json.dumps(body).encode(), received_at=NOW)
    return ElasticKibana(name="kb", auth=NoAuth()).alerts_in(webhook)


def alert_of(**more: Any) -> Alert:
    told = {
        "rule_id": RULE,
        "rule_name": "CPU",
        "alert_id": "web-01",
        "alert_uuid": "u-1",
        "date": "2026-01-05T10:00:00Z",
    }
    (reading,) = readings_of({**told, "alert_action_group": "threshold.fired", **more})
    assert isinstance(reading, Alert)
    return reading


def listed(instance: str, **more: Any) -> dict[str, Any]:
    told = {"kibana.alert.rule.uuid": RULE, "kibana.alert.rule.name": "CPU", "kibana.alert.instance.id": instance}
    return {**told, "kibana.alert.uuid": f"u-{instance}", **more}


def summary(**lists: Any) -> tuple[Any, ...]:
    return readings_of({"date": "2026-01-05T10:00:00Z", "alerts": lists})


@given(first=WORDS, second=WORDS, other=WORDS)
def test_an_alert_is_one_problem_of_its_rule_until_it_has_recovered(first: str, second: str, other: str) -> None:
    fired = alert_of(alert_id=first)
    over = alert_of(alert_id=first, alert_action_group="recovered", reason="", date="2026-01-05T11:00:00Z")
    assert (fired.fingerprint, fired.episode) == (over.fingerprint, over.episode)
    assert alert_of(alert_id=first, alert_uuid="u-2").fingerprint == fired.fingerprint
    assert (alert_of(alert_id=second).fingerprint == fired.fingerprint) is (first == second)
    assert alert_of(alert_id=first, rule_id=other).fingerprint != fired.fingerprint
    assert alert_of(alert_id=first, space_id=other).fingerprint != fired.fingerprint


def test_the_uuid_is_the_episode() -> None:
    assert alert_of(alert_uuid="u-1").episode == "u-1" != alert_of(alert_uuid="u-2").episode
    assert alert_of(alert_uuid="").episode is None


@pytest.mark.parametrize(
    "body",
    [
        {"ruleId": RULE, "ruleName": "CPU", "alertId": "web-01", "alertActionGroup": "recovered"},
        {"rule": {"id": RULE, "name": "CPU"}, "alert": {"id": "web-01", "actionGroup": "recovered"}},
        {"rule.id": RULE, "rule.name": "CPU", "alert.id": "web-01", "alert.actionGroup": "recovered"},
        {"alertId": RULE, "alertName": "CPU", "alertInstanceId": "web-01", "alertActionGroup": "recovered"},
        {"payload": {"rule_id": RULE, "rule_name": "CPU", "alert_id": "web-01", "action_group": "recovered"}},
    ],
    ids=["camel case", "nested", "as the variables", "the older variables", "in a block"],
)
def test_a_body_may_spell_the_names_as_it_likes(body: dict[str, Any]) -> None:
    (alert,) = readings_of(body)
    assert (alert.status, alert.title) == (Status.RESOLVED, "CPU (web-01)")
    assert alert.fingerprint == alert_of().fingerprint


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"alert_action_group": "recovered"}, Status.RESOLVED),
        ({"alert_action_group": "Recovered"}, Status.RESOLVED),
        ({"alert_action_group": "uptime.monitor.recovered"}, Status.RESOLVED),
        ({"alert_action_group": "metrics.threshold.fired", "status": "ok"}, Status.FIRING),
        ({"alert_action_group": None, "status": "recovered"}, Status.RESOLVED),
        ({"alert_action_group": "", "status": "active", "event_type": "alert_fired"}, Status.FIRING),
        ({"alert_action_group": "", "event_type": "alert_recovered"}, Status.RESOLVED),
        ({"alert_action_group": "{{alert.actionGroup}}"}, Status.FIRING),
        ({"alert_action_group": "unrecovered"}, Status.FIRING),
    ],
)
def test_the_action_group_tells_the_state_and_only_without_one_other_words(
    told: dict[str, Any], status: Status
) -> None:
    assert alert_of(**told).status is status


@pytest.mark.parametrize(
    ("told", "severity"),
    [
        ({}, None),
        ({"severity": "critical"}, Severity.CRITICAL),
        ({"alert_action_group": "metrics.threshold.warning"}, Severity.WARNING),
        ({"alert_action_group": "slo.burnRate.high"}, Severity.ERROR),
        ({"alert_action_group": "metrics.threshold.warning", "severity": "low"}, Severity.INFO),
        ({"severity": ""}, None),
    ],
)
def test_severity_is_told_by_the_body_or_the_action_group(told: dict[str, Any], severity: Severity | None) -> None:
    assert alert_of(**told).severity is severity


def test_without_an_instance_the_uuid_tells_alerts_of_a_rule_apart() -> None:
    first, second = (alert_of(alert_id="", alert_uuid=uuid) for uuid in ("u-1", "u-2"))
    assert first.fingerprint != second.fingerprint
    assert alert_of(alert_id="", alert_uuid="").fingerprint.startswith("rule:")


@pytest.mark.parametrize(
    ("told", "title"),
    [
        ({}, "CPU (web-01)"),
        ({"rule_name": "CPU of web-01"}, "CPU of web-01"),
        ({"alert_id": "*"}, "CPU"),
        ({"alert_id": "query matched"}, "CPU"),
        ({"alert_id": RULE}, "CPU"),
        ({"rule_name": "", "reason": "much CPU on web-01"}, "much CPU on web-01"),
    ],
)
def test_the_title_is_the_rule_with_the_alert(told: dict[str, Any], title: str) -> None:
    assert alert_of(**told).title == title


@pytest.mark.parametrize("tags", ["team:web, prod", ["team:web", "prod"]])
def test_tags_become_labels(tags: Any) -> None:
    labels = alert_of(rule_tags=tags).labels
    assert (labels["team"], labels["prod"], labels["tags"]) == ("web", "true", "team:web,prod")


@pytest.mark.parametrize("as_text", [False, True])
def test_a_summary_is_one_reading_per_alert(as_text: bool) -> None:
    data = {"new": [listed("a")], "ongoing": [listed("b")], "recovered": [listed("c")]}
    lists = {name: {"count": 1, "data": json.dumps(one) if as_text else one} for name, one in data.items()}
    readings = summary(**lists)
    assert [reading.status for reading in readings] == [Status.FIRING, Status.FIRING, Status.RESOLVED]
    assert [reading.episode for reading in readings] == ["u-a", "u-b", "u-c"]
    assert len({reading.fingerprint for reading in readings}) == 3
    assert {reading.reported_at for reading in readings} == {datetime(2026, 1, 5, 10, tzinfo=UTC)}


def test_an_alert_is_the_same_problem_in_a_summary_and_alone() -> None:
    (reading,) = summary(new=[listed("web-01")])
    assert reading.fingerprint == alert_of().fingerprint


def test_the_nested_form_of_an_alert_is_read_too() -> None:
    flat, nested = summary(
        new=[
            listed("a"),
            {"kibana": {"alert": {"uuid": "u-a", "instance": {"id": "a"}, "rule": {"uuid": RULE, "name": "CPU"}}}},
        ]
    )
    assert (flat.fingerprint, flat.episode, flat.title) == (nested.fingerprint, nested.episode, nested.title)


def test_a_bad_alert_of_a_summary_never_spoils_the_others() -> None:
    first, bad, last = summary(new=[listed("a"), "cut off"], recovered=[listed("b")])
    assert isinstance(bad, Notice)
    assert (first.status, last.status) == (Status.FIRING, Status.RESOLVED)


@pytest.mark.parametrize("data", ["[", "[1", "no list", {}, None, 7])
def test_a_summary_that_cannot_be_read_still_pages(data: Any) -> None:
    (reading,) = readings_of({"rule": {"id": RULE, "name": "CPU"}, "alerts": {"new": {"count": 1, "data": data}}})
    assert isinstance(reading, Alert)
    assert reading.title == "CPU"


def counts(new: Any, ongoing: Any, recovered: Any, **more: Any) -> Any:
    told = {"new": {"count": new}, "ongoing": {"count": ongoing}, "recovered": {"count": recovered}}
    (reading,) = readings_of({"date": "2026-01-05T10:00:00Z", "alerts": told, **more})
    return reading


@pytest.mark.parametrize("about", [{"rule": {"id": RULE, "name": "CPU"}}, {"title": "CPU is busy"}])
@pytest.mark.parametrize(
    ("told", "status"),
    [
        ((3, 0, 0), Status.FIRING),
        (("0", "2", "1"), Status.FIRING),
        ((0, 0, 3), Status.RESOLVED),
        (("0", "0", "3"), Status.RESOLVED),
        ((None, 0, 3), Status.FIRING),
        (("{{alerts.new.count}}", 0, 3), Status.FIRING),
    ],
)
def test_a_summary_that_only_counts_ends_its_rules_problem_when_all_have_recovered(
    told: tuple[Any, Any, Any], status: Status, about: dict[str, Any]
) -> None:
    alert = counts(*told, **about)
    assert (alert.status, alert.fingerprint) == (status, counts(1, 0, 0, **about).fingerprint)
    assert alert.ends_at == (alert.reported_at if status is Status.RESOLVED else None)


@pytest.mark.parametrize("nothing", [0, "0", None])
def test_a_summary_that_counts_nothing_pages_nobody(nothing: Any) -> None:
    notice = counts(0, "0", nothing, rule={"id": RULE, "name": "CPU"})
    assert isinstance(notice, Notice)
    assert notice.reason == "the summary counts no alerts"


def test_a_summary_of_too_many_thousands_pages_for_as_many_as_one_request_may_hold() -> None:
    told = summary(new=[listed("a")] * ALERTS_MAX, ongoing=[listed("b")], recovered=[listed("c")])
    assert all(isinstance(alert, Alert) for alert in told[:ALERTS_MAX])
    (notice,) = told[ALERTS_MAX:]
    assert isinstance(notice, Notice)
    assert notice.reason.startswith("2 more alerts were not read")


def test_a_body_of_another_shape_still_pages() -> None:
    (alert,) = readings_of({"text": "cluster is red", "severity": "critical"})
    assert (alert.title, alert.severity) == ("cluster is red", Severity.CRITICAL)


def test_basic_credentials_of_the_connector_prove_the_sender() -> None:
    source = ElasticKibana(name="kb", auth=BasicAuth(username="kibana", passwords=("old", "new")))
    right = {"authorization": "Basic a2liYW5hOm5ldw=="}
    source.verify(Webhook(source="kb", headers=right, body=b"{}", received_at=NOW))
    with pytest.raises(SignatureError, match="wrong"):
        source.verify(
            Webhook(source="kb", headers={"authorization": "Basic a2liYW5hOm4="}, body=b"{}", received_at=NOW)
        )
