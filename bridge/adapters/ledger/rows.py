"""Rows and values: how the domain's values are written into columns and read back. Names are those of schema.py."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import orjson
from sqlalchemy import bindparam, null

from bridge.domain.alert import Severity
from bridge.domain.decision import Decision, KeyRule, OnAcknowledge, OnResolve, Policy
from bridge.domain.delivery import BODY_VERSION, Action, Delivery, DeliveryState, NameRef, Phase, Reason
from bridge.domain.incident import CreateBody, Incident, IncidentState, Member
from bridge.domain.lane import LaneState
from bridge.domain.telling import NOTHING_TOLD, Telling
from bridge.domain.text import storable

Row = Any  # a RowMapping, or a dict of the same keys
PENDING_AGAIN: Mapping[str, Any] = MappingProxyType(
    {
        "state": DeliveryState.PENDING.value,
        "reason": null(),
        "detail": null(),
        "done_at": null(),
        "created_at": bindparam("at"),
        "next_at": bindparam("at"),
        "give_up_at": bindparam("new_give_up_at"),
    }
)
"""Columns of a delivery that was cancelled and is sent after all: it waits from then on, and no longer than that."""


def dumps(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, text as it is but for lone surrogates, which no database takes."""
    try:
        return orjson.dumps(value, _plain, _AS_WE_WRITE).decode()
    except TypeError:  # half a surrogate pair, an integer of more than 64 bits, a key that is no text, nested deeply
        text = _ENCODER.encode(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case MappingProxyType() | Mapping():
            return dict(value)
        case set() | frozenset():
            return sorted(value)
    return str(value)


_AS_WE_WRITE = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_plain)


def body_of(decision: Decision, episode_id: str) -> CreateBody:
    """What a decision would open an incident with."""
    return CreateBody(
        fields=decision.fields,
        names=decision.names,
        notes=decision.notes,
        episode_id=episode_id,
        places=decision.places,
        fold_key=storable(decision.fold_key),
        fold_target=decision.fold_target,
    )


def names_json(names: tuple[NameRef, ...]) -> str:
    return dumps([_name_row(name) for name in names])


def fields_json(content: Mapping[str, Any]) -> str:
    return dumps({"v": BODY_VERSION, "fields": content})


def content_json(body: CreateBody) -> str:
    """The column `fields` of a create: what it holds, where that is from, and whether it was made plain."""
    return dumps({"v": BODY_VERSION, "fields": body.fields, **_origin(body)})


def _origin(body: CreateBody) -> dict[str, Any]:
    return {
        **({"places": dict(body.places)} if body.places else {}),
        **({"plain": True} if body.is_plain else {}),
        **({"by_hand": True} if body.by_hand else {}),
        **({} if body.own is None else {"own": create_body_json(body.own)}),
    }


def is_worded(row: Row) -> bool:
    """Whether a delivery holds the text of a note."""
    return "note" in json.loads(row["fields"])["fields"]


def is_by_hand(row: Row) -> bool:
    """Whether a delivery holds a note that a person wrote."""
    return bool(json.loads(row["fields"]).get("by_hand", False))


def body_in(row: Row) -> CreateBody:
    """What a create's row holds."""
    stored = json.loads(row["fields"])
    return CreateBody(
        fields=stored["fields"],
        names=names_from(row["names"]),
        notes=tuple(json.loads(row["notes"])),
        places=stored.get("places", {}),
        is_plain=stored.get("plain", False),
        by_hand=stored.get("by_hand", False),
        fold_key=row["fold_key"] or "",
        fold_target=row["fold_target"] or "",
        own=create_body_from(stored.get("own")),
    )


def names_from(text: str) -> tuple[NameRef, ...]:
    return tuple(_name_of(row) for row in json.loads(text))


def _name_row(name: NameRef) -> list[str | None]:
    """A name as it is stored; most stand within nothing, and say nothing of it."""
    row = [name.field, name.kind, name.text, name.fallback]
    return row if name.within is None else [*row, name.within]


def _name_of(row: list[Any]) -> NameRef:
    of, kind, text, fallback, *within = row
    return NameRef(field=of, kind=kind, text=text, fallback=fallback, within=within[0] if within else None)


def create_body_json(body: CreateBody) -> str:
    names = [_name_row(name) for name in body.names]
    stored = {"v": BODY_VERSION, "fields": body.fields, "names": names, "notes": body.notes}
    fold = {"fold": [body.fold_key, body.fold_target]} if body.fold_target else {}
    return dumps({**stored, "episode_id": body.episode_id, **fold, **_origin(body)})


def create_body_from(text: str | None) -> CreateBody | None:
    if text is None:
        return None
    stored = json.loads(text)
    names = tuple(_name_of(row) for row in stored["names"])
    fold_key, fold_target = stored.get("fold", ("", ""))
    return CreateBody(
        fields=stored["fields"],
        names=names,
        notes=tuple(stored["notes"]),
        episode_id=stored["episode_id"],
        places=stored.get("places", {}),
        is_plain=stored.get("plain", False),
        fold_key=fold_key,
        fold_target=fold_target,
    )


@lru_cache(maxsize=1024)
def policy_json(policy: Policy) -> str:
    return dumps(
        {
            "on_resolve": policy.on_resolve,
            "resolution": policy.resolution,
            "on_acknowledge": policy.on_acknowledge,
            "hold_resolve_s": policy.hold_resolve.total_seconds(),
            "reopen_within_s": policy.reopen_within.total_seconds(),
        }
    )


@lru_cache(maxsize=1024)
def policy_from(text: str) -> Policy:
    stored = json.loads(text)
    return Policy(
        on_resolve=OnResolve(stored["on_resolve"]),
        resolution=stored["resolution"],
        on_acknowledge=OnAcknowledge(stored["on_acknowledge"]),
        hold_resolve=timedelta(seconds=stored["hold_resolve_s"]),
        reopen_within=timedelta(seconds=stored["reopen_within_s"]),
    )


def telling_json(telling: Telling) -> str | None:
    """The column `telling`."""
    if telling == NOTHING_TOLD:
        return None
    return dumps({field.name: getattr(telling, field.name) for field in fields(Telling)})


def telling_from(text: str | None) -> Telling:
    if text is None:
        return NOTHING_TOLD
    stored = json.loads(text)
    for name in ("noted_at", "flapping_since"):
        stored[name] = None if stored[name] is None else datetime.fromisoformat(stored[name])
    return Telling(**stored)  # a field that the row was written without has its default


_INCIDENT_FIELDS = tuple(field.name for field in fields(Incident))


def incident_row(incident: Incident) -> dict[str, Any]:
    row = {name: getattr(incident, name) for name in _INCIDENT_FIELDS}
    row["policy"] = policy_json(incident.policy)
    row["renewal"] = None if incident.renewal is None else create_body_json(incident.renewal)
    row["telling"] = telling_json(incident.telling)
    return row


def incident_from(row: Row) -> Incident:
    values = {name: row[name] for name in _INCIDENT_FIELDS}
    values["key_rule"] = KeyRule(values["key_rule"])
    values["state"] = IncidentState(values["state"])
    values["severity"] = Severity(values["severity"])
    values["policy"] = policy_from(values["policy"])
    values["renewal"] = create_body_from(values["renewal"])
    values["telling"] = telling_from(values["telling"])
    return Incident(**values)


def member_row(member: Member) -> dict[str, Any]:
    return {
        "incident_id": member.incident,
        "problem_id": member.problem,
        "source": member.source,
        "fingerprint": member.fingerprint,
        "firing": member.firing,
        "severity": member.severity,
        "title": member.title,
        "joined_at": member.joined_at,
        "left_at": member.left_at,
    }


def member_from(row: Row) -> Member:
    return Member(
        incident=row["incident_id"],
        problem=row["problem_id"],
        source=row["source"],
        fingerprint=row["fingerprint"],
        firing=row["firing"],
        severity=Severity(row["severity"]),
        title=row["title"],
        joined_at=row["joined_at"],
        left_at=row["left_at"],
    )


_LANE_FIELDS = tuple(field.name for field in fields(LaneState))


def lane_row(state: LaneState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in _LANE_FIELDS}


def lane_from(row: Row) -> LaneState:
    values = {name: row[name] for name in _LANE_FIELDS}
    for why in ("create_parked_why", "update_parked_why"):
        values[why] = None if values[why] is None else Reason(values[why])
    return LaneState(**values)


def delivery_from(row: Row, upstream_id: str | None, owned: frozenset[str], ids: Mapping[str, str]) -> Delivery:
    return Delivery(
        id=row["id"],
        incident=row["incident_id"],
        account=row["account"],
        action=Action(row["action"]),
        key=row["key"],
        fields=json.loads(row["fields"])["fields"],
        names=names_from(row["names"]),
        ids=ids,
        notes=tuple(json.loads(row["notes"])),
        phase=Phase(row["phase"]),
        upstream_id=upstream_id,
        created_at=row["created_at"],
        first_attempt_at=row["first_attempt_at"],
        owned=owned,
    )
