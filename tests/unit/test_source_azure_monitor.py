"""Azure Monitor: what each of its schemas identifies an alert by, and when it is over."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.azure_monitor import AzureMonitor
from bridge.sources.base import NoAuth, QueryAuth

NOW = datetime(2026, 1, 5, tzinfo=UTC)
ALERTS = "/subscriptions/s1/providers/Microsoft.AlertsManagement/alerts/"
VM = "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm-1"
UUIDS = st.uuids().map(str)


def reading_of(body: Any) -> Any:
    webhook = Webhook(source="az", headers={}, body=json.dumps(body).encode(), received_at=NOW)
    (reading,) = AzureMonitor(name="az", auth=NoAuth()).alerts_in(webhook)
    return reading


def alert_of(body: Any) -> Alert:
    reading = reading_of(body)
    assert isinstance(reading, Alert)
    return reading


def common(condition: str | None = "Fired", context: Any = None, **essentials: Any) -> Any:
    told = {
        "alertId": ALERTS + "a1", "alertRule": "slow", "severity": "Sev1", "monitorCondition": condition,
        "alertTargetIDs": [VM], "configurationItems": ["vm-1"], "firedDateTime": "2026-01-05T10:00:00.1234567Z",
    }  # fmt: skip
    data = {"essentials": {**told, **essentials}, "alertContext": context or {}, "customProperties": None}
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": data}


def metric(status: str = "Activated", *, dimensions: Any = (), resource: str = VM, **context: Any) -> Any:
    parts = [{"metricName": "CPU", "operator": "GreaterThan", "threshold": "9", "dimensions": list(dimensions)}]
    told = {"id": "/rules/R1", "name": "R1", "resourceId": resource, "condition": {"allOf": parts}, **context}
    return {"schemaId": "AzureMonitorMetricAlert", "data": {"version": "2.0", "status": status, "context": told}}


def health(operation: str, status: str, **properties: Any) -> dict[str, Any]:
    return {"operationName": operation, "status": status, "level": "Warning", "properties": properties}


def activity(log: dict[str, Any]) -> Any:
    data = {"status": "Activated", "context": {"activityLog": log}, "properties": {}}
    return {"schemaId": "Microsoft.Insights/activityLogs", "data": data}


@given(first=UUIDS, second=UUIDS)
def test_an_alert_instance_is_one_problem_when_it_fires_and_resolves_and_no_other_is(first: str, second: str) -> None:
    fired = alert_of(common("Fired", alertId=ALERTS + first))
    resolved = alert_of(common("Resolved", alertId=(ALERTS + first).upper()))
    assert (fired.status, resolved.status) == (Status.FIRING, Status.RESOLVED)
    assert (fired.fingerprint, fired.episode) == (resolved.fingerprint, resolved.episode)
    other = alert_of(common("Fired", alertId=ALERTS + second))
    assert (other.fingerprint == fired.fingerprint) is (first == second)
    assert (other.episode == fired.episode) is (first == second)


def test_a_fired_alert_that_carries_a_resolved_time_tells_its_fired_time() -> None:
    times = {"firedDateTime": "2026-01-05T10:00:00Z", "resolvedDateTime": "2026-01-05T11:00:00.7654321Z"}
    fired, resolved = alert_of(common("Fired", **times)), alert_of(common("Resolved", **times))
    assert fired.reported_at == fired.starts_at == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert fired.ends_at is None
    assert resolved.reported_at == resolved.ends_at == datetime(2026, 1, 5, 11, 0, 0, 765432, tzinfo=UTC)


@pytest.mark.parametrize("condition", ["Fired", "fired", "Something new", "", None])
def test_in_doubt_it_fires(condition: str | None) -> None:
    assert alert_of(common(condition)).status is Status.FIRING


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        ("Sev0", Severity.CRITICAL),
        ("Sev1", Severity.ERROR),
        ("sev2", Severity.WARNING),
        ("Sev3", Severity.INFO),
        ("Sev4", Severity.INFO),
        (0, Severity.CRITICAL),
        ("", None),
        (None, None),
    ],
)
def test_severity_is_the_rules(severity: Any, expected: Severity | None) -> None:
    assert alert_of(common(severity=severity)).severity is expected
    assert alert_of(metric(severity=severity)).severity is expected


def test_without_an_alert_id_rule_and_resource_identify_an_alert() -> None:
    assert alert_of(common(alertId=None, originAlertId="O-1")).fingerprint == "origin:o-1"
    nameless = [alert_of(common(alertId="", alertTargetIDs=[target])).fingerprint for target in (VM, VM.upper(), "/b")]
    assert nameless[0] == nameless[1] != nameless[2]


def test_labels_are_properties_then_labels_then_dimensions_then_facts() -> None:
    context = {
        "labels": {"pod": "cart", "team": "from prometheus"},
        "condition": {"allOf": [{"dimensions": [{"name": "Instance", "value": "i1"}]}]},
    }
    body = common(context=context)
    body["data"]["customProperties"] = {"team": "shop", "note": None}
    labels = dict(alert_of(body).labels)
    assert (labels["team"], labels["pod"], labels["Instance"], labels["resource_group"]) == ("shop", "cart", "i1", "rg")
    assert "note" not in labels


@pytest.mark.parametrize(
    ("status", "expected"),
    [("Activated", Status.FIRING), ("Resolved", Status.RESOLVED), ("Deactivated", Status.RESOLVED)],
)
def test_an_older_metric_alert_tells_its_status(status: str, expected: Status) -> None:
    assert alert_of(metric(status)).status is expected
    classic = {"status": status, "context": {"id": "/rules/R1", "name": "R1", "condition": {"metricName": "CPU"}}}
    assert alert_of(classic).status is expected


@given(first=UUIDS, second=UUIDS)
def test_each_time_series_of_an_older_metric_rule_is_a_problem_of_its_own(first: str, second: str) -> None:
    def series(status: str, value: str, **more: Any) -> Alert:
        dimensions = [{"name": "Disk", "value": "C"}, {"name": "Host", "value": value}]
        return alert_of(metric(status, dimensions=dimensions[:: more.pop("step", 1)], **more))

    fired = series("Activated", first, timestamp="2026-01-05T10:00:00Z")
    over = series("Deactivated", first, timestamp="2026-01-05T11:00:00Z", resource=VM.lower(), step=-1)
    assert fired.fingerprint == over.fingerprint
    assert (series("Activated", second).fingerprint == fired.fingerprint) is (first == second)
    assert series("Activated", first, resource=VM + "0").fingerprint != fired.fingerprint


@pytest.mark.parametrize(
    ("status", "stage", "expected"),
    [
        ("Active", "Active", Status.FIRING),
        ("Active", "Planned", Status.FIRING),
        ("Active", "InProgress", Status.FIRING),
        ("Active", "Canceled", Status.RESOLVED),
        ("Resolved", "Resolved", Status.RESOLVED),
        ("Resolved", "RCA", Status.RESOLVED),
        ("Active", "RCA", Status.RESOLVED),
        ("Resolved", "Complete", Status.RESOLVED),
    ],
)
def test_the_updates_of_a_service_issue_are_one_problem_in_both_schemas(
    status: str, stage: str, expected: Status
) -> None:
    log = health("Microsoft.ServiceHealth/incident/action", status, trackingId="QN4-J98", stage=stage, title="SQL")
    old, new = alert_of(activity(log)), alert_of(common("Fired", context=log, alertId=ALERTS + stage))
    assert old.status is new.status is expected
    assert old.fingerprint == new.fingerprint == "service-health:qn4-j98"
    assert (old.episode, new.episode) == (None, None)
    assert (old.title, new.title) == ("SQL", "SQL")


def test_the_health_of_a_resource_is_one_problem_in_both_schemas() -> None:
    for word, status in (("Activated", Status.FIRING), ("Updated", Status.FIRING), ("Resolved", Status.RESOLVED)):
        log = health(f"Microsoft.Resourcehealth/healthevent/{word}/action", "Active", title="down")
        old, new = alert_of(activity({**log, "resourceId": VM})), alert_of(common("Fired", context=log))
        assert old.status is new.status is status
        assert old.fingerprint == new.fingerprint == f"resource-health:{VM.lower()}"


@pytest.mark.parametrize(
    ("now", "status"),
    [("Available", Status.RESOLVED), ("Degraded", Status.FIRING), ("Unknown", Status.FIRING), (None, Status.FIRING)],
)
def test_an_update_on_a_resource_that_is_available_again_fires_nothing(now: Any, status: Status) -> None:
    log = health("Microsoft.Resourcehealth/healthevent/Updated/action", "Updated", currentHealthStatus=now)
    assert alert_of(common("Fired", context=log)).status is status
    assert alert_of(activity({**log, "resourceId": VM})).status is status


def test_the_steps_of_one_operation_are_one_problem_and_two_operations_are_two() -> None:
    def step(status: str, correlation: str) -> str:
        log = {"operationName": "VM/delete", "resourceId": VM, "correlationId": correlation, "status": status}
        return alert_of(activity(log)).fingerprint

    assert step("Started", "c1") == step("Succeeded", "c1") != step("Started", "c2")


def test_an_older_log_alert_always_fires_and_is_known_by_its_rule_and_dimensions() -> None:
    def log(computer: str, count: int) -> Alert:
        dimensions = [{"name": "Computer", "value": computer}]
        told = {"AlertRuleName": "quiet", "ResultCount": count, "Severity": "Warning", "Dimensions": dimensions}
        return alert_of({"schemaId": "Microsoft.Insights/LogAlert", "data": told})

    assert (log("a", 1).status, log("a", 1).severity) == (Status.FIRING, Severity.WARNING)
    assert log("a", 1).fingerprint == log("a", 2).fingerprint != log("b", 1).fingerprint


def test_an_older_log_alert_comes_with_its_schema_or_without() -> None:
    def log(end: str) -> dict[str, Any]:
        told = {"AlertRuleName": "quiet", "WorkspaceId": "w-1", "Severity": "1", "Description": "Nobody reports."}
        return {**told, "SearchQuery": "Heartbeat", "SearchIntervalEndtimeUtc": end, "ResultCount": len(end)}

    bare, later = (alert_of(log(f"2026-01-05T10:0{minute}:00Z")) for minute in (0, 5))
    assert bare.fingerprint == later.fingerprint
    assert bare.fingerprint == alert_of({"schemaId": "Microsoft.Insights/LogAlert", "data": log("x")}).fingerprint
    assert (bare.title, bare.severity, bare.status) == ("quiet", Severity.ERROR, Status.FIRING)
    assert bare.reported_at == datetime(2026, 1, 5, 10, tzinfo=UTC)


def test_autoscale_reports_no_problem() -> None:
    reading = reading_of({"status": "Activated", "operation": "Scale Out", "context": {"name": "as1"}})
    assert isinstance(reading, Notice)


def test_a_schema_nobody_knows_pages_under_its_name() -> None:
    alert = alert_of({"schemaId": "AIP Budget Notification", "data": {"BudgetName": "shop", "Budget": "50"}})
    assert (alert.status, alert.title) == (Status.FIRING, "AIP Budget Notification (shop)")
    assert alert.description == "BudgetName: shop\nBudget: 50"


def test_a_budget_of_the_common_schema_is_titled_with_its_name() -> None:
    about = {"BudgetName": "shop", "ThresholdType": "Forecasted", "NotificationThresholdAmount": "$50.00"}
    alert = alert_of(
        {
            "schemaId": "azureMonitorCommonAlertSchema",
            "data": {
                "essentials": {
                    "alertId": "/subscriptions/s/providers/Microsoft.CostManagement/alerts/a-1",
                    "alertRule": None,
                    "monitoringService": "CostAlerts",
                    "monitorCondition": "Fired",
                    "configurationItems": ["budgets"],
                },
                "alertContext": {"AlertCategory": "budgets", "AlertData": about},
            },
        }
    )
    assert (alert.status, alert.title) == (Status.FIRING, "Budget shop (Forecasted)")
    assert (alert.labels["budget"], alert.labels["threshold"]) == ("shop", "$50.00")


def test_a_secret_in_the_address_proves_the_sender() -> None:
    source = AzureMonitor(name="az", auth=QueryAuth(parameter="token", secrets=("old", "new")))
    source.verify(Webhook(source="az", headers={}, body=b"{}", received_at=NOW, query={"token": "new"}))
    with pytest.raises(SignatureError, match="token wrong"):
        source.verify(Webhook(source="az", headers={}, body=b"{}", received_at=NOW, query={"token": "x"}))
