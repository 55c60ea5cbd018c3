"""Splunk's webhook alert action: a fixed body with the first row of what a saved search found.

In: one run of one search; or one state of an alert of Splunk Observability Cloud, or of an incident of Splunk On-Call.
Out: one Alert.

Facts: SOURCES.md sections 1 and 12, which cite the Alerting Manual, "Use a webhook alert action" (help.splunk.com), and
published bodies. What is decided here:

- Fingerprint: the saved search (app, owner, name) with those fields of the row that say what is broken: host, service
  and the like. Counts and times change from run to run and stay out. An ad-hoc search has no name: the part of `sid`
  before `_at_<time>` names a scheduled one, else what does not vary in the row. A `fingerprint` in the row wins.
- Splunk reports no recovery, so everything fires. A search may say otherwise by a field `alert_status` in its row:
  `| eval alert_status="resolved", fingerprint="..."`. No field of another name is taken for a status: `status=closed`
  may well be the problem.
- Severity: the field `severity` or `urgency` of the row, where the search gives one in words.
- Time of the report: when the scheduled search ran, from `sid`. No episode, no delivery id.
- Splunk sends no headers and signs nothing: a secret in the address (`auth: {query, secret}`) proves it.

Observability (https://dev.splunk.com/observability/docs/integrations/webhook_integration_overview, and on GitHub
splunk/public-o11y-docs, admin/notif-services/webhook.rst; read 2026-11): the problem is `incidentId`. By
`statusExtended`, else `status`, ok, manually or auto resolved and stopped (the detector was edited or deleted) are
over, and anything else fires. Critical is critical, Major error, Minor and Warning warning, Info info. The title is
`messageTitle`, else detector and rule.

On-Call (splunk/public-o11y-docs, sp-oncall/configuration/custom-outbound-webhooks.rst, and the bodies of
relay-integrations/relay-splunk-on-call; read 2026-11): its variables as they are called, `INCIDENT.CURRENT_PHASE`, or
the same as blocks. The problem is the entity (`ENTITY_ID`), which Splunk On-Call itself knows an alert by, the incident
its episode. UNACKED fires, ACKED is acknowledged, RESOLVED is over; a body without a phase goes by the type of the
message: RECOVERY, ACKNOWLEDGEMENT, else it fires. CRITICAL is critical and WARNING warning, as long as it is not over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Notice, Reading, Status, Webhook
from bridge.sources.absent import key_of, text_of
from bridge.sources.body import block_at, object_in, says_anything
from bridge.sources.dialects import DETECTOR_ENDS
from bridge.sources.fields import Fields, fields_of, spelled, words
from bridge.sources.generic import reading_anyway, severity_in
from bridge.sources.signatures import SharedSecret
from bridge.sources.texts import (
    LABELS_MAX,
    digest_of,
    identity,
    instant_of,
    layered_labels,
    line,
    link_of,
    links_of,
    paragraphs,
    scalar_pairs,
)

_SUBJECTS = words(
    "host hostname dest dvc src service application app instance component cluster namespace pod container node device"
    " environment env region site customer tenant index source sourcetype"
)
_SCHEDULED = re.compile(r"(.{1,300})_at_(\d{8,11})_[\w.]{1,80}", re.DOTALL)
_NUMBER = re.compile(r"[-+]?[\d.,]+%?")
_OVER = words("resolved ok recovered cleared closed")
_TAKEN = words("acknowledged ack")
_ENTITIES = ("incidententityid", "alertentityid", "stateentityid", "entityid")
_INCIDENTS = ("incidentincidentid", "incidentid", "stateincidentname", "incidentname")
_PHASES = ("incidentcurrentphase", "statecurrentalertphase", "currentphase", "currentalertphase")
_MESSAGE_TYPES = ("alertmessagetype", "messagetype")
_STATES = ("incidententitystate", "statecurrentstate", "alertentitystate", "entitystate", "currentstate")
_BY_PHASE = {
    **dict.fromkeys(words("acked acknowledgement"), Status.ACKNOWLEDGED),
    **dict.fromkeys(words("resolved recovery"), Status.RESOLVED),
}
_TITLE_SUBJECTS = ("host", "hostname", "dest", "service", "instance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Splunk(SharedSecret):
    """A Splunk that posts here. It sends no headers: a secret in the address proves it."""

    type: ClassVar[str] = "splunk"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a run. Raises DecodeError."""
        payload = object_in(webhook)
        if not says_anything(payload):
            return (Notice(source=self.name, source_type=self.type, reason="the body says nothing", payload=payload),)
        if not {"sid", "search_name", "result"} & payload.keys():
            fields = fields_of(payload, wrappers=frozenset())
            if "detectorid" in fields.by_name and fields.key("incidentid") is not None:
                return (_of_detector(self.name, payload, fields),)
            if fields.text(*_PHASES, *_MESSAGE_TYPES) is not None and fields.key(*_ENTITIES, *_INCIDENTS) is not None:
                return (_of_incident(self.name, payload, fields),)
            return (reading_anyway(self.name, self.type, payload),)
        return (_alert(self.name, payload),)


def _alert(source: str, payload: Mapping[str, Any]) -> Alert:
    row = {name: _scalar(value) for name, value in islice(block_at(payload, "result").items(), LABELS_MAX)}
    search = text_of(payload.get("search_name"))
    scheduled = _SCHEDULED.fullmatch(text_of(payload.get("sid")) or "")
    word = spelled(text_of(row.get("alert_status")) or "")
    return Alert(
        source=source,
        source_type=Splunk.type,
        fingerprint=_fingerprint(payload, row, scheduled[1] if scheduled else None),
        reported_at=instant_of(scheduled[2]) if scheduled and len(scheduled[2]) > 8 else None,
        status=Status.RESOLVED if word in _OVER else Status.ACKNOWLEDGED if word in _TAKEN else Status.FIRING,
        severity=severity_in(text_of(row.get(name)) for name in ("severity", "urgency")),
        title=_title(source, search, row),
        description=paragraphs("\n".join(f"{name}: {text}" for name, text in scalar_pairs(row) if text is not None)),
        labels=layered_labels(
            [pair for pair in scalar_pairs(row) if not pair[0].startswith("_")],
            [("search", search), ("app", text_of(payload.get("app"))), ("owner", text_of(payload.get("owner")))],
        ),
        links=links_of(link_of("Splunk results", text_of(payload.get("results_link")))),
        starts_at=instant_of(row.get("_time")),
        payload=payload,
    )


def _of_detector(source: str, payload: Mapping[str, Any], fields: Fields) -> Alert:
    """Splunk Observability Cloud: one state of one alert of a detector."""
    rule, detector = fields.text("rule"), fields.text("detector")
    over = spelled(fields.text("statusextended", "status") or "") in DETECTOR_ENDS
    reported_at = instant_of(fields.value("timestamp"))
    title = fields.text("messagetitle") or ": ".join(text for text in (detector, rule) if text is not None)
    return Alert(
        source=source,
        source_type=Splunk.type,
        fingerprint=identity("key", fields.key("incidentid") or ""),
        reported_at=reported_at,
        status=Status.RESOLVED if over else Status.FIRING,
        severity=severity_in(fields.texts("severity")),
        title=line(title) or f"Alert from {source}",
        description=paragraphs("\n\n".join(fields.texts("messagebody", "description", "tip"))),
        labels=layered_labels(
            scalar_pairs(block_at(payload, "dimensions")),
            [
                ("detector", detector),
                ("detector_id", fields.text("detectorid")),
                ("rule", rule),
                ("metric", fields.text("originatingmetric")),
                ("status", fields.text("statusextended", "status")),
            ],
        ),
        links=links_of(
            link_of("Splunk detector", fields.text("detectorurl")), link_of("Runbook", fields.text("runbookurl"))
        ),
        ends_at=reported_at if over else None,
        payload=payload,
    )


def _of_incident(source: str, payload: Mapping[str, Any], fields: Fields) -> Alert:
    """Splunk On-Call: one phase of one incident."""
    entity, incident = fields.key(*_ENTITIES), fields.key(*_INCIDENTS)
    phase = fields.text(*_PHASES)
    status = _BY_PHASE.get(spelled(phase or fields.text(*_MESSAGE_TYPES) or ""), Status.FIRING)
    name = fields.text("incidententitydisplayname", "alertentitydisplayname", "entitydisplayname", "incidentservice")
    return Alert(
        source=source,
        source_type=Splunk.type,
        fingerprint=identity("incident", incident or "") if entity is None else identity("entity", entity),
        episode=None if incident is None else identity("incident", incident),
        status=status,
        severity=None if status is Status.RESOLVED else severity_in(fields.texts(*_STATES, *_MESSAGE_TYPES)),
        title=line(name or f"Splunk On-Call incident {incident or entity}"),
        description=paragraphs(fields.text("alertstatemessage", "statemessage") or ""),
        labels=layered_labels(
            [
                ("incident", incident),
                ("entity", entity),
                ("phase", phase),
                ("service", fields.text("incidentservice", "stateservice", "service")),
                ("host", fields.text("incidenthost", "statehost", "host")),
                ("monitoring_tool", fields.text("alertmonitoringtool", "monitoringtool")),
            ]
        ),
        links=links_of(link_of("Splunk On-Call", fields.text("stateinfourl", "infourl"))),
        payload=payload,
    )


def _scalar(value: Any) -> Any:
    """A field of a row; one of several values is a list."""
    if not isinstance(value, list):
        return value
    return ",".join(text for one in value[:LABELS_MAX] if (text := text_of(one)) is not None)


def _fingerprint(payload: Mapping[str, Any], row: Mapping[str, Any], scheduled: str | None) -> str:
    if (given := key_of(row.get("fingerprint"))) is not None:
        return identity("key", given)
    about = sorted((name, text) for name, value in row.items() if name in _SUBJECTS and (text := key_of(value)))
    owned = [key_of(payload.get(name)) or "" for name in ("app", "owner")]
    if (search := key_of(payload.get("search_name"))) is not None:
        return identity("search", line(search, 120), digest_of([*owned, search, about]))
    if scheduled is not None:
        return identity("sid", line(scheduled, 120), digest_of([*owned, scheduled, about]))
    lasting = sorted((name, text) for name, value in row.items() if (text := _lasting(name, value)) is not None)
    return identity("row", digest_of([*owned, lasting or sorted(row)]))


def _lasting(name: str, value: Any) -> str | None:
    """The text of a field that says what was found, not when or how much."""
    text = key_of(value)
    return None if text is None or name.startswith("_") or _NUMBER.fullmatch(text) else text


def _title(source: str, search: str | None, row: Mapping[str, Any]) -> str:
    title = search or f"Alert from {source}"
    subject = next((text for name in _TITLE_SUBJECTS if (text := text_of(row.get(name))) is not None), None)
    return line(title if subject is None or subject.lower() in title.lower() else f"{title} ({subject})")
