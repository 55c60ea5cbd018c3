"""Grafana's webhook contact point: unified alerting (8 and later), and the legacy notification channel.

In: one group of alerts, or the state of one legacy rule. Out: one Reading per alert.

Facts: SOURCES.md sections 1 and 5, which cite grafana/alerting receivers/webhook/v1 and http/hmac.go, and
https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/,
and published bodies. What is decided beside alert_groups.py:

- `auth: {signing_secret}`: both headers may be called anything in Grafana, so they are known by their looks: 64
  hexadecimal digits, and the seconds of the epoch. The signed text is the body, or `<seconds>:<body>`; the time counts
  where it is signed, and a signature without one never grows old.
- DatasourceNoData and DatasourceError are problems of their own, titled with the rule they stand for: their
  annotations tell of what the rule would have found, but for `Error`, which says why it could not be asked
  (grafana/grafana of GitHub, pkg/services/ngalert/state/state.go; read 2026-11) and stands in the description.
- The Test button of a contact point (TestAlert of instance Grafana) and of a channel are Notices. The rule of the
  second is called "Test notification" and has the id 0 or, later, one by chance with the message "Someone is testing
  the alert notification within Grafana." (body in cloudforet-io/plugin-grafana-mon-webhook of GitHub; read 2026-11).
- Legacy: fingerprint is the rule's id, else its name; `alerting` and `no_data` fire, `ok` resolves, `paused` and
  `pending` are Notices. No time and no episode. Labels: the rule's tags, then those of what matched.
- OnCall's outgoing webhooks, with all their data forwarded (grafana/oncall,
  docs/sources/configure/integrations/outgoing-webhooks; read 2026-11): fingerprint and episode are the alert group, new
  each time; its state tells whether it is acknowledged or resolved, else the type of the event; a silence is a Notice.
  Time of the report: the event's. Severity: of the labels. `alert_payload` is what the first alert's sender sent.
"""

import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Notice, Reading, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.absent import key_of, text_of
from bridge.sources.alert_groups import Dialect, group_readings
from bridge.sources.base import Proof, SignatureAuth
from bridge.sources.body import block_at, value_in
from bridge.sources.generic import severity_in
from bridge.sources.signatures import SharedSecret, is_one_of, verify_shared
from bridge.sources.texts import (
    LABELS_MAX,
    identity,
    instant_of,
    layered_labels,
    line,
    link_of,
    links_of,
    paragraphs,
    scalar_pairs,
)

_SIGNATURE = "X-Grafana-Alerting-Signature"  # the default; the name of the other header is free
_TIMESTAMP = "X-Grafana-Alerting-Timestamp"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SECONDS = re.compile(r"[0-9]{9,11}")
_TIMES_MAX = 4  # headers that look like a time; each costs one digest of the body per secret

_SYNTHETIC = {"DatasourceNoData": "No data", "DatasourceError": "Error"}
_BRACKET = re.compile(r"\s*\[(?:Alerting|OK|No Data|Pending|Paused|Unknown)\]\s*", re.IGNORECASE)
_QUIET = {"paused": "the rule is paused", "pending": "the rule is pending: nothing is wrong for long enough yet"}
_A_TEST = "a test of the contact point"
_TEST_RULE, _TEST_MESSAGE = "Test notification", "someone is testing the alert notification within grafana"
_SEVERITIES = ("severity", "priority", "level")
_BY_ONCALL = {
    "acknowledged": Status.ACKNOWLEDGED, "acknowledge": Status.ACKNOWLEDGED,
    "resolved": Status.RESOLVED, "resolve": Status.RESOLVED,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Grafana(SharedSecret):
    """A Grafana that posts here, known by its HMAC signature or by any shared secret."""

    type: ClassVar[str] = "grafana"
    signature_keys: ClassVar[frozenset[str]] = frozenset({"signing_secret"})

    def verify(self, webhook: Webhook) -> None:
        """Check the signature over the raw body, or the shared secret. Raises SignatureError."""
        if isinstance(self.auth, SignatureAuth) and self.auth.kind in self.signature_keys:
            _verify_signature(self.auth, webhook)
        else:
            verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """Every alert of a group, in its order, or the one of a legacy rule. Raises DecodeError."""
        payload = value_in(webhook)
        if isinstance(payload, dict) and "alerts" not in payload and {"ruleId", "ruleName"} & payload.keys():
            return (_of_legacy(self.name, payload),)
        if block_at(payload, "event") and key_of(block_at(payload, "alert_group").get("id")) is not None:
            return (_of_oncall(self.name, payload),)
        return group_readings(self.name, self.type, webhook, _DIALECT)

    @staticmethod
    def proof(auth: SignatureAuth, body: bytes, now: datetime) -> Proof:
        """The signature with its time, under the names Grafana's documentation gives the headers."""
        seconds = str(int(now.timestamp()))
        signature = next(iter(_signatures(auth.secrets, _timed(seconds, body))), "")
        return Proof(headers={_SIGNATURE: signature, _TIMESTAMP: seconds})


def _verify_signature(auth: SignatureAuth, webhook: Webhook) -> None:
    given = [value for value in _values(webhook) if _DIGEST.fullmatch(value)]
    if not given:
        raise SignatureError("no header holds a signature")
    if _is_signed(auth, webhook.body, given):
        return
    for seconds in [value for value in _values(webhook) if _SECONDS.fullmatch(value)][:_TIMES_MAX]:
        if _is_signed(auth, _timed(seconds, webhook.body), given):
            signed_at = instant_of(seconds)
            if signed_at is None or abs(webhook.received_at - signed_at) > auth.tolerance:
                raise SignatureError("signature too old or from the future")
            return
    raise SignatureError("signature wrong")


def _values(webhook: Webhook) -> Iterator[str]:
    """The values of the headers, those of the usual names first."""
    usual = (_SIGNATURE.lower(), _TIMESTAMP.lower())
    for name in sorted(webhook.headers, key=lambda name: name not in usual):
        yield webhook.headers[name].strip()


def _is_signed(auth: SignatureAuth, text: bytes, given: Iterable[str]) -> bool:
    right = _signatures(auth.secrets, text)
    return any(is_one_of(one, right) for one in given)


def _signatures(secrets: Iterable[str], text: bytes) -> list[str]:
    keys = [secret.encode("utf-8", "surrogatepass") for secret in secrets if secret]
    return [hmac.digest(key, text, "sha256").hex() for key in keys]


def _timed(seconds: str, body: bytes) -> bytes:
    return f"{seconds}:".encode() + body


def _why_ignored(labels: Mapping[str, str]) -> str | None:
    is_test = labels.get("alertname") == "TestAlert" and labels.get("instance") == "Grafana"
    return _A_TEST if is_test else None


def _synthetic_title(labels: Mapping[str, str]) -> str | None:
    what = _SYNTHETIC.get(labels.get("alertname", ""))
    return None if what is None else f"{what}: {labels.get('rulename', labels['alertname'])}"


_DIALECT = Dialect(
    why_ignored=_why_ignored,
    title=_synthetic_title,
    annotated=("Error",),
    described=("valueString",),
    linked=(
        ("generatorURL", "Grafana rule"),
        ("panelURL", "Panel"),
        ("dashboardURL", "Dashboard"),
        ("silenceURL", "Silence"),
        ("imageURL", "Screenshot"),
        ("externalURL", "Grafana"),
    ),
)


def _of_legacy(source: str, payload: Mapping[str, Any]) -> Reading:
    rule = text_of(payload.get("ruleName"))
    title = line(rule or _BRACKET.sub("", text_of(payload.get("title")) or "", count=1)) or f"Alert from {source}"
    rule_id = key_of(payload.get("ruleId"))
    fingerprint = identity("rule", rule_id) if rule_id not in (None, "0") else identity("name", title)
    state = (text_of(payload.get("state")) or "").lower()
    tested = title == _TEST_RULE and (
        rule_id == "0" or (text_of(payload.get("message")) or "").lower().startswith(_TEST_MESSAGE)
    )
    quiet = _A_TEST if tested else _QUIET.get(state)
    if quiet is not None:
        return Notice(
            source=source,
            source_type=Grafana.type,
            reason=quiet,
            payload=payload,
            title=title,
            fingerprint=fingerprint,
        )
    tags = block_at(payload, "tags")
    matches = list(_matches(payload))
    return Alert(
        source=source,
        source_type=Grafana.type,
        fingerprint=fingerprint,
        status=Status.RESOLVED if state == "ok" else Status.FIRING,
        severity=severity_in(text_of(tags.get(name)) for name in _SEVERITIES),
        title=title,
        description=paragraphs(
            "\n".join(dict.fromkeys([text_of(payload.get("message")) or "", *map(_measured, matches)]))
        ),
        labels=layered_labels(
            scalar_pairs(tags),
            [pair for match in matches for pair in scalar_pairs(block_at(match, "tags"))],
            [("state", state), ("rule", rule)],
        ),
        links=links_of(
            link_of("Grafana rule", text_of(payload.get("ruleUrl"))),
            link_of("Screenshot", text_of(payload.get("imageUrl"))),
        ),
        payload=payload,
    )


def _matches(payload: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the rule found: {value, metric, tags}."""
    matches = payload.get("evalMatches")
    for match in matches[:LABELS_MAX] if isinstance(matches, list) else ():
        if isinstance(match, dict):
            yield match


def _measured(match: Mapping[str, Any]) -> str:
    metric, value = text_of(match.get("metric")), text_of(match.get("value"))
    return "" if value is None else f"{line(metric or 'value', 200)}: {line(value, 100)}"


def _of_oncall(source: str, payload: Mapping[str, Any]) -> Reading:
    """One event of one alert group of OnCall."""
    group, first = block_at(payload, "alert_group"), block_at(payload, "alert_payload")
    group_id = key_of(group.get("id")) or ""
    state = (text_of(group.get("state")) or "").lower()
    event = (text_of(block_at(payload, "event").get("type")) or "").lower()
    own = block_at(first, "labels") or block_at(first, "commonLabels")
    labels = layered_labels(
        scalar_pairs(own),
        scalar_pairs(block_at(group, "labels")),
        [
            ("state", state),
            ("event", event),
            ("integration", text_of(block_at(payload, "integration").get("name"))),
            ("alert_group", group_id),
        ],
    )
    title = line(text_of(group.get("title")) or labels.get("alertname") or "") or f"Alert from {source}"
    fingerprint = identity("group", group_id)
    if "silenced" in (state, event) or (event == "silence" and state not in _BY_ONCALL):
        return Notice(
            source=source,
            source_type=Grafana.type,
            reason="somebody silenced the alert group",
            payload=payload,
            title=title,
            fingerprint=fingerprint,
        )
    status = _BY_ONCALL.get(state) or _BY_ONCALL.get(event) or Status.FIRING
    told = block_at(first, "annotations") or block_at(first, "commonAnnotations")
    described = (text_of(block.get(name)) for block in (told, first) for name in ("description", "summary", "message"))
    pages = block_at(group, "permalinks")
    return Alert(
        source=source,
        source_type=Grafana.type,
        fingerprint=fingerprint,
        episode=fingerprint,
        reported_at=instant_of(block_at(payload, "event").get("time")),
        status=status,
        severity=severity_in(labels.get(name) for name in _SEVERITIES),
        title=title,
        description=paragraphs(next((text for text in described if text is not None), "")),
        labels=labels,
        links=links_of(
            *(link_of(f"Grafana OnCall ({name})", text_of(pages.get(name))) for name in ("web", "slack", "telegram"))
        ),
        starts_at=instant_of(group.get("created_at")),
        ends_at=instant_of(group.get("resolved_at")) if status is Status.RESOLVED else None,
        payload=payload,
    )
