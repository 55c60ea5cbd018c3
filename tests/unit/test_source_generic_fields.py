"""`fields:` of the generic source: a sender nobody knows, read by the operator's own expressions."""

import json
from datetime import UTC, datetime
from pathlib import Path
from time import thread_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import wiring
from bridge.config.loader import load_settings
from bridge.destinations import DESTINATIONS
from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.sources import SOURCES
from bridge.sources.absent import text_of
from bridge.sources.base import Source

ACCOUNTS = {"pd": {"type": "pagerduty", "token": "sandbox", "from": "bot@example.com"}}
PLANT = {  # a tool with words of its own
    "title": "payload.what.label",
    "status": "'resolved' if payload.over else 'firing'",
    "severity": "{'1': 'critical', '2': 'warning'}[payload.rank | string]",
    "fingerprint": ["payload.plant", "payload.what.nr"],
    "episode": "payload.began",
    "reported_at": "payload.said",
    "description": "Plant {{ payload.plant }}: {{ payload.what.text | default('nothing more') }}",
    "labels": {"plant": "payload.plant", "line": "headers['x-line']", "shift": "body.shift"},
    "links": {"Camera": "payload.cam"},
    "starts_at": "payload.began",
    "ends_at": "payload.over",
    "ignore": "'a drill' if payload.drill else none",
}
REPORT = {
    "plant": "west",
    "rank": 1,
    "what": {"nr": 17, "label": "Pump 3 is hot", "text": "98 degrees"},
    "began": "2026-01-05T10:00:00Z",
    "said": 1767610800,
    "cam": "https://cams.example.com/3",
    "shift": "early",
}


def source_of(fields: Any, folder: Path, kind: str = "generic") -> Source:
    file = folder / "bridge.yaml"
    entry = {"type": kind, "auth": "none", "fields": fields}
    file.write_text(json.dumps({"sources": {"plant": entry}, "accounts": ACCOUNTS}))
    return wiring.sources(load_settings(file, {}, sources=SOURCES, destinations=DESTINATIONS))["plant"]


def readings_of(source: Source, body: Any, **headers: str) -> tuple[Any, ...]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = json.dumps(body).encode()
    return source.alerts_in(
        Webhook(source="plant", headers=named, body=content, received_at=datetime(2026, 1, 5, tzinfo=UTC))
    )


def alert_of(source: Source, body: Any, **headers: str) -> Alert:
    (reading,) = readings_of(source, body, **headers)
    assert isinstance(reading, Alert)
    return reading


@pytest.mark.parametrize("kind", ["generic", "standard_webhooks"])
def test_every_field_is_read_from_where_its_expression_says(kind: str, tmp_path: Path) -> None:
    alert = alert_of(source_of(PLANT, tmp_path, kind), REPORT, x_line="L4")
    began = datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert (alert.title, alert.status, alert.severity) == ("Pump 3 is hot", Status.FIRING, Severity.CRITICAL)
    assert (alert.episode, alert.starts_at, alert.ends_at) == ("2026-01-05T10:00:00Z", began, None)
    assert alert.reported_at == datetime(2026, 1, 5, 11, tzinfo=UTC)
    assert alert.description == "Plant west: 98 degrees"
    assert alert.labels == {"plant": "west", "line": "L4", "shift": "early"}
    assert [(link.text, link.href) for link in alert.links] == [("Camera", "https://cams.example.com/3")]
    assert alert.source_type == kind


def test_a_recovery_shares_the_fingerprint_and_ends(tmp_path: Path) -> None:
    source = source_of(PLANT, tmp_path)
    over = alert_of(source, {**REPORT, "over": "2026-01-05T12:00:00Z", "rank": 2})
    assert (over.status, over.severity) == (Status.RESOLVED, Severity.WARNING)
    assert over.ends_at == datetime(2026, 1, 5, 12, tzinfo=UTC)
    assert over.fingerprint == alert_of(source, REPORT).fingerprint


@given(first=st.lists(st.text(max_size=5), max_size=3), second=st.lists(st.text(max_size=5), max_size=3))
def test_parts_of_a_key_stay_apart(
    first: list[str], second: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = source_of({"fingerprint": "payload.parts", "title": "'x'"}, tmp_path_factory.mktemp("fields"))
    said, also_said = ([text_of(part) for part in parts] for parts in (first, second))
    if any(said) and any(also_said):
        one, other = (alert_of(source, {"parts": parts}).fingerprint for parts in (first, second))
        assert (one == other) == (said == also_said)


def test_an_absent_part_is_no_key_at_all(tmp_path: Path) -> None:
    source = source_of({"fingerprint": "payload.nr", "title": "payload.name"}, tmp_path)
    named = [alert_of(source, {"name": "a", "nr": nr}).fingerprint for nr in ("{{ nr }}", "$NR_OF_IT", "", None, [])]
    assert set(named) == {alert_of(source, {"name": "a"}).fingerprint}
    assert named[0] != alert_of(source, {"name": "b"}).fingerprint


def test_a_field_that_fails_is_absent_and_the_page_goes_out(tmp_path: Path) -> None:
    source = source_of(PLANT, tmp_path)
    alert = alert_of(source, {"what": 7, "rank": "high", "summary": "Something else"})
    assert (alert.title, alert.status, alert.severity) == ("Something else", Status.FIRING, None)
    assert (alert.episode, alert.reported_at, alert.starts_at, alert.links) == (None, None, None, ())
    assert dict(alert.labels) == {}
    bare = alert_of(source, {"unheard": "of"})
    assert (bare.title, bare.description) == ("Alert from plant", "unheard: of")


def test_what_has_no_expression_is_read_as_ever(tmp_path: Path) -> None:
    alert = alert_of(source_of({"title": "payload.label"}, tmp_path), {"label": "Hot", "state": "ok", "level": "high"})
    assert (alert.title, alert.status, alert.severity) == ("Hot", Status.RESOLVED, Severity.ERROR)


def test_each_names_the_list_whose_elements_are_alerts(tmp_path: Path) -> None:
    fields = {"each": "payload.report.rows", "title": "payload.label", "labels": {"site": "body.site"}}
    source = source_of(fields, tmp_path)
    body = {"site": "west", "report": {"rows": [{"label": "a"}, 7, {"label": "b"}]}}
    first, second, third = readings_of(source, body)
    assert [(one.title, dict(one.labels)) for one in (first, third)] == [
        ("a", {"site": "west"}),
        ("b", {"site": "west"}),
    ]
    assert isinstance(second, Notice)
    assert second.reason == "each[1] is a number, not an object"


def test_an_empty_list_is_noted_and_a_missing_one_pages_for_the_whole(tmp_path: Path) -> None:
    source = source_of({"each": "payload.rows", "title": "payload.label"}, tmp_path)
    (nothing,) = readings_of(source, {"rows": [], "label": "x"})
    assert isinstance(nothing, Notice)
    for body in ({"label": "x"}, {"label": "x", "rows": ["a", "b"]}, {"label": "x", "rows": "none"}):
        assert alert_of(source, body).title == "x"


def test_what_is_to_be_ignored_says_why(tmp_path: Path) -> None:
    (drill,) = readings_of(source_of(PLANT, tmp_path), {**REPORT, "drill": True})
    assert isinstance(drill, Notice)
    assert drill.reason == "a drill"
    (ping,) = readings_of(source_of({"ignore": "payload.type == 'ping'"}, tmp_path), {"type": "ping"})
    assert isinstance(ping, Notice)
    assert isinstance(alert_of(source_of({"ignore": "payload.type == 'ping'"}, tmp_path), {"type": "x"}), Alert)


def test_text_of_the_sender_is_never_a_template(tmp_path: Path) -> None:
    source = source_of({"title": "payload.label", "description": "said: {{ payload.label }}"}, tmp_path)
    alert = alert_of(source, {"label": "7 * 7 is {{ 7 * 7 }} or {% x %}"})
    assert alert.title == "7 * 7 is {{ 7 * 7 }} or {% x %}"
    assert alert.description == "said: 7 * 7 is {{ 7 * 7 }} or {% x %}"


def test_an_expression_that_works_without_end_holds_nobody_up_and_every_alert_pages(tmp_path: Path) -> None:
    greedy = "range(10000) | map('string') | join | length"
    source = source_of({"title": "payload.label", "labels": {"n": greedy}, "description": greedy}, tmp_path)
    started = thread_time()
    readings = readings_of(source, {"alerts": [{"label": f"alert {n}"} for n in range(1000)]})
    assert thread_time() - started < 10.0  # a thousand times a tenth of a second without a common limit
    assert len(readings) == 1000
    assert all(isinstance(one, Alert) for one in readings)
    assert readings[0].title == "alert 0"
