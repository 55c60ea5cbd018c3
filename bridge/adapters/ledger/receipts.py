"""Receipts: decided webhooks prepared outside the transaction, and the documents that their rows keep.

What a webhook's rows say of itself is made here, down to the bytes; what becomes of it is added inside, by settle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.adapters.ledger.rows import dumps
from bridge.domain import keys
from bridge.domain.alert import Alert, Notice
from bridge.domain.decision import Decided, Outcome
from bridge.domain.text import storable

TRACE_MAX = 200  # rules kept in the record of one alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One accepted or rejected webhook, prepared outside the transaction down to the bytes of its rows."""

    event: Mapping[str, Any]  # its row
    alerts: tuple["AlertReceipt", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertReceipt:
    """One reading of a webhook with its decisions, prepared the same way."""

    decided: Decided
    problem: str | None  # its id; None for a Notice
    row: Mapping[str, Any]


def receipt(
    *,
    event_id: str,
    source: str,
    received_at: datetime,
    headers: Mapping[str, str],
    body: bytes,
    packed_body: bytes,
    delivery_id: str | None = None,
    decided: Sequence[Decided] = (),
    book: str | None = None,
    rejected: str | None = None,
) -> Receipt:
    """Make a Receipt. `rejected` is the sentence why the event carries no alerts; `headers` are safe to store."""
    event = {
        "id": event_id,
        "source": source,
        "received_at": received_at,
        "state": "accepted" if rejected is None else "rejected",
        "reason": None if rejected is None else storable(rejected),
        "delivery_key": None if delivery_id is None else storable(f"{source}\n{delivery_id}"),
        "headers": dumps(dict(headers)),
        "body": packed_body,
        "body_bytes": len(body),
        "alerts": len(decided),
        "book": book,
    }
    return Receipt(event=event, alerts=tuple(_alert_receipt(event_id, n, one) for n, one in enumerate(decided)))


def _alert_receipt(event_id: str, position: int, decided: Decided) -> AlertReceipt:
    reading = decided.reading
    row: dict[str, Any] = {
        "event_id": event_id,
        "position": position,
        "source": reading.source,
        "fingerprint": None if reading.fingerprint is None else storable(reading.fingerprint),
        "title": storable(reading.title),
        "status": None,
        "severity": None,
        "document": dumps({"alert": alert_document(reading), "tried": _tried(decided)}),
    }
    if isinstance(reading, Notice):
        return AlertReceipt(decided=decided, problem=None, row=row)
    row["status"] = reading.status.value
    row["severity"] = None if reading.severity is None else reading.severity.value
    problem = keys.problem_id(reading.source, reading.fingerprint)
    return AlertReceipt(decided=decided, problem=problem, row=row)


def alert_document(reading: Alert | Notice) -> dict[str, Any]:
    """A reading as the API shows it, but for its payload, which is read again from the event's body."""
    if isinstance(reading, Notice):
        return {
            "source": reading.source,
            "source_type": reading.source_type,
            "fingerprint": reading.fingerprint,
            "status": None,
            "title": reading.title,
        }
    return {
        "source": reading.source,
        "source_type": reading.source_type,
        "fingerprint": reading.fingerprint,
        "episode": reading.episode,
        "reported_at": reading.reported_at,
        "status": reading.status,
        "severity": reading.severity,
        "title": reading.title,
        "description": reading.description,
        "labels": dict(reading.labels),
        "links": [{"text": link.text, "href": link.href} for link in reading.links],
        "starts_at": reading.starts_at,
        "ends_at": reading.ends_at,
    }


def _tried(decided: Decided) -> list[dict[str, Any]]:
    return [
        {
            "rule": match.rule,
            "matched": match.matched,
            "failed": None
            if match.failed is None
            else {
                "condition": match.failed.condition,
                "wanted": match.failed.wanted,
                "actual": match.failed.actual,
            },
        }
        for match in decided.tried[:TRACE_MAX]
    ]


def decision_document(
    outcome: Outcome | None,
    *,
    rule: str | None = None,
    account: str | None = None,
    series: str | None = None,
    incident: str | None = None,
    reason: str | None = None,
    parts: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """What one decision came to, as the alert's row keeps it and the API shows it."""
    return {
        **({} if parts is None else {"parts": parts}),  # what the series was hashed from
        "rule": rule,
        "account": account,
        "outcome": outcome,
        "reason": reason,
        "incident": incident,
        "series": series,
    }
