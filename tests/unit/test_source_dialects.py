"""Senders that the generic source knows by their own names: what fires, what ends it, and what is another problem."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.sources.base import NoAuth
from bridge.sources.generic import Generic


def readings_of(body: Any) -> tuple[Any, ...]:
    webhook = Webhook(
        source="lab", headers={}, body=json.dumps(body).encode(), received_at=datetime(2026, 1, 5, tzinfo=UTC)
    )
    return Generic(name="lab", auth=NoAuth()).alerts_in(webhook)


def reading_of(body: Any) -> Any:
    (reading,) = readings_of(body)
    return reading


def alert_of(body: Any) -> Alert:
    reading = reading_of(body)
    assert isinstance(reading, Alert)
    return reading


def updown(event: str, token: str = "u1", **told: Any) -> Any:
    check = {"token": token, "url": "https://shop.example.com", "alias": None, "uptime": 99.9, "period": 30, **told}
    return [{"event": f"check.{event}", "check": check, "downtime": {"started_at": "2026-01-05T10:00:00Z", **told}}]


def hyperping(event: str, url: str = "https://shop.example.com", **told: Any) -> Any:
    check = {"url": url, "status": 502, "down": True, "date": 1767607200000, "downtime": 1, **told}
    return {"event": f"check.{event}", "check": check, "pings": [{"location": "rome", "status": 502}]}


def hetrix(status: str, monitor: str = "m" * 32, **told: Any) -> Any:
    named = {"monitor_id": monitor, "monitor_name": "Shop", "monitor_target": "https://shop.example.com/"}
    return {**named, "monitor_type": "website", "monitor_status": status, "timestamp": 1767607200, **told}


def hetrix_usage(resource: str, usage: str = "97.00") -> Any:
    used = {"resource_type": resource, "current_usage": usage, "average_usage": "95.00", "average_minutes": "3"}
    return {"monitor_id": "m" * 32, "monitor_name": "Shop", "timestamp": 1767607200, "resource_usage": used}


def hetrix_blacklist(now: str, address: str = "192.0.2.7") -> Any:
    listed = [{"rbl": "list.example.org"}] if now != "0" else None
    return [
        {"monitor": address, "label": "", "blacklisted_before": "1", "blacklisted_now": now, "blacklisted_on": listed}
    ]


def uptimerobot(kind: str, monitor: str = "77", **told: Any) -> Any:
    words = {"1": "Down", "2": "Up", "3": "SSL expiry"}
    named = {"monitorID": monitor, "monitorURL": "https://shop.example.com", "monitorFriendlyName": "Shop"}
    return {**named, "alertType": kind, "alertTypeFriendlyName": words[kind], "alertDetails": "HTTP 503", **told}


def pulsetic(event: str, monitor: int = 7, **told: Any) -> Any:
    return {"alert_type": event, "monitor": {"id": monitor, "url": "https://shop.example.com"}, **told}


def sixty_six(is_ok: Any, monitor: str = "14", kind: str = "website") -> Any:
    return {"monitor_id": monitor, "name": "Shop", "type": kind, "target": "https://shop.example.com", "is_ok": is_ok}


def uptime_com(event: str, service: int = 71, *, report: int = 1) -> Any:
    raised = event == "alert_raised"
    output = "PING CRITICAL - loss 100 %" if raised else "PING OK - loss 0 %"
    alert = {"id": report, "state": "CRITICAL" if raised else "OK", "output": output, "is_up": not raised}
    told = {"service": {"id": service, "name": "shop", "display_name": "Shop"}, "alert": alert, "locations": ["Rome"]}
    return {"data": {**told, "global_alert_state": {"id": 10 * report, "state_is_up": not raised}}, "event": event}


def uptime_observer(status: str, incident: int = 5) -> Any:
    told = {"incident_id": incident, "title": "Shop is down", "description": "Socket Timeout", "monitor_name": "Shop"}
    return {**told, "monitor_id": 9, "incident_status": status, "incident_url": "https://observer.example.com/i/5"}


def freshping(state: str, check: int = 58, *, report: int = 1) -> Any:
    told = {"check_state_name": state, "check_id": check, "check_name": "Shop", "http_status_code": 200 + report}
    return {"webhook_event_id": report, "webhook_type": "AL", "webhook_event_data": told}


def snitch(event: str, token: str = "c0ffee", status: str = "missing") -> Any:
    told = {"token": token, "name": "Nightly backup", "notes": "Ask the night shift", "tags": ["db"], "status": status}
    return {"type": f"snitch.{event}", "timestamp": "2026-01-05T10:00:00Z", "data": {"snitch": told}}


def rollbar(event: str, item: int = 27, *, seen: int = 1) -> Any:
    last = {"level": "critical", "timestamp": 1767607200 + seen, "uuid": f"u{seen}"}
    told = {"id": item, "title": "KeyError: cart", "status": 1, "level": 50, "total_occurrences": seen}
    return {"event_name": event, "data": {"item": {**told, "environment": "production", "last_occurrence": last}}}


def airbrake(error: int = 37, *, seen: int = 1) -> Any:
    told = {"id": error, "error_message": "KeyError: cart", "error_class": "KeyError", "times_occurred": seen}
    notice = {"id": 450 + seen, "request_url": "https://shop.example.com/cart"}
    return {"error": {**told, "last_notice": notice}, "airbrake_error_url": f"https://airbrake.example.com/{error}"}


def raygun(event: str, error: str = "e1", **told: Any) -> Any:
    kind = "error_activity" if "status" in told or "comment" in told else "error_notification"
    about = {"url": f"https://raygun.example.com/{error}", "message": "KeyError: cart", **told}
    return {"event": kind, "eventType": event, "error": about, "application": {"name": "Shop"}}


def honeybadger(event: str, of: str, own: Any = 80, **told: Any) -> Any:
    project = {"id": 85, "name": "Shop", "fault_count": len(told), "active": True}
    return {"event": event, "message": f"[Shop] {of} {own}", "project": project, of: {"id": own, **told}}


def auvik(status: str, correlation: str = "c1", *, report: str = "r1") -> Any:
    told = {"alertName": "Device offline", "alertId": report, "entityName": "switch-1", "alertSeverity": 1}
    number = {"Triggered": 0, "Cleared": 1}[status]
    named = {"alertStatus": number, "alertStatusString": status, "alertSeverityString": "Emergency"}
    return {**told, **named, "correlationId": correlation, "date": "2026-01-05T10:00:00.000Z"}


def appoptics(alert: int = 63, **told: Any) -> Any:
    return {
        "alert": {"id": alert, "name": "cpu.high", "version": 2},
        "account": "ops",
        "trigger_time": 1767607200,
        **told,
    }


def papertrail(search: int = 39, *, seen: int = 1) -> Any:
    saved = {"id": search, "name": "Panics", "query": "panic", "html_search_url": "https://papertrail.example.com/39"}
    return {"saved_search": saved, "events": [{"id": seen, "message": "panic"}], "max_id": str(seen)}


def netlify(state: str, branch: str = "main", *, deploy: str = "d1", title: str | None = None) -> Any:
    told = {"id": deploy, "site_id": "s1", "build_id": f"b-{deploy}", "name": "shop", "context": "production"}
    return {**told, "state": state, "branch": branch, "deploy_ssl_url": f"https://{deploy}.example.com", "title": title}


def squadcast(event: str, incident: str = "i1") -> Any:
    about = {"id": f"{incident}-{event}", "type": f"incident.{event}", "resource": "incident"}
    told = {"id": incident, "message": "Shop is down", "status": event, "service": {"id": "s", "name": "Shop"}}
    return {"version": "v2", "event": about, "data": {"resource_data": told}}


@pytest.mark.parametrize(
    ("first", "again", "ends", "other", "title"),
    [
        (
            updown("down", last_status=503),
            updown("still_down", last_status=504),
            updown("up", last_status=200, ended_at="2026-01-05T10:09:00Z"),
            updown("down", "u2"),
            "https://shop.example.com",
        ),
        (
            updown("ssl_invalid"),
            updown("ssl_invalid", error="expired"),
            updown("ssl_valid"),
            updown("down"),
            "https://shop.example.com",
        ),
        (
            hyperping("down"),
            hyperping("down", date=1767607260000, downtime=2),
            hyperping("up", status=200, down=False),
            hyperping("down", "https://other.example.com"),
            "https://shop.example.com",
        ),
        (
            hetrix("offline", monitor_errors={"Rome": "timeout"}),
            hetrix("offline", timestamp=1767607300),
            hetrix("online", timestamp=1767607400),
            hetrix("offline", "n" * 32),
            "Shop",
        ),
        (
            hetrix_blacklist("1"),
            hetrix_blacklist("2"),
            hetrix_blacklist("0"),
            hetrix_blacklist("1", "192.0.2.8"),
            "192.0.2.7",
        ),
        (uptimerobot("1"), uptimerobot("1", alertDuration="60"), uptimerobot("2"), uptimerobot("1", "78"), "Shop"),
        (
            pulsetic("monitor_offline"),
            pulsetic("monitor_offline"),
            pulsetic("monitor_online"),
            pulsetic("monitor_offline", 8),
            "https://shop.example.com",
        ),
        (sixty_six(0), sixty_six(False), sixty_six(1), sixty_six(0, kind="ping"), "Shop"),
        (
            uptime_com("alert_raised"),
            uptime_com("alert_raised", report=2),
            uptime_com("alert_cleared", report=3),
            uptime_com("alert_raised", 72),
            "Shop",
        ),
        (
            uptime_observer("Active"),
            uptime_observer("Active"),
            uptime_observer("Resolved"),
            uptime_observer("Active", 6),
            "Shop is down",
        ),
        (
            freshping("Reporting Error"),
            freshping("Not Responding", report=2),
            freshping("Available", report=3),
            freshping("Not Responding", 59),
            "Shop",
        ),
        (
            snitch("missing"),
            snitch("errored", status="errored"),
            snitch("reporting", status="healthy"),
            snitch("missing", "decaff"),
            "Nightly backup",
        ),
        (
            rollbar("new_item"),
            rollbar("exp_repeat_item", seen=10),
            rollbar("resolved_item", seen=11),
            rollbar("new_item", 28),
            "KeyError: cart",
        ),
        (airbrake(), airbrake(seen=2), None, airbrake(38), "KeyError: cart"),
        (
            raygun("NewErrorOccurred"),
            raygun("OneMinuteFollowUp", totalOccurrences=9),
            raygun("StatusChanged", status="Ignored"),
            raygun("NewErrorOccurred", "e2"),
            "KeyError: cart",
        ),
        (
            honeybadger("occurred", "fault"),
            honeybadger("rate_exceeded", "fault", notices_count=100),
            honeybadger("resolved", "fault", resolved=True),
            honeybadger("occurred", "fault", 81),
            "[Shop] fault 80",
        ),
        (
            honeybadger("down", "site", state="down"),
            honeybadger("down", "site"),
            honeybadger("up", "site", state="up"),
            honeybadger("cert_will_expire", "site"),
            "[Shop] site 80",
        ),
        (
            honeybadger("check_in_missing", "check_in"),
            honeybadger("check_in_missing", "check_in", missed_count=2),
            honeybadger("check_in_reporting", "check_in"),
            honeybadger("check_in_missing", "check_in", 81),
            "[Shop] check_in 80",
        ),
        (
            auvik("Triggered"),
            auvik("Triggered", report="r2"),
            auvik("Cleared", report="r3"),
            auvik("Triggered", "c2"),
            "Device offline",
        ),
        (
            appoptics(violations={"web-1": []}),
            appoptics(violations={"web-2": []}),
            appoptics(clear="normal"),
            appoptics(64),
            "cpu.high",
        ),
        (papertrail(), papertrail(seen=2), None, papertrail(40), "Panics"),
        (
            netlify("error"),
            netlify("error", deploy="d2"),
            netlify("ready", deploy="d3", title="Fix it"),
            netlify("error", "next"),
            "shop",
        ),
        (
            squadcast("triggered"),
            squadcast("reassigned"),
            squadcast("resolved"),
            squadcast("triggered", "i2"),
            "Shop is down",
        ),
    ],
)
def test_a_known_sender_tells_of_one_problem_from_first_to_last(
    first: Any, again: Any, ends: Any, other: Any, title: str
) -> None:
    fired, repeated, apart = alert_of(first), alert_of(again), alert_of(other)
    assert (fired.title, fired.status, repeated.status) == (title, Status.FIRING, Status.FIRING)
    assert fired.fingerprint == repeated.fingerprint != apart.fingerprint
    if ends is not None:
        over = alert_of(ends)
        assert (over.status, over.fingerprint) == (Status.RESOLVED, fired.fingerprint)


@pytest.mark.parametrize(
    ("warns", "down"),
    [
        (pulsetic("certificate_expires_soon", days_left=5), pulsetic("monitor_offline")),
        (hetrix_usage("cpu"), hetrix("offline")),
        (hetrix_usage("cpu"), hetrix_usage("ram")),
        (updown("ssl_expiration"), updown("down")),
        (updown("performance_drop"), updown("down")),
        (uptimerobot("3"), uptimerobot("1")),
    ],
)
def test_what_nothing_ends_swallows_no_outage_of_the_same_monitor(warns: Any, down: Any) -> None:
    warned = alert_of(warns)
    assert warned.status is Status.FIRING
    assert warned.fingerprint != alert_of(down).fingerprint


@pytest.mark.parametrize(
    "body",
    [
        raygun("CommentAdded", comment="mine"),
        honeybadger("commented", "fault"),
        netlify("building"),
        hetrix("maintenance"),
        squadcast("suppressed"),
    ],
)
def test_what_a_known_sender_tells_besides_is_a_notice(body: Any) -> None:
    assert isinstance(reading_of(body), Notice)


def test_a_known_senders_severity_is_read() -> None:
    assert alert_of(auvik("Triggered")).severity is Severity.CRITICAL
    assert alert_of(rollbar("new_item")).severity is Severity.CRITICAL
    assert alert_of(uptime_com("alert_raised")).severity is Severity.CRITICAL


def test_squadcast_acknowledges() -> None:
    assert alert_of(squadcast("acknowledged")).status is Status.ACKNOWLEDGED


def test_names_that_anybody_may_use_make_nobody_of_whom_they_are_not() -> None:
    """A monitor's id beside a title is of the monitor: two groups of it are two problems."""
    groups = [{"title": title, "alert_type": "error", "monitor": {"id": 7, "url": "https://x"}} for title in ("a", "b")]
    first, second = (alert_of(group).fingerprint for group in groups)
    assert first != second
