"""incident.io's webhooks: what became of incidents there. No problem is reported by them, so no rule sees them.

In: one event. Out: one Sighted about the incident, or a Notice.

Facts, as integrations of others read them (public code that handles these events, read 2026-11; the vendor's own pages
were out of reach): `{event_type, <event_type>: payload}`, signed as Standard Webhooks are; the payload of a status
update is {incident, new_status, previous_status}, that of a private incident holds its id alone. What is decided here:

- public_incident.incident_status_updated_v2 has the incident and its new status: closed, declined, canceled and merged
  are over; of learning (Post-incident) the destination judges, so the upstream is asked; every other category is open.
  public_incident.incident_updated_v2 and incident_created_v2 hold the incident itself, with its status.
- Events of private incidents name an id and nothing else: somebody has to look, so the upstream is asked.
- The time is the incident's `updated_at`; without one the signed time is not taken for it, a repeat has a newer one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar

from bridge.domain.alert import Notice, Reading, Seen, Sighted, Webhook
from bridge.sources.absent import key_of, text_of
from bridge.sources.base import AccountSetting, Auth, Proof, Setting, SignatureAuth
from bridge.sources.body import block_at, object_in
from bridge.sources.standard_webhooks import SIGNATURE, StandardWebhooks
from bridge.sources.texts import instant_of, line

_OVER = frozenset({"closed", "declined", "canceled", "merged"})  # IncidentStatusV2.category
_WRITTEN_UP = "learning"
_HOLDS_STATUS = "public_incident.incident_status_updated_v2"
_HOLDS_INCIDENT = frozenset({"public_incident.incident_created_v2", "public_incident.incident_updated_v2"})
_NAMES_ONE = frozenset({"private_incident.incident_created_v2", "private_incident.incident_updated_v2"})


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentIoEvents:
    """A webhook endpoint of the incident.io organisation that `account` names."""

    type: ClassVar[str] = "incident_io_events"
    watches: ClassVar[str] = "incident_io"
    signature_keys: ClassVar[frozenset[str]] = frozenset({SIGNATURE})
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {"account": AccountSetting(about="The account whose incidents the events are about.", type="incident_io")}
    )
    name: str
    auth: Auth
    account: str = ""

    def verify(self, webhook: Webhook) -> None:
        """Check the signature over id, time and raw body, or a shared secret. Raises SignatureError."""
        StandardWebhooks(name=self.name, auth=self.auth).verify(webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """What the event says of its incident. Raises DecodeError."""
        payload = object_in(webhook)
        kind = line(text_of(payload.get("event_type")) or "", 80)
        held = block_at(payload, kind)
        incident = block_at(held, "incident") if kind == _HOLDS_STATUS else held
        upstream_id, seen = key_of(incident.get("id")), _seen(kind, held, incident)
        title = line(text_of(incident.get("name")) or "")
        if upstream_id is None or seen is None:
            why = f"{kind} says nothing of whether an incident is open" if kind else "no event of incident.io"
            return (Notice(source=self.name, source_type=self.type, reason=why, payload=payload, title=title),)
        return (
            Sighted(
                source=self.name,
                source_type=self.type,
                reason=f"incident.io says {kind}",
                payload=payload,
                title=title,
                account=self.account,
                upstream_id=line(upstream_id, 200),
                seen=seen,
                occurred_at=instant_of(incident.get("updated_at")),
            ),
        )

    def delivery_id(self, webhook: Webhook) -> str | None:
        """As of Standard Webhooks."""
        return StandardWebhooks(name=self.name, auth=self.auth).delivery_id(webhook)

    @staticmethod
    def proof(auth: SignatureAuth, body: bytes, now: datetime) -> Proof:
        """As Standard Webhooks sign."""
        return StandardWebhooks.proof(auth, body, now)


def _seen(kind: str, held: Mapping[str, Any], incident: Mapping[str, Any]) -> Seen | None:
    """Whether the incident is open, as far as the event says so; None when it is about something else."""
    if kind in _NAMES_ONE:
        return Seen.CHANGED
    if kind != _HOLDS_STATUS and kind not in _HOLDS_INCIDENT:
        return None
    said = block_at(held, "new_status") if kind == _HOLDS_STATUS else block_at(incident, "incident_status")
    category = text_of(said.get("category"))
    if category is None or category.lower() == _WRITTEN_UP:
        return Seen.CHANGED
    return Seen.CLOSED if category.lower() in _OVER else Seen.OPEN
