"""An Explanation as plain values: JSON for a script or a page, every key always there."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge.domain.alert import Notice, Reading, effective
from bridge.explain.values import AlertExplanation, Answer, Explanation, Request, RuleAnswer
from bridge.rules.paths import rfc3339


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The Explanation as JSON values, every key always there."""
    return {
        "source": explanation.source,
        "event": explanation.event,
        "book": explanation.book,
        "alerts": [_alert_json(one) for one in explanation.alerts],
    }


def _alert_json(one: AlertExplanation) -> dict[str, Any]:
    return {
        "alert": reading_json(one.reading),
        "summary": one.summary,
        "rules": [_rule_json(rule) for rule in one.rules],
        "rules_left_out": one.left_out,
        "nearest": None if one.nearest is None else _nearest_json(one.nearest),
        "requests": [_request_json(request) for request in one.requests],
    }


def reading_json(reading: Reading) -> dict[str, Any]:
    """A reading as JSON, but for its payload; what an alert lacks is null, and a notice has its reason."""
    if isinstance(reading, Notice):
        return {
            "source": reading.source,
            "source_type": reading.source_type,
            "fingerprint": reading.fingerprint,
            "status": None,
            "title": reading.title,
            "reason": reading.reason,
        }
    return {
        "source": reading.source,
        "source_type": reading.source_type,
        "fingerprint": reading.fingerprint,
        "episode": reading.episode,
        "reported_at": _instant(reading.reported_at),
        "status": reading.status.value,
        "severity": None if reading.severity is None else reading.severity.value,
        "counts_as": effective(reading.severity).value,
        "title": reading.title,
        "description": reading.description,
        "labels": dict(reading.labels),
        "links": [{"text": link.text, "href": link.href} for link in reading.links],
        "starts_at": _instant(reading.starts_at),
        "ends_at": _instant(reading.ends_at),
    }


def _rule_json(one: RuleAnswer) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "file": one.place.file,
        "line": one.place.line,
        "account": one.account,
        "mode": one.mode.value,
        "verdict": one.verdict.value,
        "why": one.why,
        "held": one.held,
        "of": one.of,
        "conditions": [_answer_json(answer) for answer in one.answers],
    }


def _answer_json(answer: Answer) -> dict[str, Any]:
    return {
        "condition": answer.condition,
        "kind": answer.kind.value,
        "wanted": answer.wanted,
        "actual": answer.actual,
        "held": answer.held,
        "parts": [_answer_json(part) for part in answer.parts],
    }


def _nearest_json(one: RuleAnswer) -> dict[str, Any]:
    misses = [{"condition": c.condition, "wanted": c.wanted, "actual": c.actual} for c in one.misses]
    return {"rule": one.rule, "held": one.held, "of": one.of, "why": one.why, "misses": misses}


def _request_json(one: Request) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "account": one.account,
        "account_type": one.account_type,
        "mode": one.mode.value,
        "sent": one.sent,
        "silence": one.silence,
        "severity": one.severity.value,
        "title": one.title,
        "key": {
            "series": one.key.series,
            "account": one.key.account,
            "scope": one.key.scope,
            "parts": [{"path": p.path, "value": p.value, "stands_in": p.stands_in} for p in one.key.parts],
            "field": one.key.field,
            "text": one.key.text,
            "note": one.key.note,
        },
        "fields": _plain(one.fields),
        "names": [{"field": n.field, "kind": n.kind, "text": n.text, "id": n.id} for n in one.names],
        "notes": list(one.notes),
        "fold_key": one.fold_key,
        "request": {
            "method": one.http.method,
            "url": one.http.url,
            "headers": dict(one.http.headers),
            "body": (one.http.body or b"").decode("utf-8"),
        },
        "lane": None
        if one.wait is None
        else {
            "lane": one.wait.lane,
            "rate": one.wait.rate,
            "ahead": one.wait.ahead,
            "eta_s": one.wait.eta_s,
            "sentence": one.wait.sentence,
        },
    }


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
