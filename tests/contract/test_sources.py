"""What every source promises, run over SOURCES: a newcomer is tested the moment it is listed."""

import base64
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bridge.sources
from bridge.domain.alert import Alert, Notice, Reading, Sighted, Status, Webhook
from bridge.domain.errors import DecodeError, SignatureError
from bridge.sources import SOURCES
from bridge.sources.base import (
    Auth,
    BasicAuth,
    BearerAuth,
    HeaderAuth,
    NoAuth,
    QueryAuth,
    SignatureAuth,
    WatchesUpstream,
)
from bridge.sources.texts import DESCRIPTION_MAX_BYTES, LABEL_VALUE_MAX_CHARS, LABELS_MAX, TITLE_MAX_CHARS

GOLDEN = Path(__file__).parent.parent / "golden" / "sources"
SAMPLES = Path(bridge.sources.__file__).parent / "samples"
RECEIVED_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"

PAIRS = [
    ("datadog", "custom_triggered.json", "custom_recovered.json"),
    ("datadog", "default_triggered.json", "default_recovered.json"),
    ("datadog", "incident.json", "incident_resolved.json"),
    ("zendesk", "created.json", "status_solved.json"),
    ("zendesk", "created.json", "soft_deleted.json"),
    ("zendesk", "trigger_create.json", "trigger_localised_resolve.json"),
    ("generic", "full.json", "full_resolved.json"),
    ("aws_sns", "alarm.json", "ok.json"),
    ("aws_sns", "old_alarm_without_arn.json", "old_ok_without_arn.json"),
    ("cloudevents", "structured_firing.json", "structured_resolved.json"),
    ("cloudevents", "alertmanager_inside_firing.json", "alertmanager_inside_resolved.json"),
    ("standard_webhooks", "backup_failed.json", "backup_recovered.json"),
    ("opsgenie", "create.json", "close.json"),
    ("jira", "created.json", "resolved.json"),
    ("jira", "created.json", "deleted.json"),
    ("azure_monitor", "common_metric_fired.json", "common_metric_resolved.json"),
    ("azure_monitor", "common_service_health_active.json", "common_service_health_rca.json"),
    ("azure_monitor", "classic_activated.json", "classic_resolved.json"),
    ("azure_monitor", "near_real_time_activated.json", "near_real_time_deactivated.json"),
    ("azure_monitor", "activity_log_service_health_active.json", "activity_log_service_health_resolved.json"),
    ("azure_monitor", "activity_log_resource_health_activated.json", "activity_log_resource_health_resolved.json"),
    ("gcp_monitoring", "open.json", "closed.json"),
    ("gcp_monitoring", "v1_1_open.json", "v1_1_closed.json"),
    ("github", "issues_opened.json", "issues_closed.json"),
    ("github", "workflow_run_failure.json", "workflow_run_success.json"),
    ("github", "dependabot_created.json", "dependabot_fixed.json"),
    ("gitlab", "pipeline_failed.json", "pipeline_success.json"),
    ("gitlab", "incident_opened.json", "incident_closed.json"),
    ("uptime_kuma", "down.json", "up.json"),
    ("pingdom", "down.json", "up.json"),
    ("pingdom", "failing.json", "success.json"),
    ("statuscake", "down.form", "up.form"),
    ("statuscake", "old_down.form", "old_up.form"),
    ("uptimerobot", "down.form", "up.form"),
    ("uptimerobot", "snake_case_down.json", "snake_case_up.json"),
    ("prtg", "down.form", "down_ended.form"),
    ("zabbix", "problem.json", "recovery.json"),
    ("alertmanager", "firing.json", "resolved.json"),
    ("grafana", "firing.json", "resolved.json"),
    ("grafana", "legacy_alerting.json", "legacy_ok.json"),
    ("sentry", "issue_created.json", "issue_resolved.json"),
    ("sentry", "event_alert.json", "issue_resolved.json"),
    ("sentry", "legacy_plugin.json", "issue_archived.json"),
    ("sentry", "metric_critical.json", "metric_resolved.json"),
    ("newrelic", "created.json", "closed.json"),
    ("newrelic", "channel_open.json", "channel_closed.json"),
    ("elastic_kibana", "active.json", "recovered.json"),
    ("splunk", "told_firing.json", "told_resolved.json"),
    ("honeycomb", "triggered.json", "ok.json"),
]

WATCHING = {kind for kind, made in SOURCES.items() if isinstance(made(name=kind, auth=NoAuth()), WatchesUpstream)}

SECRETS = ("tr0ub4dor-old", "tr0ub4dor-new")
AUTHS: list[Auth] = [
    BearerAuth(secrets=SECRETS),
    HeaderAuth(header="x-bridge-token", secrets=SECRETS),
    BasicAuth(username="datadog", passwords=SECRETS),
    QueryAuth(parameter="token", secrets=SECRETS),
]


def source_of(kind: str, auth: Auth | None = None) -> Any:
    return SOURCES[kind](name=f"my-{kind}", auth=auth or NoAuth())


def webhook_of(body: bytes, media_type: str = "application/json", **headers: str) -> Webhook:
    return Webhook(source="s", headers={"content-type": media_type, **headers}, body=body, received_at=RECEIVED_AT)


def golden_payloads() -> list[Path]:
    return [path for path in sorted(GOLDEN.glob("*/*")) if not path.name.endswith(".alerts.json")]


def readings_of(path: Path) -> tuple[Reading, ...]:
    media_type = FORM if path.suffix == ".form" else "application/json"
    readings: tuple[Reading, ...] = source_of(path.parent.name).alerts_in(webhook_of(path.read_bytes(), media_type))
    return readings


def readings_or_refusal(kind: str, webhook: Webhook) -> tuple[Reading, ...] | None:
    """The readings, or None when the body is refused as unreadable; any other exception fails the test."""
    try:
        readings: tuple[Reading, ...] = source_of(kind).alerts_in(webhook)
    except DecodeError:
        return None
    return readings


def as_json(reading: Reading) -> Any:
    """A reading without its payload, as JSON with its kind."""
    fields = {field.name: getattr(reading, field.name) for field in dataclasses.fields(reading)}
    del fields["payload"]
    for name, value in fields.items():
        if isinstance(value, datetime):
            fields[name] = value.isoformat()
    if isinstance(reading, Alert):
        fields["labels"] = dict(reading.labels)
        fields["links"] = [dataclasses.asdict(link) for link in reading.links]
    return {"kind": type(reading).__name__, **fields}


def assert_well_formed(reading: Reading, kind: str) -> None:
    assert (reading.source, reading.source_type) == (f"my-{kind}", kind)
    if isinstance(reading, Notice):
        assert reading.reason
        return
    texts = [reading.title, reading.fingerprint, reading.description, reading.episode or ""]
    texts += [*reading.labels, *reading.labels.values(), *(link.href for link in reading.links)]
    assert not any("\x00" in text for text in texts)
    "".join(texts).encode()  # raises on a lone surrogate
    assert reading.title.strip() == reading.title != ""
    assert len(reading.title) <= TITLE_MAX_CHARS
    assert len((reading.title + reading.fingerprint).splitlines()) == 1
    assert 0 < len(reading.fingerprint) <= 200
    assert len(reading.description.encode()) <= DESCRIPTION_MAX_BYTES
    assert len(reading.labels) <= LABELS_MAX
    assert all(value and len(value) <= LABEL_VALUE_MAX_CHARS for value in reading.labels.values())
    assert all(link.href.lower().startswith(("http://", "https://")) for link in reading.links)
    for instant in (reading.reported_at, reading.starts_at, reading.ends_at):
        assert instant is None or instant.utcoffset() == timedelta(0)


def authorised(auth: Auth, secret: str) -> Webhook:
    match auth:
        case BearerAuth():
            return webhook_of(b"{}", authorization=f"Bearer {secret}")
        case HeaderAuth(header=header):
            return webhook_of(b"{}", **{header: secret})
        case BasicAuth(username=username):
            pair = f"{username}:{secret}".encode()
            return webhook_of(b"{}", authorization=f"Basic {base64.b64encode(pair).decode()}")
        case QueryAuth(parameter=parameter):
            return dataclasses.replace(webhook_of(b"{}"), query={parameter: secret})
    raise AssertionError(auth)


def test_the_table_names_each_source_by_its_own_type() -> None:
    assert {kind: source.type for kind, source in SOURCES.items()} == {kind: kind for kind in SOURCES}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_has_golden_payloads_samples_and_a_firing_and_resolved_pair(kind: str) -> None:
    assert any(path.parent.name == kind for path in golden_payloads())
    assert any((SAMPLES / kind).glob("*.json"))
    assert any(pair[0] == kind for pair in PAIRS) != (kind in WATCHING)


@pytest.mark.parametrize("path", golden_payloads(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_golden_payload_gives_golden_alerts(path: Path, update_golden: bool) -> None:
    readings = readings_of(path)
    for reading in readings:
        assert_well_formed(reading, path.parent.name)
    found = json.dumps([as_json(reading) for reading in readings], indent=2, ensure_ascii=False) + "\n"
    expected = path.with_name(f"{path.stem}.alerts.json")
    if update_golden:
        expected.write_text(found)
    assert found == expected.read_text()


@pytest.mark.parametrize(("kind", "firing", "resolved"), PAIRS)
def test_a_firing_and_resolved_pair_shares_its_fingerprint(kind: str, firing: str, resolved: str) -> None:
    (opened,) = readings_of(GOLDEN / kind / firing)
    (closed,) = readings_of(GOLDEN / kind / resolved)
    assert isinstance(opened, Alert)
    assert isinstance(closed, Alert)
    assert (opened.status, closed.status) == (Status.FIRING, Status.RESOLVED)
    assert opened.fingerprint == closed.fingerprint
    assert closed.episode in (None, opened.episode)  # a recovery need not know when its problem began
    assert closed.reported_at is None or (opened.reported_at is not None and opened.reported_at < closed.reported_at)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*/*.json")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_sample_is_read(path: Path) -> None:
    readings = source_of(path.parent.name).alerts_in(webhook_of(path.read_bytes()))
    for reading in readings:
        assert_well_formed(reading, path.parent.name)
        if path.parent.name in WATCHING:
            assert isinstance(reading, Sighted)
        else:
            assert isinstance(reading, Alert) != path.stem.startswith("comment")


@pytest.mark.parametrize("path", golden_payloads(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_same_body_twice_gives_the_same_readings(path: Path) -> None:
    assert readings_of(path) == readings_of(path)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=20)
    | st.sampled_from(
        ["null", "$ALERT_ID", "{{ticket.id}}", "Triggered", "Recovered", "P1", "[P1] [Triggered on {host:a}] x", "#12",
         "1767225600000", "https://app.datadoghq.com/monitors/1?group=a%3Ab", "a:b,c,d:e:f", "solved", "\ud800", "\x00"]
    )
)  # fmt: skip
NAMES = """
    title id status tags labels links alerts alert detail event type ticket attachments fields body date subject
    alert_id aggreg_key alert_transition alert_scope scopes account_id severity priority time url metadata
"""
KEYS = st.text(max_size=8) | st.sampled_from(NAMES.split())
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)


@pytest.mark.parametrize("kind", SOURCES)
@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(value=VALUES, zendesk_event=st.booleans())
def test_any_json_at_all_gives_readings_or_a_decode_error(kind: str, value: Any, zendesk_event: bool) -> None:
    if zendesk_event and isinstance(value, dict):
        value = {**value, "type": "zen:event-type:ticket.status_changed"}
    readings = readings_or_refusal(kind, webhook_of(json.dumps(value).encode()))
    if isinstance(value, dict):
        assert readings
    for reading in readings or ():
        assert_well_formed(reading, kind)


@pytest.mark.parametrize("kind", SOURCES)
@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(body=st.binary(max_size=80), media_type=st.sampled_from(["application/json", FORM, "text/plain", ""]))
def test_any_bytes_at_all_give_readings_or_a_decode_error(kind: str, body: bytes, media_type: str) -> None:
    for reading in readings_or_refusal(kind, webhook_of(body, media_type)) or ():
        assert_well_formed(reading, kind)


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("body", [b"", b" \n", b"{", b"not json", b"{} {}", b"null", b"7", b"\xff\xfe", b"<a>1</a>"])
def test_a_body_that_is_no_payload_is_refused_with_a_sentence(kind: str, body: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        source_of(kind).alerts_in(webhook_of(body))
    assert refused.value.path.startswith("$")
    assert len(refused.value.message) > 10


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_body_nested_without_end_is_refused(kind: str, opening: bytes) -> None:
    with pytest.raises(DecodeError, match="nested over 64 levels"):
        source_of(kind).alerts_in(webhook_of(opening * (1_000_000 // len(opening))))


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: type(auth).__name__)
def test_every_secret_of_the_list_is_accepted_and_nothing_else(kind: str, auth: Auth) -> None:
    source = source_of(kind, auth)
    for secret in SECRETS:
        source.verify(authorised(auth, secret))
    for wrong in ("", "tr0ub4dor", "TR0UB4DOR-NEW", "tr0ub4dor-néw"):
        with pytest.raises(SignatureError):
            source.verify(authorised(auth, wrong))
    with pytest.raises(SignatureError):
        source.verify(webhook_of(b"{}"))


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: type(auth).__name__)
@pytest.mark.parametrize("secrets", [(), ("",)], ids=["no secret", "an empty secret"])
def test_without_a_real_secret_nothing_is_accepted(kind: str, auth: Auth, secrets: tuple[str, ...]) -> None:
    names = "passwords" if isinstance(auth, BasicAuth) else "secrets"
    source = source_of(kind, dataclasses.replace(auth, **{names: secrets}))  # type: ignore[type-var]
    with pytest.raises(SignatureError):
        source.verify(authorised(auth, ""))


@pytest.mark.parametrize("kind", SOURCES)
def test_a_vendor_signature_refuses_what_is_unsigned_and_what_the_vendor_does_not_have(kind: str) -> None:
    for signature_kind in SOURCES[kind].signature_keys | {"certificate_of_mars"}:
        source = source_of(kind, SignatureAuth(kind=signature_kind, secrets=SECRETS))
        with pytest.raises(SignatureError):
            source.verify(webhook_of(b"{}"))


@pytest.mark.parametrize("kind", SOURCES)
def test_no_secret_shows_in_repr_or_error(kind: str) -> None:
    for auth in (*AUTHS, SignatureAuth(kind="signing_secret", secrets=SECRETS)):
        source = source_of(kind, auth)
        assert "tr0ub4dor" not in repr(source)
        with pytest.raises(SignatureError) as refused:
            source.verify(webhook_of(b"{}", authorization="Bearer guess"))
        assert "tr0ub4dor" not in str(refused.value)


@pytest.mark.parametrize("kind", SOURCES)
def test_without_the_senders_header_there_is_no_delivery_id(kind: str) -> None:
    assert source_of(kind).delivery_id(webhook_of(b'{"id": "1", "title": "x"}')) is None
