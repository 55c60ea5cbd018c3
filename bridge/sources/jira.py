"""Jira webhooks: Cloud and Server, and the issue that an automation rule posts.

In: one change of one issue. Out: one Alert while the issue's own state or what rules go by is reported, else a Notice.

Facts: SOURCES.md sections 1 and 9, which cite https://developer.atlassian.com/cloud/jira/platform/webhooks/, and
published bodies. What is decided here:

- Fingerprint: the site's host and the id of the issue: the key changes when an issue moves, the id does not.
- Status: resolved when the status category is `done` (names are free) or the issue is deleted, else firing. Without a
  category (old servers) a resolution, or a status that says done, ends it. Jira knows no acknowledgement.
- Episode: known only where the changelog tells that the issue came back (the resolution was taken away, or the status
  it left says done): the id of that change.
- The post function of a workflow (no `webhookEvent`, a `transition` instead) may show the issue as it was before: the
  status that the transition leads to counts, with the word it has, for its category is not told then. Seen so in
  https://github.com/zulip/zulip, zerver/webhooks/jira/fixtures/change_status_v1.json (read 2026-11).
- An update is an Alert when the changelog names anything but the fields in _ASIDE, or when there is no changelog and
  it is not about a comment or a worklog. Everything about other things than issues is a Notice.
- Severity: the words of the priority, Highest to Lowest, Blocker to Trivial, P1 to P5.
- Custom data of an automation rule's web request (a choice beside the issue itself,
  https://support.atlassian.com/cloud-automation/docs/issue-data-jira-format-payload-for-send-web-request-action; read
  2026-11) has the keys that its author chose: what names an issue by its key (`issueKey`, `key`, alone or in a block)
  is that issue, and its status says whether it is done. Anything else is read as the generic source would.
- Labels: each label of the issue ("true"; `team:db` is team=db), then project, issue_key, issue_type, status, ...
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Link, Notice, Reading, Severity, Status, Webhook
from bridge.sources.absent import key_of, text_of
from bridge.sources.base import Auth, Proof, SignatureAuth
from bridge.sources.body import block_at, object_in
from bridge.sources.fields import fields_of, spelled, words
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
    texts_in,
)

_SIGNATURE = "x-hub-signature"
_DELIVERY = "x-atlassian-webhook-identifier"

_CHANGES_MAX = 200  # items of a changelog that are looked at
_DONE = words("done closed resolved complete completed fixed cancelled canceled declined rejected")
_ASIDE = words(  # fields whose change tells neither state nor where an issue belongs, as the changelog spells them
    "summary description environment comment assignee reporter creator attachment link issuelinks remoteissuelink"
    " worklogid timespent timeestimate timeoriginalestimate rank sprint epiclink epicchild issueparentassociation"
    " parent storypoints storypointestimate watchers votes duedate fixversion version workratio lastviewed flagged"
)
_ASIDE_EVENTS = words("issuecommented issuecommentedited issuecommentdeleted issueworklogged issueworklogupdated")
_BY_PRIORITY = {
    **dict.fromkeys(words("highest blocker critical urgent emergency p0 p1 sev0 sev1"), Severity.CRITICAL),
    **dict.fromkeys(words("high major severe p2 sev2"), Severity.ERROR),
    **dict.fromkeys(words("medium normal moderate minor p3 sev3"), Severity.WARNING),
    **dict.fromkeys(words("low lowest trivial p4 p5 sev4 sev5"), Severity.INFO),
}
_WRAPPERS = words("data issue ticket payload")
_SITE = re.compile(r"https?://([^/\s?#]{1,200})(?:/[^\s?#]{0,200}?)??(?=/rest/)", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,50}-[0-9]{1,20}")
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jira:
    """A Jira site that posts here, signed with the webhook's secret or known by any shared secret."""

    type: ClassVar[str] = "jira"
    signature_keys: ClassVar[frozenset[str]] = frozenset({"signing_secret"})
    name: str
    auth: Auth

    def verify(self, webhook: Webhook) -> None:
        """Check `X-Hub-Signature: sha256=…` over the raw body, or the shared secret. Raises SignatureError."""
        if isinstance(self.auth, SignatureAuth):
            verify_hex_hmac(self.auth, webhook, _SIGNATURE, prefix="sha256=")
        else:
            verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a webhook. Raises DecodeError."""
        payload = object_in(webhook)
        event = text_of(payload.get("webhookEvent"))
        issue = block_at(payload, "issue") or (payload if isinstance(payload.get("fields"), dict) else {})
        if event is None and not isinstance(issue.get("fields"), dict) and (not issue or "summary" in issue):
            return (_of_custom_data(self.name, payload),)
        reason = _aside(event, payload, issue)
        if reason is not None:
            return (_notice(self.name, payload, issue, reason),)
        return (_alert(self.name, payload, issue, event),)

    def delivery_id(self, webhook: Webhook) -> str | None:
        """X-Atlassian-Webhook-Identifier, the same over all retries."""
        return delivery_under(webhook, _DELIVERY)

    @staticmethod
    def proof(auth: SignatureAuth, body: bytes, now: datetime) -> Proof:  # noqa: ARG004 - the protocol's parameter
        """The signature of a body; no time is signed."""
        return hex_hmac_proof(auth, body, _SIGNATURE, prefix="sha256=")


def _aside(event: str | None, payload: Mapping[str, Any], issue: Mapping[str, Any]) -> str | None:
    """Why a webhook reports no problem; None when it does."""
    if event is None:
        return None
    kind = _kind(event)
    if kind not in ("issuecreated", "issueupdated", "issuedeleted"):
        return f"{line(event, 100)} tells nothing of an issue's state"
    if not issue:
        return f"{line(event, 100)} names no issue"
    if kind != "issueupdated":
        return None
    changed = [spelled(text_of(item.get("field")) or "") for item in _changes(payload)]
    if changed and all(field in _ASIDE for field in changed):
        return "the update changes neither state, priority nor labels"
    told = spelled(text_of(payload.get("issue_event_type_name")) or "")
    if not changed and (told in _ASIDE_EVENTS or block_at(payload, "comment")):
        return "the update is a comment or a worklog"
    return None


def _kind(event: str) -> str:
    return spelled(event.removeprefix("jira:"))


def _notice(source: str, payload: Mapping[str, Any], issue: Mapping[str, Any], reason: str) -> Notice:
    return Notice(
        source=source,
        source_type=Jira.type,
        reason=reason,
        payload=payload,
        title=_title(source, issue) if issue else "",
        fingerprint=_fingerprint(issue) if issue else None,
    )


def _alert(source: str, payload: Mapping[str, Any], issue: Mapping[str, Any], event: str | None) -> Alert:
    fields = _as_moved(payload, block_at(issue, "fields"))
    reported_at = instant_of(payload.get("timestamp")) or instant_of(fields.get("updated"))
    deleted = event is not None and _kind(event) == "issuedeleted"
    status = Status.RESOLVED if deleted or _is_done(fields) else Status.FIRING
    return Alert(
        source=source,
        source_type=Jira.type,
        fingerprint=_fingerprint(issue),
        episode=_episode(payload) if status is Status.FIRING else None,
        reported_at=reported_at,
        status=status,
        severity=_severity(fields),
        title=_title(source, issue),
        description=paragraphs(text_of(fields.get("description")) or ""),
        labels=layered_labels(tag_pairs(texts_in(fields.get("labels"))), _own_labels(issue, fields, event)),
        links=_links(issue),
        starts_at=instant_of(fields.get("created")),
        ends_at=(instant_of(fields.get("resolutiondate")) or reported_at) if status is Status.RESOLVED else None,
        payload=payload,
    )


def _of_custom_data(source: str, payload: Mapping[str, Any]) -> Reading:
    """What an automation rule posts under keys of its author's."""
    fields = fields_of(payload, wrappers=_WRAPPERS)
    key = next((key for key in fields.texts("issuekey", "ticketkey", "key") if _KEY.fullmatch(key)), None)
    if key is None:
        return reading_anyway(source, Jira.type, payload)
    state, category = fields.text("status", "issuestatus", "statusname"), fields.text("statuscategory")
    over = _says_done(category) if category is not None else _says_done(state)
    priority = fields.text("priority", "issuepriority", "severity")
    reported_at = instant_of(fields.value("updated", "timestamp"))
    return Alert(
        source=source,
        source_type=Jira.type,
        fingerprint=identity("key", key),
        reported_at=reported_at,
        status=Status.RESOLVED if over else Status.FIRING,
        severity=_severity({"priority": priority}),
        title=line(fields.text("summary", "issuesummary", "title") or f"Jira issue {key}"),
        description=paragraphs(fields.text("description", "issuedescription") or ""),
        labels=layered_labels(
            [
                ("project", key.partition("-")[0]),
                ("issue_key", key),
                ("issue_type", fields.text("issuetype", "type")),
                ("status", state),
                ("status_category", category),
                ("priority", priority),
            ]
        ),
        links=links_of(link_of(f"Jira {key}", fields.text("url", "issueurl", "link"))),
        starts_at=instant_of(fields.value("created")),
        ends_at=reported_at if over else None,
        payload=payload,
    )


def _as_moved(payload: Mapping[str, Any], fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of an issue with the status that a workflow's transition leads to, where they show another one."""
    to_status = text_of(block_at(payload, "transition").get("to_status"))
    if to_status is None or spelled(to_status) == spelled(_name(fields.get("status")) or ""):
        return fields
    return {**fields, "status": {"name": to_status}, "resolution": None, "resolutiondate": None}


def _is_done(fields: Mapping[str, Any]) -> bool:
    category = block_at(fields, "status", "statusCategory")
    if (key := text_of(category.get("key"))) is not None:
        return key.lower() == "done"
    return bool(block_at(fields, "resolution")) or _says_done(_name(fields.get("status")))


def _says_done(status: str | None) -> bool:
    return spelled(status or "") in _DONE


def _episode(payload: Mapping[str, Any]) -> str | None:
    """The change that brought an issue back; None where the webhook tells of none (DESIGN: then any episode)."""
    told = spelled(text_of(payload.get("issue_event_type_name")) or "") == "issuereopened"
    if not told and not any(_brings_back(item) for item in _changes(payload)):
        return None
    change = key_of(block_at(payload, "changelog").get("id")) or key_of(payload.get("timestamp"))
    return None if change is None else identity("reopened", change)


def _brings_back(item: Mapping[str, Any]) -> bool:
    field = spelled(text_of(item.get("field")) or "")
    before, after = text_of(item.get("fromString")), text_of(item.get("toString"))
    if field == "resolution":
        return before is not None and after is None
    return field == "status" and _says_done(before) and not _says_done(after)


def _changes(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = block_at(payload, "changelog").get("items")
    if items is None and (moved := block_at(payload, "transition")):
        return [{"field": "status", "fromString": moved.get("from_status"), "toString": moved.get("to_status")}]
    return [item for item in items[:_CHANGES_MAX] if isinstance(item, dict)] if isinstance(items, list) else []


def _severity(fields: Mapping[str, Any]) -> Severity | None:
    """The first word of the priority that has a meaning: schemes name them `High`, `P1`, `1 - Critical`."""
    name = (_name(fields.get("priority")) or "").lower()[:200]
    return next((_BY_PRIORITY[word] for word in _WORD.findall(name) if word in _BY_PRIORITY), None)


def _fingerprint(issue: Mapping[str, Any]) -> str:
    site = _SITE.match(text_of(issue.get("self")) or "")
    host = site[1].lower() if site else ""
    issue_id = key_of(issue.get("id")) or key_of(issue.get("key"))
    if issue_id is None:
        return identity("summary", host, text_of(block_at(issue, "fields").get("summary")) or "")
    return identity("issue", host, issue_id)


def _title(source: str, issue: Mapping[str, Any]) -> str:
    summary = line(text_of(block_at(issue, "fields").get("summary")) or "")
    key = text_of(issue.get("key"))
    return summary or (line(f"Jira issue {key}") if key else f"Alert from {source}")


def _own_labels(
    issue: Mapping[str, Any], fields: Mapping[str, Any], event: str | None
) -> Iterator[tuple[str, str | None]]:
    yield "event", None if event is None else event.removeprefix("jira:")
    yield "project", text_of(block_at(fields, "project").get("key"))
    yield "issue_key", text_of(issue.get("key"))
    yield "issue_type", _name(fields.get("issuetype"))
    yield "status", _name(fields.get("status"))
    yield "status_category", text_of(block_at(fields, "status", "statusCategory").get("key"))
    yield "priority", _name(fields.get("priority"))
    yield "resolution", _name(fields.get("resolution"))
    yield "components", ",".join(name for value in _list(fields.get("components")) if (name := _name(value)))
    yield "assignee", text_of(block_at(fields, "assignee").get("displayName"))
    yield "reporter", text_of(block_at(fields, "reporter").get("displayName"))
    yield "labels", ",".join(texts_in(fields.get("labels")))


def _links(issue: Mapping[str, Any]) -> tuple[Link, ...]:
    site = _SITE.match(text_of(issue.get("self")) or "")
    key = text_of(issue.get("key")) or ""
    if site is None or not _KEY.fullmatch(key):
        return ()
    return links_of(link_of(f"Jira {key}", f"{site[0]}/browse/{key}"))


def _name(value: Any) -> str | None:
    """The name of a Jira object; old servers send plain text in its place."""
    return text_of(value.get("name")) if isinstance(value, dict) else text_of(value)


def _list(value: Any) -> list[Any]:
    return value[:LABELS_MAX] if isinstance(value, list) else []
