"""GitLab webhooks: pipelines, issues and incidents, and alerts.

In: one event of a project or group. Out: one Alert while it tells whether something is broken, else a Notice (pushes,
comments, merge requests, jobs, ...).

Facts: SOURCES.md sections 1 and 13; gitlabhq/gitlabhq doc/user/project/integrations/webhooks.md (headers), and
lib/gitlab/data_builder/alert.rb (the shape of an alert), read 2026-11. What is decided here:

- The event is `object_kind`, else X-Gitlab-Event.
- Pipelines: the problem is the project's pipeline on a ref, for a failed pipeline recovers by a retry or by the next
  one. failed is firing, success is resolved; the others (running, canceled, skipped, manual, ...) are Notices. Those
  of merge requests, schedules, parents and other projects are problems of their own beside the ref's. They tell no
  episode, for each pipeline has an id of its own.
- Issues, incidents and work items: by their state, fingerprint project and issue id. An incident's escalation status
  acknowledged is acknowledged, resolved and ignored are resolved. Episode: a reopening, by its time. An update is an
  Alert when it changes anything but the fields in _ASIDE, or names no change.
- Alerts of GitLab's own alert management: triggered, acknowledged, resolved or ignored; fingerprint: their address.
- Severity: critical, high (error), medium (warning), low and info; unknown is null. Pipelines have none.
- The secret token comes in plain X-Gitlab-Token: `auth: {header: X-Gitlab-Token, secret: …}`.
- Delivery: Idempotency-Key (GitLab 17.4), else X-Gitlab-Event-UUID, which several events may share: with the body.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Link, Notice, Reading, Severity, Status, Webhook
from bridge.sources.absent import key_of, text_of
from bridge.sources.body import block_at, object_in
from bridge.sources.fields import words
from bridge.sources.generic import reading_anyway
from bridge.sources.signatures import SharedSecret
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

_EVENT = "x-gitlab-event"
_DELIVERIES = ("idempotency-key", "x-gitlab-event-uuid")

_ISSUES = words("issue incident work_item")
_OVER = words("resolved ignored")
_ASIDE = words(  # changes of an issue that tell neither its state nor where it belongs
    "updated_at updated_by_id last_edited_at last_edited_by_id title description assignees assignee_id milestone_id"
    " due_date start_date total_time_spent time_change time_estimate human_time_estimate relative_position position"
    " weight iteration iteration_id epic_id health_status discussion_locked"
)
_BY_SEVERITY = {
    "critical": Severity.CRITICAL,
    "high": Severity.ERROR,
    "medium": Severity.WARNING,
    "low": Severity.INFO,
    "info": Severity.INFO,
}
_BY_PIPELINE = {"failed": Status.FIRING, "success": Status.RESOLVED}


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLab(SharedSecret):
    """A GitLab project or group that posts here, known by its secret token or another shared secret."""

    type: ClassVar[str] = "gitlab"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of an event. Raises DecodeError."""
        payload = object_in(webhook)
        about = block_at(payload, "object_attributes")
        kind = _kind(webhook, payload)
        if kind == "pipeline" and about:
            return (_of_pipeline(self.name, payload, about),)
        if kind in _ISSUES and about:
            return (_of_issue(self.name, payload, about),)
        if kind == "alert" and about:
            return (_of_alert(self.name, payload, about),)
        if kind is None or kind in _ISSUES | {"pipeline", "alert"}:
            return (reading_anyway(self.name, self.type, payload),)
        return (_notice(self.name, payload, f"{line(kind, 100)} reports no problem"),)

    def delivery_id(self, webhook: Webhook) -> str | None:
        """Idempotency-Key, else X-Gitlab-Event-UUID, with the body."""
        found = (delivery_under(webhook, header) for header in _DELIVERIES)
        return next((delivery for delivery in found if delivery is not None), None)


def _kind(webhook: Webhook, payload: Mapping[str, Any]) -> str | None:
    """What the event is about: `pipeline`, also for "Pipeline Hook"; system hooks tell it as `event_name`."""
    kind = text_of(payload.get("object_kind"))
    if kind is None and (header := text_of(webhook.headers.get(_EVENT))) is not None:
        kind = header.lower().removesuffix(" hook").removeprefix("confidential ").replace(" ", "_")
    return kind or text_of(payload.get("event_name"))


def _notice(source: str, payload: Mapping[str, Any], reason: str, title: str = "", key: str | None = None) -> Notice:
    return Notice(source=source, source_type=GitLab.type, reason=reason, payload=payload, title=title, fingerprint=key)


def _of_pipeline(source: str, payload: Mapping[str, Any], pipeline: Mapping[str, Any]) -> Reading:
    ref = text_of(pipeline.get("ref")) or "no branch"
    project = text_of(block_at(payload, "project").get("path_with_namespace")) or source
    title = line(f"Pipeline on {ref} ({project})")
    fingerprint = identity("pipeline", _project(payload), _line_of(payload, pipeline), ref)
    told = text_of(pipeline.get("status")) or "without a status"
    status = _BY_PIPELINE.get(told.lower())
    if status is None:
        reason = f"a pipeline that is {line(told, 60)} says neither that it works nor that it fails"
        return _notice(source, payload, reason, title, fingerprint)
    reported_at = _instant(pipeline.get("finished_at")) or _instant(pipeline.get("updated_at"))
    return Alert(
        source=source,
        source_type=GitLab.type,
        fingerprint=fingerprint,
        reported_at=reported_at,
        status=status,
        title=title,
        description=paragraphs("\n".join(_story(payload))),
        labels=layered_labels(
            [
                *_project_labels(payload),
                ("ref", ref),
                ("status", told),
                ("trigger", text_of(pipeline.get("source"))),
                ("pipeline_id", text_of(pipeline.get("id"))),
                ("pipeline_name", text_of(pipeline.get("name"))),
                ("commit", text_of(pipeline.get("sha"))),
                ("merge_request", text_of(block_at(payload, "merge_request").get("iid"))),
            ]
        ),
        links=links_of(link_of("GitLab pipeline", text_of(pipeline.get("url"))), _project_link(payload, pipeline)),
        starts_at=_instant(pipeline.get("created_at")),
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _of_issue(source: str, payload: Mapping[str, Any], issue: Mapping[str, Any]) -> Reading:
    number = text_of(issue.get("iid"))
    title = line(text_of(issue.get("title")) or "") or (line(f"Issue {number}") if number else f"Alert from {source}")
    own = key_of(issue.get("id")) or key_of(issue.get("iid"))
    project = _project(payload)
    fingerprint = identity("issue", project, own) if own else identity("issue-title", project, title)
    action = (text_of(issue.get("action")) or "").lower()
    changed = block_at(payload, "changes")
    if action == "update" and changed and _ASIDE.issuperset(changed):
        return _notice(source, payload, "the update changes neither state, severity nor labels", title, fingerprint)
    status = _issue_status(issue, action)
    reported_at = _instant(issue.get("updated_at"))
    reopened_at = key_of(issue.get("updated_at")) if action == "reopen" else None
    kind = text_of(issue.get("type")) or text_of(payload.get("object_kind"))
    return Alert(
        source=source,
        source_type=GitLab.type,
        fingerprint=fingerprint,
        episode=None if reopened_at is None else identity("reopened", reopened_at),
        reported_at=reported_at,
        status=status,
        severity=_severity(issue),
        title=title,
        description=paragraphs(text_of(issue.get("description")) or ""),
        labels=layered_labels(
            tag_pairs(_label_titles(payload, issue)),
            [
                *_project_labels(payload),
                ("issue_type", kind and kind.lower()),
                ("action", action),
                ("state", text_of(issue.get("state"))),
                ("escalation_status", _escalation(issue)),
                ("severity", text_of(issue.get("severity"))),
                ("number", number),
                ("labels", ",".join(_label_titles(payload, issue))),
            ],
        ),
        links=links_of(link_of(f"GitLab issue {number or ''}", text_of(issue.get("url")))),
        starts_at=_instant(issue.get("created_at")),
        ends_at=(_instant(issue.get("closed_at")) or reported_at) if status is Status.RESOLVED else None,
        payload=payload,
    )


def _of_alert(source: str, payload: Mapping[str, Any], alert: Mapping[str, Any]) -> Alert:
    title = line(text_of(alert.get("title")) or "") or f"Alert from {source}"
    started_at = text_of(alert.get("started_at")) or ""
    address = key_of(alert.get("url"))
    own = identity("alert", address) if address else identity("alert-title", _project(payload), title, started_at)
    told = (text_of(alert.get("status")) or "").lower()
    return Alert(
        source=source,
        source_type=GitLab.type,
        fingerprint=own,
        status=Status.ACKNOWLEDGED if told == "acknowledged" else _status(told in _OVER),
        severity=_severity(alert),
        title=title,
        labels=layered_labels(
            [
                *_project_labels(payload),
                ("status", told),
                ("severity", text_of(alert.get("severity"))),
                ("events", text_of(alert.get("events"))),
            ]
        ),
        links=links_of(link_of("GitLab alert", address)),
        starts_at=_instant(alert.get("started_at")),
        ends_at=_instant(alert.get("ended_at")) if told in _OVER else None,
        payload=payload,
    )


def _status(is_over: bool) -> Status:
    return Status.RESOLVED if is_over else Status.FIRING


def _issue_status(issue: Mapping[str, Any], action: str) -> Status:
    escalation = _escalation(issue)
    is_closed = action == "close" or (action != "reopen" and text_of(issue.get("state")) == "closed")
    if escalation == "acknowledged" and not is_closed and action not in ("open", "reopen"):
        return Status.ACKNOWLEDGED
    return _status(is_closed or (escalation in _OVER and action != "reopen"))


def _escalation(issue: Mapping[str, Any]) -> str | None:
    status = text_of(issue.get("escalation_status"))
    return status and status.lower()


def _severity(about: Mapping[str, Any]) -> Severity | None:
    return _BY_SEVERITY.get((text_of(about.get("severity")) or "").lower())


def _line_of(payload: Mapping[str, Any], pipeline: Mapping[str, Any]) -> str:
    """Which of the pipelines on one ref this is: their results say nothing of one another."""
    trigger = (text_of(pipeline.get("source")) or "").lower()
    if trigger == "merge_request_event":
        return f"merge request {key_of(block_at(payload, 'merge_request').get('iid')) or ''}"
    if trigger == "schedule":
        return f"schedule {key_of(pipeline.get('name')) or ''}"
    if trigger == "pipeline":
        return f"project {key_of(block_at(payload, 'source_pipeline', 'project').get('id')) or ''}"
    if trigger == "parent_pipeline":  # nothing names a child: only its own retry can tell that it recovered
        return f"child {key_of(pipeline.get('id')) or ''}"
    return "tag" if pipeline.get("tag") is True else "branch"


def _story(payload: Mapping[str, Any]) -> Iterator[str]:
    """The commit, and the jobs that failed."""
    if (commit := text_of(block_at(payload, "commit").get("title"))) is not None:
        yield commit
    builds = payload.get("builds")
    for build in builds[:LABELS_MAX] if isinstance(builds, list) else []:
        if isinstance(build, dict) and build.get("status") == "failed" and build.get("allow_failure") is not True:
            names = [text_of(build.get(name)) for name in ("stage", "name", "failure_reason")]
            yield "failed: " + ", ".join(name for name in names if name is not None)


def _label_titles(payload: Mapping[str, Any], issue: Mapping[str, Any]) -> list[str]:
    labels = payload.get("labels") or issue.get("labels")
    given = labels[:LABELS_MAX] if isinstance(labels, list) else []
    titles = (text_of(one.get("title")) if isinstance(one, dict) else None for one in given)
    return [title.replace("::", ":", 1) for title in titles if title is not None]  # a scoped label is a pair


def _project(payload: Mapping[str, Any]) -> str:
    project = block_at(payload, "project")
    return key_of(project.get("id")) or key_of(project.get("path_with_namespace")) or ""


def _project_labels(payload: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield "project", text_of(block_at(payload, "project").get("path_with_namespace"))
    yield "user", text_of(block_at(payload, "user").get("username"))


def _project_link(payload: Mapping[str, Any], pipeline: Mapping[str, Any]) -> Link | None:
    """The address of a pipeline, for the versions that do not send it."""
    project, own = text_of(block_at(payload, "project").get("web_url")), text_of(pipeline.get("id"))
    return link_of("GitLab pipeline", f"{project}/-/pipelines/{own}" if project and own else None)


def _instant(value: Any) -> datetime | None:
    """A time as GitLab writes it: ISO 8601, or `2026-02-10 12:03:10 UTC`."""
    return instant_of(value.removesuffix(" UTC") if isinstance(value, str) else value)
