"""GitHub webhooks: issues, workflow runs, and the alerts of Dependabot, code scanning and secret scanning.

In: one event of a repository. Out: one Alert while it tells whether something is broken, else a Notice (pings, pushes,
comments, stars, ...).

Facts: SOURCES.md sections 1 and 13, published bodies, and the events and their actions in
https://docs.github.com/en/webhooks/webhook-events-and-payloads (own knowledge, not read again). What is decided here:

- The event is X-GitHub-Event, else what the body looks like.
- Issues: opened, reopened and labeled (rules go by labels) report their state; closed, deleted and transferred end
  them. Fingerprint: the ids of repository and issue. Episode: a reopening, by its time.
- Workflow runs: the problem is a workflow on a branch, for a failed run itself never recovers, a later one does.
  failure, timed_out and startup_failure are firing, success is resolved; other conclusions, and runs under way, are
  Notices. The branch of a fork is not the repository's own. Runs tell no episode, for each run has an id of its own.
- Security alerts: open is firing; fixed, dismissed and resolved are resolved. A reopening is an episode, by its time.
- Severity: that of a security alert. GitHub knows none for the others; a label `severity:high` is labels.severity.
- Delivery: X-GitHub-Delivery, which a redelivery by hand keeps. GitHub repeats nothing by itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Notice, Reading, Severity, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.absent import key_of, text_of
from bridge.sources.base import Auth, Proof, SignatureAuth
from bridge.sources.body import block_at, json_in, kind_of, object_in
from bridge.sources.fields import words
from bridge.sources.generic import reading_anyway
from bridge.sources.signatures import hex_hmac_proof, verify_hex_hmac, verify_shared
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
    tag_pairs,
)

_SIGNATURE = "x-hub-signature-256"
_EVENT = "x-github-event"
_DELIVERY = "x-github-delivery"

_ISSUE_REPORTS = words("opened reopened labeled closed deleted transferred")
_ISSUE_ENDS = words("closed deleted transferred")
_BY_CONCLUSION = {
    **dict.fromkeys(words("failure timed_out startup_failure"), Status.FIRING),
    "success": Status.RESOLVED,
}
_SECURITY_ALERTS = words("dependabot_alert code_scanning_alert secret_scanning_alert")
_SECURITY_OVER = words("fixed dismissed auto_dismissed resolved closed closed_by_user")
_REOPENED = words("reopened reopened_by_user auto_reopened reintroduced")
_BY_SEVERITY = {
    "critical": Severity.CRITICAL,
    **dict.fromkeys(words("high error"), Severity.ERROR),
    **dict.fromkeys(words("medium moderate warning"), Severity.WARNING),
    **dict.fromkeys(words("low note"), Severity.INFO),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHub:
    """A repository or organisation that posts here, signed with the webhook's secret or known by any shared one."""

    type: ClassVar[str] = "github"
    signature_keys: ClassVar[frozenset[str]] = frozenset({"signing_secret"})
    name: str
    auth: Auth

    def verify(self, webhook: Webhook) -> None:
        """Check `X-Hub-Signature-256: sha256=…` over the raw body, or the shared secret. Raises SignatureError."""
        if isinstance(self.auth, SignatureAuth):
            verify_hex_hmac(self.auth, webhook, _SIGNATURE, prefix="sha256=")
        else:
            verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of an event. Raises DecodeError."""
        payload = _payload_in(webhook)
        event = text_of(webhook.headers.get(_EVENT)) or _event_of(payload)
        action = (text_of(payload.get("action")) or "").lower()
        issue, run, alert = (block_at(payload, name) for name in ("issue", "workflow_run", "alert"))
        if event == "issues" and issue:
            return (_of_issue(self.name, payload, issue, action),)
        if event == "workflow_run" and run:
            return (_of_run(self.name, payload, run),)
        if event in _SECURITY_ALERTS and alert:
            return (_of_alert(self.name, payload, alert, event, action),)
        if event is None or event in _SECURITY_ALERTS | {"issues", "workflow_run"}:
            return (reading_anyway(self.name, self.type, payload),)
        return (_notice(self.name, payload, f"{line(event, 100)} reports no problem"),)

    def delivery_id(self, webhook: Webhook) -> str | None:
        """X-GitHub-Delivery."""
        return delivery_under(webhook, _DELIVERY)

    @staticmethod
    def proof(auth: SignatureAuth, body: bytes, now: datetime) -> Proof:  # noqa: ARG004 - the protocol's parameter
        """The signature of a body; no time is signed."""
        return hex_hmac_proof(auth, body, _SIGNATURE, prefix="sha256=")


def _payload_in(webhook: Webhook) -> Mapping[str, Any]:
    """The event, also where the hook's content type is a form: its field `payload` holds the JSON."""
    body = object_in(webhook)
    if set(body) != {"payload"} or not isinstance(body["payload"], str):
        return body
    payload = json_in(body["payload"].encode("utf-8", "replace"))
    if not isinstance(payload, dict):
        raise DecodeError("$.payload", f"expected an object, found {kind_of(payload)}")
    return payload


def _event_of(payload: Mapping[str, Any]) -> str | None:
    """The event, told by the body alone; None where it looks like nothing of GitHub's."""
    if block_at(payload, "workflow_run"):
        return "workflow_run"
    if block_at(payload, "issue"):
        return "issue_comment" if block_at(payload, "comment") else "issues"
    if block_at(payload, "repository") and (alert := block_at(payload, "alert")):
        if "rule" in alert:
            return "code_scanning_alert"
        return "secret_scanning_alert" if "secret_type" in alert else "dependabot_alert"
    if "zen" in payload and "hook" in payload:
        return "ping"
    if "ref" in payload and "commits" in payload:
        return "push"
    return "this event" if block_at(payload, "repository") and block_at(payload, "sender") else None


def _notice(source: str, payload: Mapping[str, Any], reason: str, title: str = "", key: str | None = None) -> Notice:
    return Notice(source=source, source_type=GitHub.type, reason=reason, payload=payload, title=title, fingerprint=key)


def _of_issue(source: str, payload: Mapping[str, Any], issue: Mapping[str, Any], action: str) -> Reading:
    number = text_of(issue.get("number"))
    repository = block_at(payload, "repository")
    title = line(text_of(issue.get("title")) or "") or (line(f"Issue {number}") if number else f"Alert from {source}")
    own = key_of(issue.get("id")) or key_of(issue.get("number"))
    repository_id = key_of(repository.get("id")) or key_of(repository.get("full_name")) or ""
    fingerprint = identity("issue", repository_id, own) if own else identity("issue-title", repository_id, title)
    if action and action not in _ISSUE_REPORTS:
        reason = f"an issue was {line(action, 60)}, which changes neither its state nor its labels"
        return _notice(source, payload, reason, title, fingerprint)
    is_over = action in _ISSUE_ENDS or (action != "reopened" and text_of(issue.get("state")) == "closed")
    reported_at = instant_of(issue.get("updated_at"))
    return Alert(
        source=source,
        source_type=GitHub.type,
        fingerprint=fingerprint,
        episode=_reopening(action, issue),
        reported_at=reported_at,
        status=Status.RESOLVED if is_over else Status.FIRING,
        title=title,
        description=paragraphs(text_of(issue.get("body")) or ""),
        labels=layered_labels(
            tag_pairs(_label_names(issue)),
            [
                *_repository_labels(payload),
                ("action", action),
                ("number", number),
                ("author", text_of(block_at(issue, "user").get("login"))),
                ("issue_type", text_of(block_at(issue, "type").get("name"))),
                ("labels", ",".join(_label_names(issue))),
            ],
        ),
        links=links_of(link_of(f"GitHub issue {number}", text_of(issue.get("html_url")))),
        starts_at=instant_of(issue.get("created_at")),
        ends_at=(instant_of(issue.get("closed_at")) or reported_at) if is_over else None,
        payload=payload,
    )


def _of_run(source: str, payload: Mapping[str, Any], run: Mapping[str, Any]) -> Reading:
    workflow = text_of(block_at(payload, "workflow").get("name")) or text_of(run.get("name"))
    workflow = workflow or text_of(run.get("path")) or "Workflow"
    branch = _branch(payload, run)
    title = line(f"{workflow} on {branch} ({text_of(block_at(payload, 'repository').get('full_name')) or source})")
    repository_id = key_of(block_at(payload, "repository").get("id")) or ""
    fingerprint = identity("workflow", repository_id, key_of(run.get("workflow_id")) or workflow, branch)
    told = text_of(run.get("conclusion")) or text_of(run.get("status")) or "under way"
    status = _BY_CONCLUSION.get(told.lower())
    if status is None:
        reason = f"a run that is {line(told, 60)} says neither that its workflow works nor that it fails"
        return _notice(source, payload, reason, title, fingerprint)
    reported_at = instant_of(run.get("updated_at"))
    return Alert(
        source=source,
        source_type=GitHub.type,
        fingerprint=fingerprint,
        reported_at=reported_at,
        status=status,
        title=title,
        description=paragraphs(_story(run)),
        labels=layered_labels(
            [
                *_repository_labels(payload),
                ("workflow", workflow),
                ("branch", branch),
                ("conclusion", told),
                ("event", text_of(run.get("event"))),
                ("actor", text_of(block_at(run, "actor").get("login"))),
                ("run_number", text_of(run.get("run_number"))),
                ("run_attempt", text_of(run.get("run_attempt"))),
                ("commit", text_of(run.get("head_sha"))),
            ]
        ),
        links=links_of(link_of("GitHub run", text_of(run.get("html_url")))),
        starts_at=instant_of(run.get("run_started_at")) or instant_of(run.get("created_at")),
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _of_alert(source: str, payload: Mapping[str, Any], alert: Mapping[str, Any], event: str, action: str) -> Reading:
    number = key_of(alert.get("number"))
    repository = block_at(payload, "repository")
    advisory, rule = block_at(alert, "security_advisory"), block_at(alert, "rule")
    severity = text_of(advisory.get("severity")) or text_of(rule.get("security_severity_level"))
    severity = severity or text_of(rule.get("severity"))
    is_over = text_of(alert.get("state")) in _SECURITY_OVER or action in _SECURITY_OVER
    reported_at = instant_of(alert.get("updated_at"))
    secret = text_of(alert.get("secret_type_display_name")) or text_of(alert.get("secret_type"))
    title = text_of(advisory.get("summary")) or text_of(rule.get("description")) or (secret and f"Secret: {secret}")
    kind = event.removesuffix("_alert")
    repository_id = key_of(repository.get("id")) or key_of(repository.get("full_name")) or ""
    return Alert(
        source=source,
        source_type=GitHub.type,
        fingerprint=identity(kind, repository_id, number or text_of(alert.get("html_url")) or title or ""),
        episode=_reopening(action, alert),
        reported_at=reported_at,
        status=Status.RESOLVED if is_over else Status.FIRING,
        severity=_BY_SEVERITY.get((severity or "").lower()),
        title=line(title or "") or f"Alert from {source}",
        description=paragraphs(text_of(advisory.get("description")) or text_of(rule.get("full_description")) or ""),
        labels=layered_labels(
            [
                *_repository_labels(payload),
                ("alert", kind),
                ("action", action),
                ("severity", severity),
                ("number", number),
                ("package", text_of(block_at(alert, "dependency", "package").get("name"))),
                ("rule", text_of(rule.get("id"))),
            ]
        ),
        links=links_of(link_of("GitHub alert", text_of(alert.get("html_url")))),
        starts_at=instant_of(alert.get("created_at")),
        ends_at=reported_at if is_over else None,
        payload=payload,
    )


def _reopening(action: str, element: Mapping[str, Any]) -> str | None:
    """The episode that a reopening begins; None where the event tells of none (DESIGN: then any episode)."""
    at = key_of(element.get("updated_at"))
    return identity("reopened", at) if action in _REOPENED and at is not None else None


def _branch(payload: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """The branch of a run; of a fork with the fork's name before it."""
    branch = text_of(run.get("head_branch")) or "no branch"
    fork = block_at(run, "head_repository")
    own = (None, block_at(payload, "repository").get("id"))
    return branch if fork.get("id") in own else f"{text_of(fork.get('full_name')) or fork.get('id')}:{branch}"


def _story(run: Mapping[str, Any]) -> str:
    """What the run was about: its title, and the commit's message, which mostly begins with it."""
    title, message = text_of(run.get("display_title")) or "", text_of(block_at(run, "head_commit").get("message")) or ""
    return message if message.startswith(title) else f"{title}\n{message}".strip()


def _label_names(issue: Mapping[str, Any]) -> list[str]:
    labels = issue.get("labels")
    given = labels[:LABELS_MAX] if isinstance(labels, list) else []
    names = (text_of(one.get("name")) if isinstance(one, dict) else text_of(one) for one in given)
    return [name for name in names if name is not None]


def _repository_labels(payload: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    repository = block_at(payload, "repository")
    yield "repository", text_of(repository.get("full_name"))
    yield "owner", text_of(block_at(repository, "owner").get("login"))
    yield "sender", text_of(block_at(payload, "sender").get("login"))
