"""Zendesk webhooks: events (`zen:event-type:ticket.…`) and the free bodies of triggers and automations.

In: one change of one ticket. Out: one Alert while the ticket's own state is reported, else a Notice with its reason.

Facts: SOURCES.md sections 1 and 3, which cite https://developer.zendesk.com/documentation/webhooks/ and
…/api-reference/webhooks/event-types/, and published bodies. What is decided here:

- Fingerprint: the ticket, together with the account when the body or X-Zendesk-Account-Id names it. A trigger's body
  that names no ticket may have a key of its own, as one made for PagerDuty or incident.io does (`dedup_key`); else its
  title.
- Status: NEW, OPEN, PENDING, HOLD and every word unknown are firing; SOLVED, CLOSED, DELETED, and a ticket merged,
  deleted or marked as spam are resolved. Status words of triggers are localised ("Gelöst"). Those of some languages are
  known here; put `"event_type"` with create, acknowledge or resolve into the body of the trigger and that decides.
- Episode: known only where an event tells that a ticket came back (SOLVED or CLOSED to open, undeleted): its time.
- Event types that tell the state of the ticket make an Alert: created, status_changed, priority_changed, merged,
  marked_as_spam, soft_deleted, permanently_deleted, undeleted. All others (comments, tags, assignments, users,
  organisations) are Notices.
- Severity: URGENT critical, HIGH error, NORMAL warning, LOW info; without a priority a `severity` of the body.
- A body in which no placeholder is filled is a test: a Notice.
- Labels: status, priority, type, tags (joined by commas; each tag also is a label of its own, "true"), ticket_id, and
  who and where, as sent.
"""

import base64
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Link, Notice, Reading, Severity, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.absent import key_of, text_of
from bridge.sources.base import Auth, Proof, SignatureAuth
from bridge.sources.body import object_in, says_anything
from bridge.sources.fields import Fields, fields_of, spelled, words
from bridge.sources.generic import severity_in
from bridge.sources.signatures import is_one_of, verify_shared
from bridge.sources.texts import (
    LABELS_MAX,
    delivery_under,
    digest_of,
    identity,
    instant_of,
    labels_of,
    line,
    link_of,
    links_of,
    paragraphs,
)

_SIGNATURE = "x-zendesk-webhook-signature"
_TIMESTAMP = "x-zendesk-webhook-signature-timestamp"
_INVOCATION = "x-zendesk-webhook-invocation-id"
_ACCOUNT = "x-zendesk-account-id"

_EVENT_TYPE = "zen:event-type:"
_REPORTS = words(
    "created status_changed priority_changed merged marked_as_spam soft_deleted permanently_deleted undeleted"
)
_ENDINGS = frozenset({"merged", "marked_as_spam", "soft_deleted", "permanently_deleted"})
# Words of triggers come in the account's language (SOURCES.md section 3, "localised"). Of the translations "Gelöst" is
# read there, the others are own knowledge: German, French, Spanish, Italian, Portuguese, Dutch.
_SOLVED = words(
    "solved closed deleted gelöst geschlossen résolu clos fermé resuelto cerrado risolto chiuso resolvido fechado"
    " opgelost gesloten"
)
_BY_PRIORITY = {
    **dict.fromkeys(words("urgent dringend urgente"), Severity.CRITICAL),
    **dict.fromkeys(words("high hoch haute élevée alta hoog"), Severity.ERROR),
    **dict.fromkeys(words("normal normale normaal"), Severity.WARNING),
    **dict.fromkeys(words("low niedrig basse faible baja bassa baixa laag"), Severity.INFO),
}
_UNSET = "-"  # a priority nobody chose (section 3, "unset priority can be")
_DASHES = re.compile(r"-{10,}\s*")  # section 3: "description starts with a dashed line"
_BY_EVENT = {  # what operators write into `event_type` of a trigger's body, alone or behind "ticket"
    **dict.fromkeys(words("create created trigger triggered open opened reopen reopened"), Status.FIRING),
    **dict.fromkeys(words("acknowledge acknowledged ack"), Status.ACKNOWLEDGED),
    **dict.fromkeys(words("resolve resolved solve solved close closed delete deleted"), Status.RESOLVED),
}
_WRAPPERS = frozenset({"data", "payload", "detail", "zendesk"})
_IDS = ("ticketid", "ticketnumber", "ticketno", "id", "number")
_KEYS = ("dedupkey", "deduplicationkey", "incidentkey")  # where a body names no ticket
_LINKS = ("link", "ticketlink", "ticketurl", "ticketurlwithprotocol", "url", "urlwithprotocol", "titlelink")
_LABELS = {
    "status": ("status", "ticketstatus"),
    "priority": ("priority", "ticketpriority"),
    "type": ("tickettype", "type"),
    "group": ("groupname", "group", "ticketgroupname"),
    "group_id": ("groupid",),
    "brand": ("brandname", "brand"),
    "brand_id": ("brandid",),
    "organization": ("organizationname", "organization", "ticketorganizationname"),
    "organization_id": ("organizationid",),
    "form_id": ("formid",),
    "custom_status": ("customstatus",),
    "channel": ("viachannel", "via", "ticketvia"),
    "assignee": ("assigneename", "assigneefullname", "assignee", "ticketassigneename"),
    "assignee_id": ("assigneeid",),
    "requester": ("requestername", "requesterfullname", "requester", "ticketrequestername"),
    "external_id": ("externalid",),
}
_TICKET_IN_URL = re.compile(r"/tickets/(\d{1,20})")
_TICKET_AFTER_HASH = re.compile(r"#(\d{1,20})\b")
_NUMBER_FIRST = re.compile(r"(?:ticket\s*)?#\d{1,20}[\s:|-]*", re.IGNORECASE)  # further on it is the subject's own
_HOST_FIRST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+/", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zendesk:
    """A Zendesk account that posts here, signed with the webhook's signing secret or by any shared secret."""

    type: ClassVar[str] = "zendesk"
    signature_keys: ClassVar[frozenset[str]] = frozenset({"signing_secret"})
    name: str
    auth: Auth

    def verify(self, webhook: Webhook) -> None:
        """Check the signature over timestamp and raw body, or the shared secret. Raises SignatureError."""
        if isinstance(self.auth, SignatureAuth):
            _verify_signature(self.auth, webhook)
        else:
            verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a webhook. Raises DecodeError."""
        payload = object_in(webhook, form_anyway=True)
        account = key_of(payload.get("account_id")) or key_of(webhook.headers.get(_ACCOUNT))
        kind = payload.get("type")
        if isinstance(kind, str) and kind.startswith(_EVENT_TYPE):
            return (_of_event(self.name, payload, kind.removeprefix(_EVENT_TYPE), account),)
        return (_of_trigger(self.name, payload, account),)

    def delivery_id(self, webhook: Webhook) -> str | None:
        """The invocation together with its body: test tools send many bodies under one invocation id."""
        return delivery_under(webhook, _INVOCATION)

    @staticmethod
    def proof(auth: SignatureAuth, body: bytes, now: datetime) -> Proof:
        """Signature and timestamp."""
        at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        signature = next((_signature(secret, at.encode() + body) for secret in auth.secrets if secret), "")
        return Proof(headers={_SIGNATURE: signature, _TIMESTAMP: at})


def _verify_signature(auth: SignatureAuth, webhook: Webhook) -> None:
    given = webhook.headers.get(_SIGNATURE)
    timestamp = webhook.headers.get(_TIMESTAMP)
    if given is None or timestamp is None:
        raise SignatureError("signature or its timestamp missing")
    message = timestamp.encode("utf-8", "surrogatepass") + webhook.body
    signatures = tuple(_signature(secret, message) for secret in auth.secrets if secret)
    if not is_one_of(given.strip(), signatures):
        raise SignatureError("signature wrong")
    signed_at = instant_of(timestamp)
    if signed_at is None or abs(webhook.received_at - signed_at) > auth.tolerance:
        raise SignatureError("signature too old or from the future")


def _signature(secret: str, message: bytes) -> str:
    """base64(HMAC-SHA256(secret, timestamp + body)), the secret as plain text (SOURCES.md section 3, signature)."""
    return base64.b64encode(hmac.digest(secret.encode(), message, "sha256")).decode("ascii")


def _of_event(source: str, payload: Mapping[str, Any], kind: str, account: str | None) -> Reading:
    detail = payload.get("detail")
    ticket = detail if isinstance(detail, dict) else {}
    fields = fields_of(ticket, wrappers=frozenset())
    subject, _, number = (text_of(payload.get("subject")) or "").rpartition(":")
    ticket_id = fields.key("id") or (key_of(number) if subject == "zen:ticket" else None)
    area, _, change = kind.partition(".")
    if area != "ticket" or change not in _REPORTS:
        return Notice(
            source=source,
            source_type=Zendesk.type,
            reason=f"{line(kind, 100)} tells nothing of a ticket's state",
            payload=payload,
            title=line(fields.text("subject", "name") or ""),
            fingerprint=_fingerprint(account, ticket_id) if area == "ticket" and ticket_id else None,
        )
    return _ticket_alert(
        source,
        payload,
        fields,
        account=account,
        ticket_id=ticket_id,
        status=_event_status(change, payload, fields),
        episode=_episode(change, payload, fields),
        at=payload.get("time"),
        extra=(("event", change),),
    )


def _of_trigger(source: str, payload: Mapping[str, Any], account: str | None) -> Reading:
    if not says_anything(payload):
        return Notice(source=source, source_type=Zendesk.type, reason="the body says nothing", payload=payload)
    fields = fields_of(_with_attachment(payload), wrappers=_WRAPPERS)
    if not fields.by_name:
        reason = "a test: no placeholder is filled"
        return Notice(source=source, source_type=Zendesk.type, reason=reason, payload=payload)
    return _ticket_alert(
        source,
        payload,
        fields,
        account=account,
        ticket_id=_trigger_ticket(fields),
        status=_trigger_status(fields),
        episode=None,
        at=fields.text("time", "timestamp"),
        extra=(),
    )


def _ticket_alert(
    source: str,
    payload: Mapping[str, Any],
    fields: Fields,
    *,
    account: str | None,
    ticket_id: str | None,
    status: Status,
    episode: str | None,
    at: Any,
    extra: tuple[tuple[str, str], ...],
) -> Alert:
    updated_at = instant_of(fields.text("updatedat", "ticketupdatedat"))
    reported_at = instant_of(at) or updated_at
    title = _title(source, fields, ticket_id)
    priority = fields.text("priority", "ticketpriority")
    return Alert(
        source=source,
        source_type=Zendesk.type,
        fingerprint=_fingerprint(account, ticket_id) if ticket_id else _identity_without_ticket(payload, fields, title),
        episode=episode,
        reported_at=reported_at,
        status=status,
        severity=_BY_PRIORITY.get((priority or "").lower()) or severity_in(fields.texts("severity")),
        title=title,
        description=_description(fields),
        labels=_labels(fields, account, ticket_id, extra),
        links=_links(fields, ticket_id),
        starts_at=instant_of(fields.text("createdat", "ticketcreatedat")),
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _fingerprint(account: str | None, ticket_id: str) -> str:
    return identity("ticket", ticket_id) if account is None else identity("ticket", account, ticket_id)


def _identity_without_ticket(payload: Mapping[str, Any], fields: Fields, title: str) -> str:
    if (key := fields.key(*_KEYS)) is not None:
        return identity("key", key)
    named = fields.text("subject", "title", "tickettitle", "ticketsubject") is not None
    return identity("title", title) if named else identity("body", digest_of(payload))


def _event_status(change: str, payload: Mapping[str, Any], fields: Fields) -> Status:
    if change in _ENDINGS:
        return Status.RESOLVED
    status = _changed(payload, "current") if change == "status_changed" else None
    word = status or (fields.text("status") or "").lower()
    if change == "undeleted" and word == "deleted":
        return Status.FIRING
    return Status.RESOLVED if word in _SOLVED else Status.FIRING


def _episode(change: str, payload: Mapping[str, Any], fields: Fields) -> str | None:
    """The time a ticket came back; None where the event cannot know (DESIGN: then any episode)."""
    came_back = change == "undeleted" or (
        change == "status_changed"
        and _changed(payload, "previous") in _SOLVED
        and _event_status(change, payload, fields) is Status.FIRING
    )
    at = key_of(payload.get("time"))
    return identity("reopened", at) if came_back and at else None


def _changed(payload: Mapping[str, Any], side: str) -> str | None:
    event = payload.get("event")
    word = text_of(event.get(side)) if isinstance(event, dict) else None
    return word and word.lower()


def _trigger_status(fields: Fields) -> Status:
    for text in fields.texts("eventtype", "eventaction", "action", "event"):
        if (status := _BY_EVENT.get(spelled(text).removeprefix("ticket"))) is not None:
            return status
    word = (fields.text("status", "ticketstatus") or "").lower()
    return Status.RESOLVED if word in _SOLVED else Status.FIRING


def _trigger_ticket(fields: Fields) -> str | None:
    for text in fields.texts(*_IDS):
        if (key := key_of(text.lstrip("#"))) is not None and len(key) <= 64:
            return key
    for text in fields.texts(*_LINKS, "text", "message"):
        if found := _TICKET_IN_URL.search(text[:4_096]):
            return found[1]
    for text in fields.texts("title", "subject", "text", "message"):
        if found := _TICKET_AFTER_HASH.search(text[:4_096]):
            return found[1]
    return None


def _with_attachment(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """A body made for Slack with the fields of its first attachment beside its own keys."""
    attachments = payload.get("attachments")
    if not isinstance(attachments, list) or not attachments or not isinstance(attachments[0], dict):
        return payload
    attachment = attachments[0]
    fields = attachment.get("fields")
    named = {
        str(field.get("title")): field.get("value")
        for field in (fields if isinstance(fields, list) else ())[:LABELS_MAX]
        if isinstance(field, dict)
    }
    plain = {key: value for key, value in attachment.items() if key != "fields"}
    return {**named, **plain, **payload}


def _title(source: str, fields: Fields, ticket_id: str | None) -> str:
    text = fields.text("subject", "title", "tickettitle", "ticketsubject", "rawsubject", "name", "summary")
    whole = line(text or "")
    if whole:
        first = _NUMBER_FIRST.match(whole)
        return whole[first.end() :] or whole if first else whole
    if ticket_id is not None:
        return line(f"Zendesk ticket {ticket_id}")
    return line(fields.text("text", "message") or "") or f"Alert from {source}"


def _description(fields: Fields) -> str:
    text = fields.text(
        "description", "ticketdescription", "comment", "latestcomment", "ticketlatestcomment", "ticketcomment",
        "message", "text", "body",
    )  # fmt: skip
    return paragraphs(_DASHES.sub("", text or "", count=1) if (text or "").startswith("-") else text or "")


def _labels(
    fields: Fields, account: str | None, ticket_id: str | None, extra: tuple[tuple[str, str], ...]
) -> Mapping[str, str]:
    tags = tuple(_tags(fields))
    own = {name: text for name, names in _LABELS.items() if (text := fields.text(*names)) not in (None, _UNSET)}
    own |= {"account_id": account or "", "ticket_id": ticket_id or "", "tags": ",".join(tags), **dict(extra)}
    return labels_of([*own.items(), *((tag, "true") for tag in tags if tag not in own)])


def _tags(fields: Fields) -> Iterator[str]:
    tags = fields.value("tags", "tickettags")
    if isinstance(tags, str):
        yield from tags.replace(",", " ").split(None, LABELS_MAX)[:LABELS_MAX]
    elif isinstance(tags, list):
        yield from (tag for tag in tags[:LABELS_MAX] if isinstance(tag, str) and tag)


def _links(fields: Fields, ticket_id: str | None) -> tuple[Link, ...]:
    text = f"Zendesk ticket {ticket_id}" if ticket_id else "Zendesk"
    hrefs = (_with_scheme(href) for href in fields.texts(*_LINKS))
    return links_of(*(link_of(text, href) for href in hrefs))


def _with_scheme(href: str) -> str:
    """{{ticket.url}} comes without a scheme."""
    return f"https://{href}" if _HOST_FIRST.match(href) else href
