"""Zabbix: events, updates and recoveries, and the media type that is shipped, its script run as Zabbix runs it."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.reports import last_report, why_ignored
from bridge.sources.base import NoAuth
from bridge.sources.zabbix import Zabbix

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
NODE = shutil.which("node") or shutil.which("nodejs")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node here to run the media type's script")
(MEDIA_TYPE,) = yaml.safe_load((files("bridge.sources") / "templates" / "zabbix_media_type.yaml").read_text("utf-8"))[
    "zabbix_export"
]["media_types"]

HARNESS = """
const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const sent = {calls: [], headers: [], proxy: null};
function HttpRequest() {}
HttpRequest.prototype.addHeader = function (header) { sent.headers.push(header); };
HttpRequest.prototype.setProxy = function (proxy) { sent.proxy = proxy; };
HttpRequest.prototype.post = function (url, body) { sent.calls.push({url, body}); return given.answer; };
HttpRequest.prototype.getStatus = function () { return given.status; };
let result = null, thrown = null;
try { result = new Function('value', 'HttpRequest', given.script)(given.value, HttpRequest); }
catch (error) { thrown = String(error); }
console.log(JSON.stringify({...sent, result, thrown}));
"""  # Zabbix runs a script as the body of a function of `value`, with HttpRequest at hand


def reading_of(body: Any) -> Any:
    webhook = Webhook(
        source="zb", headers={}, body=json.dumps(body).encode(), received_at=datetime(2026, 1, 5, tzinfo=UTC)
    )
    (reading,) = Zabbix(name="zb", auth=NoAuth()).alerts_in(webhook)
    return reading


def alert_of(**body: Any) -> Alert:
    reading = reading_of({"event_id": "9", "event_value": "1", "event_name": "Disk is full", **body})
    assert isinstance(reading, Alert)
    return reading


@given(st.integers(1, 10**18), st.integers(1, 10**9), st.text(max_size=20), st.sampled_from(["event_id", "EVENT.ID"]))
def test_problem_update_and_recovery_of_one_event_are_one_problem(
    event: int, trigger: int, name: str, key: str
) -> None:
    shared = {"event_id": None, key: str(event), "trigger_id": trigger}
    began = alert_of(event_value="1", event_name=name, **shared)
    taken = alert_of(event_value="1", event_update_status="1", event_ack_status="Yes", **shared)
    ended = alert_of(event_value="0", event_name="renamed", **shared)
    assert [one.status for one in (began, taken, ended)] == [Status.FIRING, Status.ACKNOWLEDGED, Status.RESOLVED]
    assert began.fingerprint == taken.fingerprint == ended.fingerprint
    assert began.episode == ended.episode == str(event)


@given(st.lists(st.integers(1, 10**18), min_size=2, max_size=2, unique=True))
def test_two_events_of_one_trigger_are_two_problems(events: list[int]) -> None:
    first, second = (alert_of(event_id=event, trigger_id="5") for event in events)
    assert first.fingerprint != second.fingerprint
    assert first.labels["trigger_id"] == second.labels["trigger_id"] == "5"


@pytest.mark.parametrize(
    ("body", "fingerprint"),
    [
        ({"event_id": "9", "trigger_id": "5"}, "event:9"),
        ({"event_id": None, "link": "https://z/tr_events.php?triggerid=5&eventid=9"}, "event:9"),
        ({"event_id": "{EVENT.ID}", "trigger_id": "5"}, "trigger:5"),
        ({"event_id": "*UNKNOWN*", "link": "https://z/zabbix.php?triggerids%5B%5D=5"}, "trigger:5"),
        ({"event_id": None, "host": "db-1"}, "name:Disk is full:db-1"),
        ({"event_id": None}, "name:Disk is full:"),
    ],
)
def test_the_first_thing_that_identifies_the_problem_is_its_fingerprint(body: dict[str, Any], fingerprint: str) -> None:
    assert alert_of(**body).fingerprint == fingerprint


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"event_value": "1"}, Status.FIRING),
        ({"event_value": 1}, Status.FIRING),
        ({"event_value": "0"}, Status.RESOLVED),
        ({"event_value": 0, "event_status": "PROBLEM"}, Status.RESOLVED),
        ({"event_value": "1", "event_name": "Resolved: x"}, Status.FIRING),
        ({"event_value": None, "event_status": "RESOLVED"}, Status.RESOLVED),
        ({"event_value": None, "status": "OK"}, Status.RESOLVED),
        ({"event_value": None, "status": "PROBLEM", "event_name": "OK: x"}, Status.FIRING),
        ({"event_value": "{EVENT.VALUE}", "event_name": "Resolved in 1h 5m: x"}, Status.RESOLVED),
        ({"event_value": None, "event_name": "[RESOLVED] web - x"}, Status.RESOLVED),
        ({"event_value": None, "event_name": "Problem: x"}, Status.FIRING),
        ({"event_value": None, "value": "0"}, Status.FIRING),
        ({"event_value": None}, Status.FIRING),
        ({"event_value": "7"}, Status.FIRING),
    ],
)
def test_the_value_is_the_status_else_the_words_and_in_doubt_it_fires(body: dict[str, Any], status: Status) -> None:
    assert alert_of(**body).status is status


@pytest.mark.parametrize(
    ("update", "status"),
    [
        ({"event_update_action": "acknowledged"}, Status.ACKNOWLEDGED),
        ({"event_update_action": "acknowledged, commented"}, Status.ACKNOWLEDGED),
        ({"event_ack_status": "Yes"}, Status.ACKNOWLEDGED),
        ({"event_update_action": "unacknowledged", "event_ack_status": "No"}, Status.FIRING),
        ({"event_update_action": "changed severity from Warning to High", "event_ack_status": "Yes"}, Status.FIRING),
        ({"event_update_action": "commented and changed severity from Warning to High"}, Status.FIRING),
        ({"event_ack_status": "No"}, Status.FIRING),
        ({}, Status.FIRING),
    ],
)
def test_an_update_acknowledges_only_when_it_says_so(update: dict[str, str], status: Status) -> None:
    assert alert_of(event_update_status="1", **update).status is status


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"event_update_status": "1", "event_update_action": "commented", "event_ack_status": "Yes"}, "commented"),
        ({"event_update_status": "1", "event_update_action": "closed"}, "closed"),
        ({"event_source": "2"}, "autoregistration"),
        ({"event_source": "1", "event_value": "0"}, "discovery"),
    ],
)
def test_what_changes_no_state_is_a_notice_that_names_its_problem(body: dict[str, str], reason: str) -> None:
    reading = reading_of({"event_id": "9", "event_value": "1", "event_name": "Disk is full", **body})
    assert isinstance(reading, Notice)
    assert reason in reading.reason
    assert (reading.title, reading.fingerprint) == ("Disk is full", "event:9")


def posted(subject: str, *lines: str) -> Any:
    return reading_of({"To": "on-call", "Subject": subject, "Message": "\r\n".join(lines)})


@given(st.integers(1, 10**18), st.integers(1, 10**18))
def test_a_message_of_zabbix_own_templates_names_its_problem(first: int, second: int) -> None:
    about = ("Problem name: Disk is full", "Host: db-01", "Severity: High")
    problem, other = (
        posted("Problem: Disk is full", "Problem started at 09:00", *about, f"Original problem ID: {event}")
        for event in (first, second)
    )
    ended = posted("Resolved in 3m 2s: Disk is full", "It is over", *about, f"Original problem ID: {first}")
    assert (problem.status, problem.severity, problem.title) == (Status.FIRING, Severity.ERROR, "Disk is full (db-01)")
    assert (problem.labels["host"], problem.labels["event_id"]) == ("db-01", str(first))
    assert (ended.status, ended.fingerprint, ended.episode) == (Status.RESOLVED, problem.fingerprint, problem.episode)
    assert (other.fingerprint == problem.fingerprint) is (first == second)


def test_an_update_that_names_no_problem_is_a_notice() -> None:
    reading = posted("Updated problem in 4m: Disk is full", "A person acknowledged problem at 09:04.")
    assert isinstance(reading, Notice)
    assert "does not say of which problem" in reading.reason
    assert isinstance(reading_of({"subject": "Updated problem in 4m: Disk is full", "host": "db-01"}), Alert)


@pytest.mark.parametrize("body", [{"trigger_id": "7"}, {"host": "db-01"}, {"event_id": "7"}])
def test_a_field_counts_before_a_line_of_the_message(body: dict[str, str]) -> None:
    body = {**body, "subject": "Problem: Disk is full"}
    with_lines = reading_of({**body, "message": "Host: web-09\nOriginal problem ID: 9"})
    assert with_lines.fingerprint == reading_of(body).fingerprint


@pytest.mark.parametrize("line", ["Original problem ID: {EVENT.ID}", "Original problem ID: soon", "Host: db-01"])
def test_a_message_without_the_id_says_nothing_of_the_kind(line: str) -> None:
    assert posted("Problem: Disk is full", line).fingerprint == "name:Disk is full:"


def test_a_test_without_values_is_a_notice_and_another_shape_pages() -> None:
    test = reading_of({"event_id": "{EVENT.ID}", "event_name": "{EVENT.NAME}", "zabbix_url": "{$ZABBIX.URL}"})
    assert isinstance(test, Notice)
    assert "no macro" in test.reason
    assert isinstance(reading_of({}), Notice)
    assert isinstance(reading_of({"something": "else"}), Alert)


@pytest.mark.parametrize(
    ("body", "severity"),
    [
        ({"event_nseverity": "5"}, Severity.CRITICAL),
        ({"event_nseverity": "4", "event_severity": "Disaster"}, Severity.ERROR),
        ({"event_nseverity": "3"}, Severity.WARNING),
        ({"event_nseverity": 2}, Severity.WARNING),
        ({"event_nseverity": "1"}, Severity.INFO),
        ({"event_nseverity": "0", "event_severity": "Not classified"}, None),
        ({"event_nseverity": "{EVENT.NSEVERITY}", "event_severity": "Average"}, Severity.WARNING),
        ({"severity": "High"}, Severity.ERROR),
        ({"event_nseverity": "2", "event_update_nseverity": "5"}, Severity.CRITICAL),
        ({}, None),
    ],
)
def test_the_number_is_the_severity_else_the_word(body: dict[str, Any], severity: Severity | None) -> None:
    assert alert_of(**body).severity is severity


@pytest.mark.parametrize(
    ("name", "host", "title"),
    [
        ("Problem: Disk is full", "db-1", "Disk is full (db-1)"),
        ("Resolved in 5m: Disk is full", "db-1", "Disk is full (db-1)"),
        ("Updated problem in 2h 1m: Disk is full", None, "Disk is full"),
        ("[PROBLEM] DB-1 - Disk is full", "db-1", "DB-1 - Disk is full"),
        ("Problem:", None, "Problem:"),
        ("Problems with a: b", None, "Problems with a: b"),
        (None, "db-1", "Zabbix event 9 (db-1)"),
    ],
)
def test_the_title_is_the_name_of_the_problem_and_its_host(name: str | None, host: str | None, title: str) -> None:
    assert alert_of(event_name=name, host=host).title == title


@pytest.mark.parametrize("rest", ["acknowledged, commented and ", "acknowledged and ", "closed and ", ""])
def test_an_update_that_changes_the_severity_fires_with_the_new_one_whatever_else_it_did(rest: str) -> None:
    action = {"event_update_action": f"{rest}changed severity from Warning to Disaster", "event_ack_status": "Yes"}
    alert = alert_of(event_update_status="1", event_nseverity="2", event_update_nseverity="5", **action)
    assert (alert.status, alert.severity) == (Status.FIRING, Severity.CRITICAL)


def test_unix_times_are_used_and_local_ones_are_not() -> None:
    times = {"event_timestamp": "1767600000", "event_recovery_timestamp": "{EVENT.RECOVERY.TIMESTAMP}"}
    began = alert_of(**times)
    assert began.reported_at == began.starts_at == datetime(2026, 1, 5, 8, tzinfo=UTC)
    ended = alert_of(**{**times, "event_value": "0", "event_recovery_timestamp": "1767600120"})
    assert ended.reported_at == datetime(2026, 1, 5, 8, 2, tzinfo=UTC)
    assert ended.ends_at == ended.reported_at
    assert alert_of(event_date="2026.01.05", event_time="08:00:00").reported_at is None
    assert alert_of(event_value="0", event_timestamp="1767600000").reported_at is None


@pytest.mark.parametrize("action", ["acknowledged", "changed severity from Warning to High", ""])
def test_an_update_does_not_make_a_recovery_stale_that_a_proxy_measured_before_it(action: str) -> None:
    began = alert_of(event_timestamp="1767600000")
    update = {"event_update_status": "1", "event_update_action": action, "event_update_timestamp": "1767600600"}
    updated = alert_of(event_timestamp="1767600000", **update)
    ended = alert_of(event_value="0", event_timestamp="1767600000", event_recovery_timestamp="1767600540")
    last = None
    for report in (began, updated, ended):
        assert why_ignored(report, last, NOW) is None
        last = last_report(report, NOW)
    for late in (began, updated):
        assert "stale" in (why_ignored(late, last, NOW) or "")


@pytest.mark.parametrize(
    ("tags", "labels"),
    [
        ('[{"tag":"team","value":"db"},{"tag":"vip","value":""}]', {"team": "db", "vip": "true"}),
        ([{"tag": "team", "value": "db"}, "vip", 5, {"value": "x"}], {"team": "db", "vip": "true"}),
        ("team:db, vip", {"team": "db", "vip": "true"}),
        ('[{"tag":"host","value":"mine"}]', {"host": "mine"}),
        ('[{"tag":"te', {}),
        ("[" * 5_000, {}),
        ("[]", {}),
        ("", {}),
    ],
)
def test_tags_become_labels_in_either_form(tags: Any, labels: dict[str, str]) -> None:
    assert dict(alert_of(event_tagsjson=tags).labels) == {**labels, "event_id": "9"}


def of_rootly(state: str, severity: str = "medium") -> Any:
    page = "https://zabbix.example.com/tr_events.php?triggerid=7&eventid=9"
    named = {"firing": "db-01 is Disk is full", "resolved": "db-01 has been Resolved in 4m: Disk is full"}[state]
    told = {"alert_id": "9", "alert_name": named, "severity": severity, "state": state, "host": "db-01"}
    return reading_of({**told, "trigger_id": "7", "event_tags": "team:db", "acknowledged": "No", "event_url": page})


def test_what_rootlys_media_type_posts_recovers_and_has_its_name() -> None:
    problem, ended = of_rootly("firing"), of_rootly("resolved")
    assert (problem.status, problem.title) == (Status.FIRING, "db-01 is Disk is full")
    assert (ended.status, ended.fingerprint) == (Status.RESOLVED, problem.fingerprint)


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("critical", Severity.CRITICAL),
        ("high", Severity.ERROR),
        ("medium", Severity.WARNING),
        ("low", Severity.WARNING),
        ("info", Severity.INFO),
    ],
)
def test_rootlys_media_type_has_words_of_its_own_for_the_severity(word: str, severity: Severity) -> None:
    assert of_rootly("firing", word).severity is severity


def test_the_media_type_of_event_driven_ansible_posts_tags_and_groups_taken_apart() -> None:
    tags = {"scope": ["capacity"], "team": ["db", "ops"], "vip": [""]}
    labels = alert_of(event_id=9, event_value=1, event_tags=tags, host_groups=["Linux", "Databases"]).labels
    assert (labels["scope"], labels["team"], labels["vip"]) == ("capacity", "db,ops", "true")
    assert labels["host_groups"] == "Linux,Databases"


def test_a_link_leads_to_the_event_in_the_frontend() -> None:
    alert = alert_of(zabbix_url="https://z.example.com/", trigger_id="5", trigger_url="javascript:alert(1)")
    assert [link.href for link in alert.links] == ["https://z.example.com/tr_events.php?triggerid=5&eventid=9"]
    assert alert_of(zabbix_url="{$ZABBIX.URL}", trigger_id="5").links == ()


MACROS = {
    "{$BRIDGE.URL}": "https://bridge.example.com/webhooks/zabbix",
    "{$BRIDGE.TOKEN}": "a-long-secret",
    "{$ZABBIX.URL}": "https://z.example.com",
    "{EVENT.ID}": "9",
    "{EVENT.SOURCE}": "0",
    "{EVENT.VALUE}": "1",
    "{EVENT.NAME}": 'Disk "C:\\" is full',
    "{EVENT.NSEVERITY}": "5",
    "{EVENT.SEVERITY}": "Disaster",
    "{EVENT.TAGSJSON}": '[{"tag":"team","value":"db"}]',
    "{EVENT.TIMESTAMP}": "1767600000",
    "{EVENT.UPDATE.STATUS}": "0",
    "{EVENT.ACK.STATUS}": "No",
    "{TRIGGER.ID}": "5",
    "{HOST.HOST}": "db-1",
    "{HOST.NAME}": "db-1",
    "{ALERT.SUBJECT}": 'Problem: Disk "C:\\" is full',
    "{ALERT.MESSAGE}": "Started: 2026.01.05 09:00:00\r\n",
}
RECOVERED = {"{EVENT.VALUE}": "0", "{EVENT.RECOVERY.TIMESTAMP}": "1767600600"}
ACKNOWLEDGED = {"{EVENT.UPDATE.STATUS}": "1", "{EVENT.UPDATE.ACTION}": "acknowledged", "{EVENT.ACK.STATUS}": "Yes"}


def parameters(**macros: str) -> dict[str, str]:
    """The media type's parameters as its script gets them: a macro without a value stays as it is written."""
    return {one["name"]: macros.get(one["value"], one["value"]) for one in MEDIA_TYPE["parameters"]}


def run_script(given: dict[str, str], status: int = 202, answer: str = "{}") -> Any:
    assert NODE is not None
    stdin = json.dumps({"script": MEDIA_TYPE["script"], "value": json.dumps(given), "status": status, "answer": answer})
    ran = subprocess.run([NODE, "-e", HARNESS], input=stdin, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(ran.stdout)


def test_the_shipped_media_type_is_what_zabbix_imports() -> None:
    assert MEDIA_TYPE["type"] == "WEBHOOK"
    names = [one["name"] for one in MEDIA_TYPE["parameters"]]
    assert len(names) == len(set(names))
    values = [one["value"] for one in MEDIA_TYPE["parameters"] if one["value"]]
    assert all(re.fullmatch(r"\{\$?[A-Z.]+\}", value) for value in values)
    assert not re.search(r"\b(let|const|=>|class|async)\b", MEDIA_TYPE["script"])  # Zabbix runs ECMAScript 5
    modes = {(one["event_source"], one["operation_mode"]) for one in MEDIA_TYPE["message_templates"]}
    assert {("TRIGGERS", mode) for mode in ("PROBLEM", "RECOVERY", "UPDATE")} <= modes
    assert 1 <= int(MEDIA_TYPE["attempts"]) <= 100
    assert 1 <= int(MEDIA_TYPE["timeout"].removesuffix("s")) <= 60


def test_the_parameters_of_the_shipped_media_type_are_all_the_source_needs() -> None:
    began, taken, ended = (reading_of(parameters(**MACROS | more)) for more in ({}, ACKNOWLEDGED, RECOVERED))
    assert [one.status for one in (began, taken, ended)] == [Status.FIRING, Status.ACKNOWLEDGED, Status.RESOLVED]
    assert began.fingerprint == taken.fingerprint == ended.fingerprint == "event:9"
    assert began.title == 'Disk "C:\\" is full (db-1)'
    assert (began.severity, began.labels["team"]) == (Severity.CRITICAL, "db")
    assert ended.reported_at == datetime(2026, 1, 5, 8, 10, tzinfo=UTC)


@needs_node
def test_the_shipped_script_posts_what_the_source_reads_and_keeps_the_token_out_of_the_body() -> None:
    ran = run_script(parameters(**MACROS))
    assert (ran["result"], ran["thrown"], ran["proxy"]) == ("OK", None, None)
    (call,) = ran["calls"]
    assert call["url"] == "https://bridge.example.com/webhooks/zabbix"
    assert ran["headers"] == ["Content-Type: application/json", "Authorization: Bearer a-long-secret"]
    assert "a-long-secret" not in call["body"]
    alert = reading_of(json.loads(call["body"]))
    assert (alert.fingerprint, alert.status, alert.severity) == ("event:9", Status.FIRING, Severity.CRITICAL)
    assert alert.links[0].href == "https://z.example.com/tr_events.php?triggerid=5&eventid=9"


@needs_node
@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 404, 429, 500, 503, 0])
def test_the_shipped_script_throws_on_anything_but_202(status: int) -> None:
    ran = run_script(parameters(**MACROS), status, "not stored; " + "send it again " * 100)
    assert ran["result"] is None
    assert f"HTTP {status}, expected 202" in ran["thrown"]
    assert len(ran["thrown"]) < 300
    assert "a-long-secret" not in ran["thrown"]


@needs_node
@pytest.mark.parametrize(("macro", "parameter"), [("{$BRIDGE.URL}", "bridge_url"), ("{$BRIDGE.TOKEN}", "bridge_token")])
def test_the_shipped_script_names_the_macro_that_is_not_set_and_posts_nothing(macro: str, parameter: str) -> None:
    """Nor is any set in a test, for which Zabbix passes the parameters as they are written."""
    ran = run_script(parameters(**{name: value for name, value in MACROS.items() if name != macro}))
    assert macro in ran["thrown"]
    assert f"into {parameter} there" in ran["thrown"]
    assert ran["calls"] == []


@needs_node
def test_a_test_with_address_and_secret_written_out_is_taken_and_pages_nobody() -> None:
    names = {"bridge_url": "https://bridge.example.com/webhooks/zabbix", "bridge_token": "a-long-secret"}
    (call,) = run_script({**parameters(), **names})["calls"]
    assert "no macro is filled" in reading_of(json.loads(call["body"])).reason


@needs_node
def test_the_shipped_script_goes_through_a_proxy_when_there_is_one() -> None:
    given = {**parameters(**MACROS), "http_proxy": "http://proxy.example.com:3128"}
    assert run_script(given)["proxy"] == "http://proxy.example.com:3128"
