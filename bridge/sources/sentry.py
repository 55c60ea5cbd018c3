"""Sentry's webhooks: those of an integration (issue, error, event alert, metric alert, ...) and the legacy plugin's.

In: one message about one issue or one metric alert. Out: one Alert, or a Notice with its reason.

Facts: SOURCES.md sections 1 and 6, which cite getsentry/sentry-docs …/integration-platform/webhooks/, published bodies,
and https://docs.sentry.io/integrations/integration-platform/webhooks/issues/ (actions and substatuses of an issue; read
2026-11). What is decided here:

- `auth: {client_secret}`: Sentry-Hook-Signature, the hex HMAC-SHA256 of the raw body. No time is signed, so nothing
  grows old. The legacy plugin signs nothing: a secret in the address proves it.
- The resource is Sentry-Hook-Resource, else what the body looks like.
- Fingerprint: the issue's id, the same in issue, error, event alert and legacy bodies: resolving the issue ends what an
  event alert opened. A metric alert: its rule with its projects; the incident's id is the episode.
- Status: created, unresolved and triggered fire; assigned is acknowledged; resolved, archived and ignored are resolved;
  another action counts as the issue's own status. An error and an event alert never recover by themselves.
- Episode of an issue: that it is unresolved again, by the time it was last seen. A creation and an event tell none.
- Severity: the level (fatal is critical, debug info); of a metric alert the action, critical or warning.
- Time of the report: Sentry-Hook-Timestamp. What times the bodies have is when an event happened.
- Installations, comments and the like are Notices. Delivery: Request-ID.
- An activity alert is always `triggered`, and its documented activities are those of Sentry's AI, Seer: Notices
  (https://docs.sentry.io/integrations/integration-platform/webhooks/activity-alerts/; read 2026-11). Of any other
  activity the issue's own status counts.
"""

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Notice, Reading, Severity, Status, Webhook
from bridge.sources.absent import key_of, text_of
from bridge.sources.base import Proof, SignatureAuth
from bridge.sources.body import block_at, object_in
from bridge.sources.fields import words
from bridge.sources.generic import reading_anyway, severity_in
from bridge.sources.signatures import SharedSecret, verify_hex_hmac, verify_shared
from bridge.sources.texts import (
    LABELS_MAX,
    delivery_under,
    identity,
    instant_of,
    layered_labels,
    line,
    link_of,
    links_of,
    paragraphs,
    texts_in,
)

_SIGNATURE = "sentry-hook-signature"
_RESOURCE = "sentry-hook-resource"
_TIMESTAMP = "sentry-hook-timestamp"
_DELIVERY = "request-id"

_ISSUE_FIRES = words("created unresolved triggered")
_ISSUE_ENDS = words("resolved archived ignored")
_ACTIVITY, _OF_SEER = "activity_alert", "seer_"
_ASIDE = words("installation comment seer preprod")  # resources that are no problem, up to their first dot
_PROJECT_IN_URL = re.compile(r"/projects/[^/]{1,100}/([^/]{1,100})/")
_ISSUE_IN_URL = re.compile(r"/issues/(\d{1,20})\b")
_PREFIX = re.compile(r"(?:critical|warning|resolved):\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentry(SharedSecret):
    """A Sentry organisation that posts here, known by the integration's client secret or by any shared secret."""

    type: ClassVar[str] = "sentry"
    signature_keys: ClassVar[frozenset[str]] = frozenset({"client_secret"})

    def verify(self, webhook: Webhook) -> None:
        """Check Sentry-Hook-Signature over the raw body, or the shared secret. Raises SignatureError."""
        if isinstance(self.auth, SignatureAuth) and self.auth.kind in self.signature_keys:
            verify_hex_hmac(self.auth, webhook, _SIGNATURE)
        else:
            verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a message. Raises DecodeError."""
        payload = object_in(webhook)
        resource = text_of(webhook.headers.get(_RESOURCE)) or ""
        if resource.partition(".")[0].partition("_")[0] in _ASIDE or _is_installation(payload):
            return (_notice(self.name, payload, f"{line(resource, 60) or 'installation'} reports no problem"),)
        hook = _Hook(
            source=self.name,
            payload=payload,
            action=(text_of(payload.get("action")) or "").lower(),
            resource=resource,
            reported_at=instant_of(webhook.headers.get(_TIMESTAMP)),
        )
        return (hook.reading(),)

    def delivery_id(self, webhook: Webhook) -> str | None:
        """Request-ID."""
        return delivery_under(webhook, _DELIVERY)

    @staticmethod
    def proof(auth: SignatureAuth, body: bytes, now: datetime) -> Proof:
        """The signature, and the time beside it."""
        key = auth.secrets[0].encode("utf-8", "surrogatepass")
        digest = hmac.digest(key, body, "sha256").hex()
        return Proof(headers={"Sentry-Hook-Signature": digest, "Sentry-Hook-Timestamp": str(int(now.timestamp()))})


def _is_installation(payload: Mapping[str, Any]) -> bool:
    return bool(block_at(payload, "data", "installation"))


def _notice(source: str, payload: Mapping[str, Any], reason: str) -> Notice:
    return Notice(source=source, source_type=Sentry.type, reason=reason, payload=payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hook:
    """One message."""

    source: str
    payload: Mapping[str, Any]
    action: str
    resource: str
    reported_at: datetime | None

    def reading(self) -> Reading:
        data = block_at(self.payload, "data")
        if metric := block_at(data, "metric_alert"):
            return self._of_metric(data, metric)
        activity = line(text_of(block_at(data, "activity").get("type")) or "", 60)
        if activity.startswith(_OF_SEER):
            return _notice(self.source, self.payload, f"{activity} reports no problem")
        if issue := block_at(data, "issue"):
            return self._of_issue(data, issue)
        if event := block_at(data, "event") or block_at(data, "error"):
            return self._of_event(data, event)
        if "data" not in self.payload and (event := block_at(self.payload, "event")):
            return self._of_legacy(event)
        if block_at(data, "comment") or "comment_id" in data:
            return _notice(self.source, self.payload, "comment reports no problem")
        return reading_anyway(self.source, Sentry.type, self.payload, kind=self.action)

    def _of_metric(self, data: Mapping[str, Any], metric: Mapping[str, Any]) -> Alert:
        rule = block_at(metric, "alert_rule")
        name = text_of(rule.get("name")) or _PREFIX.sub("", text_of(data.get("description_title")) or "", count=1)
        incident = key_of(metric.get("id"))
        projects = sorted(texts_in(metric.get("projects")))
        rule_id = key_of(rule.get("id"))
        told = ("rule", rule_id, *projects) if rule_id else ("incident", incident or line(name, 100))
        severity = {"critical": Severity.CRITICAL, "warning": Severity.WARNING}.get(self.action)
        is_over = self.action == "resolved"
        return Alert(
            source=self.source,
            source_type=Sentry.type,
            fingerprint=identity(*told),
            episode=None if incident is None else identity("incident", incident),
            reported_at=self.reported_at,
            status=Status.RESOLVED if is_over else Status.FIRING,
            severity=severity,
            title=line(name or text_of(metric.get("title")) or "") or f"Alert from {self.source}",
            description=paragraphs((text_of(data.get("description_text")) or "").replace("\\n", "\n")),
            labels=layered_labels(
                [
                    ("project", ",".join(projects)),
                    ("environment", text_of(rule.get("environment"))),
                    ("rule", name),
                    ("rule_id", rule_id),
                    ("dataset", text_of(rule.get("dataset"))),
                    ("query", text_of(rule.get("query"))),
                ],
                self._own_labels(),
            ),
            links=links_of(link_of("Sentry alert", text_of(data.get("web_url")))),
            starts_at=instant_of(metric.get("date_started")),
            ends_at=(instant_of(metric.get("date_closed")) or self.reported_at) if is_over else None,
            payload=self.payload,
        )

    def _of_issue(self, data: Mapping[str, Any], issue: Mapping[str, Any]) -> Alert:
        status = self._issue_status(issue)
        title = text_of(issue.get("title")) or _metadata_title(issue)
        project = block_at(issue, "project")
        links = (text_of(issue.get(name)) for name in ("permalink", "web_url"))
        return Alert(
            source=self.source,
            source_type=Sentry.type,
            fingerprint=_issue_fingerprint(issue.get("id"), title or ""),
            episode=self._episode(issue),
            reported_at=self.reported_at,
            status=status,
            severity=severity_in((text_of(issue.get("level")),)),
            title=line(title or "") or f"Alert from {self.source}",
            description=_description(issue),
            labels=layered_labels(
                [
                    ("project", text_of(project.get("slug")) or text_of(project.get("name"))),
                    ("short_id", text_of(issue.get("shortId"))),
                    ("issue_id", text_of(issue.get("id"))),
                    ("substatus", text_of(issue.get("substatus"))),
                    ("priority", text_of(issue.get("priority"))),
                    ("assignee", text_of(block_at(issue, "assignedTo").get("name"))),
                    ("issue_type", text_of(issue.get("issueType")) or text_of(issue.get("type"))),
                    ("issue_category", text_of(issue.get("issueCategory"))),
                    ("rule", text_of(data.get("triggered_rule"))),
                    *_event_labels(issue),
                ],
                self._own_labels(),
            ),
            links=links_of(*(link_of("Sentry issue", href) for href in links)),
            starts_at=instant_of(issue.get("firstSeen")),
            ends_at=self.reported_at if status is Status.RESOLVED else None,
            payload=self.payload,
        )

    def _of_event(self, data: Mapping[str, Any], event: Mapping[str, Any]) -> Alert:
        found = _ISSUE_IN_URL.search(text_of(event.get("issue_url")) or "")
        title = text_of(event.get("title")) or _metadata_title(event)
        in_url = _PROJECT_IN_URL.search(text_of(event.get("url")) or "")
        return self._occurrence(
            event,
            issue_id=key_of(event.get("issue_id")) or (found[1] if found else None),
            title=title or "",
            href=text_of(event.get("web_url")),
            labels=[
                ("project", in_url[1] if in_url else text_of(event.get("project"))),
                ("rule", text_of(data.get("triggered_rule"))),
            ],
        )

    def _of_legacy(self, event: Mapping[str, Any]) -> Alert:
        body = self.payload
        title = text_of(body.get("message")) or text_of(event.get("title")) or _metadata_title(event)
        return self._occurrence(
            event,
            issue_id=key_of(body.get("id")),
            title=title or text_of(body.get("culprit")) or "",
            href=text_of(body.get("url")),
            labels=[
                ("project", text_of(body.get("project_slug")) or text_of(body.get("project"))),
                ("rule", ",".join(texts_in(body.get("triggering_rules")))),
                ("level", text_of(body.get("level"))),
            ],
        )

    def _occurrence(
        self,
        event: Mapping[str, Any],
        *,
        issue_id: str | None,
        title: str,
        href: str | None,
        labels: list[tuple[str, str | None]],
    ) -> Alert:
        """One event of an issue: it fires, and only the issue itself recovers."""
        level = text_of(event.get("level")) or dict(labels).get("level")
        return Alert(
            source=self.source,
            source_type=Sentry.type,
            fingerprint=_issue_fingerprint(issue_id, title),
            reported_at=self.reported_at,
            status=Status.RESOLVED if self.action in _ISSUE_ENDS else Status.FIRING,
            severity=severity_in((level,)),
            title=line(title) or f"Alert from {self.source}",
            description=_description(event),
            labels=layered_labels(
                [*labels, ("issue_id", issue_id), *_event_labels(event)], _tags(event), self._own_labels()
            ),
            links=links_of(link_of("Sentry event", href)),
            starts_at=instant_of(event.get("datetime")) or instant_of(event.get("timestamp")),
            payload=self.payload,
        )

    def _issue_status(self, issue: Mapping[str, Any]) -> Status:
        if self.action == "assigned":
            return Status.ACKNOWLEDGED
        says = self.action in _ISSUE_FIRES | _ISSUE_ENDS and self.resource != _ACTIVITY
        told = self.action if says else text_of(issue.get("status"))
        return Status.RESOLVED if told in _ISSUE_ENDS else Status.FIRING

    def _episode(self, issue: Mapping[str, Any]) -> str | None:
        seen = key_of(issue.get("lastSeen"))
        return identity("unresolved", seen) if self.action == "unresolved" and seen is not None else None

    def _own_labels(self) -> list[tuple[str, str | None]]:
        return [("resource", self.resource), ("action", self.action)]


def _issue_fingerprint(issue_id: Any, title: str) -> str:
    key = key_of(issue_id)
    return identity("title", line(title)) if key is None else identity("issue", key)


def _metadata_title(element: Mapping[str, Any]) -> str | None:
    """What Sentry itself makes a title of: the type of the exception and what it says."""
    metadata = block_at(element, "metadata")
    parts = (text_of(metadata.get(name)) for name in ("type", "value", "title"))
    return ": ".join(part for part in parts if part is not None) or None


def _description(element: Mapping[str, Any]) -> str:
    metadata = block_at(element, "metadata")
    told = (element.get("culprit"), element.get("message"), metadata.get("value"), metadata.get("filename"))
    return paragraphs("\n".join(dict.fromkeys(text for one in told if (text := text_of(one)) is not None)))


def _event_labels(element: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for name in ("level", "environment", "release", "platform", "logger", "culprit"):
        yield name, text_of(element.get(name))


def _tags(event: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Tags are pairs in lists; elsewhere in Sentry objects of key and value."""
    tags = event.get("tags")
    for tag in tags[:LABELS_MAX] if isinstance(tags, list) else ():
        pair = (tag.get("key"), tag.get("value")) if isinstance(tag, dict) else tag
        if isinstance(pair, list | tuple) and len(pair) == 2 and (name := text_of(pair[0])) is not None:
            yield name, text_of(pair[1])
