"""PagerDuty's v3 webhooks: what became of incidents there. No problem is reported by them, so no rule sees them.

In: one event. Out: one Sighted about the incident, or a Notice.

Facts: https://github.com/PagerDuty/developer-docs, docs/webhooks: 01-Overview.md (event types, their data),
02-Behavior.md (repeats), 04-Signatures.md; read 2026-11. What is decided here:

- incident.resolved says that the incident is closed there, incident.triggered, acknowledged, unacknowledged and
  reopened that it is open; of every other event of an incident its own `status` is not trusted: notes, priorities and
  responders say nothing of it.
- The account is not in the event: the source's setting names it.
- X-PagerDuty-Signature holds one `v1=` and hex HMAC-SHA256 of the raw body per secret in use, separated by commas.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

from bridge.domain.alert import Notice, Reading, Seen, Sighted, Webhook
from bridge.sources.absent import key_of, text_of
from bridge.sources.base import AccountSetting, Auth, Proof, Setting, SignatureAuth
from bridge.sources.body import block_at, object_in
from bridge.sources.signatures import hex_hmac_proof, verify_any_hex_hmac, verify_shared
from bridge.sources.texts import identity, instant_of, line

SIGNATURE = "signing_secret"
_HEADER = "x-pagerduty-signature"
_PREFIX = "v1="
_ID = "x-webhook-id"
_SAYS = {
    "incident.resolved": Seen.CLOSED,
    "incident.triggered": Seen.OPEN,
    "incident.acknowledged": Seen.OPEN,
    "incident.unacknowledged": Seen.OPEN,
    "incident.reopened": Seen.OPEN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDutyEvents:
    """A webhook subscription of the PagerDuty account that `account` names."""

    type: ClassVar[str] = "pagerduty_events"
    watches: ClassVar[str] = "pagerduty"
    signature_keys: ClassVar[frozenset[str]] = frozenset({SIGNATURE})
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {"account": AccountSetting(about="The account whose incidents the events are about.", type="pagerduty")}
    )
    name: str
    auth: Auth
    account: str = ""

    def verify(self, webhook: Webhook) -> None:
        """Check PagerDuty's signature over the raw body, or a custom header. Raises SignatureError."""
        if isinstance(self.auth, SignatureAuth) and self.auth.kind == SIGNATURE:
            verify_any_hex_hmac(self.auth, webhook, _HEADER, prefix=_PREFIX)
        else:
            verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """What the event says of its incident. Raises DecodeError."""
        payload = object_in(webhook)
        event, data = block_at(payload, "event"), block_at(payload, "event", "data")
        title = line(text_of(data.get("title")) or "")
        kind, incident = line(text_of(event.get("event_type")) or "", 80), key_of(data.get("id"))
        seen = _SAYS.get(kind)
        if seen is None or incident is None:
            why = f"{kind} says nothing of whether an incident is open" if kind else "no event of PagerDuty"
            return (Notice(source=self.name, source_type=self.type, reason=why, payload=payload, title=title),)
        return (
            Sighted(
                source=self.name,
                source_type=self.type,
                reason=f"PagerDuty says {kind}",
                payload=payload,
                title=title,
                account=self.account,
                upstream_id=line(incident, 200),
                seen=seen,
                occurred_at=instant_of(event.get("occurred_at")),
            ),
        )

    def delivery_id(self, webhook: Webhook) -> str | None:
        """The X-Webhook-Id: the same when PagerDuty posts it again."""
        key = key_of(webhook.headers.get(_ID))
        return None if key is None else identity(key)

    @staticmethod
    def proof(auth: SignatureAuth, body: bytes, now: datetime) -> Proof:  # noqa: ARG004 - PagerDuty signs no time
        """The one header."""
        return hex_hmac_proof(auth, body, _HEADER, prefix=_PREFIX)
