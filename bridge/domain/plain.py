"""The plain create: what goes out once more when an upstream refused a whole create for what is in it.

In: the refused body, the refusal, what the account says. Out: a body with only what a create needs, and everything that
was left out told in its text; or None, where the same refusal would follow.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.domain.decision import KeyRule
from bridge.domain.delivery import PermanentFailure
from bridge.domain.incident import CreateBody

KEY_SUFFIX = "-p"  # of a plain create's key where a key is spent for ever (DESIGN section 5)
SHOWN_MAX_CHARS = 200  # of one field that was left out
TITLE_CUT_CHARS = 100  # of a title that was refused
TEXT_CUT_CHARS = 1000  # of a body that was refused


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainForm:
    """What a plain create to an account is made of."""

    keeps: frozenset[str]  # fields that stay as the rule has them
    required: frozenset[str]
    defaults: Mapping[str, str] = field(default_factory=dict)  # the account's own, which take a field's place


def plain_create(body: CreateBody, refusal: PermanentFailure, form: PlainForm) -> CreateBody | None:
    """The plain form of a refused create; None when it was one, or when nothing stands in for the refused field."""
    if body.is_plain or _would_be_refused_again(body, refusal, form):
        return None
    kept = {name: value for name, value in body.fields.items() if name in form.keeps}
    taken = {name: text for name, text in form.defaults.items() if name in body.fields or name in form.required}
    fields = _cut(kept, refusal, form) | taken
    own = [name for name in fields if fields[name] == body.fields.get(name)]
    names = tuple(
        ref if ref.field in own else replace(ref, text=fields[ref.field], fallback=None)
        for ref in body.names
        if ref.field in fields
    )
    return replace(
        body,
        fields=fields,
        names=names,
        notes=(*body.notes, *_told(body, fields, refusal)),
        places={name: place for name, place in body.places.items() if name in own or not name},
        is_plain=True,
    )


def plain_key(key: str, key_rule: KeyRule, *, sent: bool) -> str:
    """The key of a plain create. A call under the first key that may have worked after all must not be doubled."""
    return key if key_rule is KeyRule.WHILE_OPEN or sent else key + KEY_SUFFIX


def with_place(detail: str, of: str | None, places: Mapping[str, str]) -> str:
    """The upstream's own words beside the line of the rule that they are about: the field's, else the rule's."""
    place = places.get(of or "")
    if place is not None and of:
        return f"{detail} (field '{of}', {place})"
    place = places.get("")
    return detail if place is None else f"{detail} (rule at {place})"


def _would_be_refused_again(body: CreateBody, refusal: PermanentFailure, form: PlainForm) -> bool:
    name = refusal.field
    if name is None or name not in form.required or name not in body.fields:
        return False
    names_something = any(ref.field == name for ref in body.names)
    return names_something and form.defaults.get(name, body.fields[name]) == body.fields[name]


def _cut(kept: dict[str, Any], refusal: PermanentFailure, form: PlainForm) -> dict[str, Any]:
    """The text that was refused is too long, or holds what the upstream does not take: less of it, or none."""
    name = refusal.field
    text = kept.get(name or "")
    if name is None or not isinstance(text, str):
        return kept
    most = TITLE_CUT_CHARS if name in form.required else TEXT_CUT_CHARS
    if len(text) > most:
        return {**kept, name: text[: most - 1] + "…"}
    return kept if name in form.required else {other: value for other, value in kept.items() if other != name}


def _told(body: CreateBody, fields: Mapping[str, Any], refusal: PermanentFailure) -> tuple[str, ...]:
    words = with_place(refusal.detail, refusal.field, body.places)
    gone = [f"{name}: {_shown(value)}" for name, value in body.fields.items() if name not in fields]
    instead = [
        f"{name}: {_shown(value)} instead of {_shown(body.fields[name])}"
        for name, value in fields.items()
        if name in body.fields and value != body.fields[name]
    ]
    return (
        f"the upstream refused the whole incident, so this is a plain one: {words}",
        *([f"left out: {', '.join(gone)}"] if gone else []),
        *instead,
    )


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_MAX_CHARS else text[: SHOWN_MAX_CHARS - 1] + "…"
