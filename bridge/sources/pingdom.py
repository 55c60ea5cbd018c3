"""Pingdom state change webhooks: uptime checks (UP, DOWN) and transaction checks (SUCCESS, FAILING).

In: one change of state of one check. Out: one Alert.

Facts: SOURCES.md sections 1 and 11, which cite https://www.pingdom.com/resources/webhooks/. What is decided here:

- Fingerprint: the check's id, uptime and transaction checks told apart: Pingdom numbers them separately. Without an id
  the check's name and address.
- Status: DOWN and FAILING are firing, UP and SUCCESS resolved; any other state fires.
- Episode: the time a check went down, as the down tells it (a repeated one tells the same). An up does not: null.
- Severity: importance HIGH is critical, LOW is warning; a recovery keeps it.
- Labels: the tags, then check, check_id, check_type, hostname, importance and probe, where no tag has the name.
- Pingdom signs nothing and has no id of a delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Reading, Severity, Status, Webhook
from bridge.sources.absent import key_of, text_of
from bridge.sources.body import block_at, object_in
from bridge.sources.generic import reading_anyway
from bridge.sources.signatures import SharedSecret
from bridge.sources.texts import (
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

_OVER = frozenset({"up", "success"})
_SAID = {"down": "is down", "failing": "is failing", "up": "is up", "success": "succeeds"}
_BY_IMPORTANCE = {"high": Severity.CRITICAL, "low": Severity.WARNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pingdom(SharedSecret):
    """A Pingdom account that posts here. It signs nothing: a secret in the address is its proof."""

    type: ClassVar[str] = "pingdom"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one alert of a change; an object that names no check is read as the generic source would."""
        payload = object_in(webhook)
        if key_of(payload.get("check_id")) is None and text_of(payload.get("check_name")) is None:
            return (reading_anyway(self.name, self.type, payload),)
        return (_alert(self.name, payload),)


def _alert(source: str, payload: Mapping[str, Any]) -> Alert:
    state = (text_of(payload.get("current_state")) or "").lower()
    status = Status.RESOLVED if state in _OVER else Status.FIRING
    changed = payload.get("state_changed_timestamp")
    changed_at = instant_of(changed) or instant_of(payload.get("state_changed_utc_time"))
    name = (
        line(text_of(payload.get("check_name")) or "") or f"Check {key_of(payload.get('check_id')) or 'without a name'}"
    )
    return Alert(
        source=source,
        source_type=Pingdom.type,
        fingerprint=_fingerprint(payload),
        episode=identity("since", changed_at.isoformat()) if changed_at and status is Status.FIRING else None,
        reported_at=changed_at,
        status=status,
        severity=_BY_IMPORTANCE.get((text_of(payload.get("importance_level")) or "").lower()),
        title=line(f"{name} {_SAID.get(state, f'is {line(state, 40)}' if state else 'changed its state')}"),
        description=_description(payload),
        labels=_labels(payload),
        links=links_of(link_of(name, _address(payload))),
        starts_at=changed_at if status is Status.FIRING else None,
        ends_at=changed_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _fingerprint(payload: Mapping[str, Any]) -> str:
    check = key_of(payload.get("check_id"))
    if check is None:
        return identity("name", line(text_of(payload.get("check_name")) or ""), _address(payload) or "")
    kind = (text_of(payload.get("check_type")) or "").lower()
    return identity("transaction" if kind.startswith("transaction") else "check", check)


def _address(payload: Mapping[str, Any]) -> str | None:
    """The monitored address, when the check has one."""
    return text_of(block_at(payload, "check_params").get("full_url"))


def _description(payload: Mapping[str, Any]) -> str:
    texts = (text_of(payload.get(key)) for key in ("custom_message", "long_description", "description"))
    return paragraphs("\n".join(dict.fromkeys(text for text in texts if text is not None)))


def _labels(payload: Mapping[str, Any]) -> Mapping[str, str]:
    names = {
        "check": "check_name",
        "check_id": "check_id",
        "check_type": "check_type",
        "importance": "importance_level",
    }
    return layered_labels(
        tag_pairs(texts_in(payload.get("tags"))),
        [(label, text_of(payload.get(key))) for label, key in names.items()],
        (
            ("hostname", text_of(block_at(payload, "check_params").get("hostname"))),
            ("probe", text_of(block_at(payload, "first_probe").get("location"))),
        ),
    )
