"""What the pages say: ages, chips and sentences, from the plain values of the read API. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

from bridge.domain.absent import is_blank

LONG_WAIT_S = 600.0  # five times the default `max_wait`

_CHIPS = {
    **dict.fromkeys(
        ("opened", "delivered", "adopted", "open", "acknowledged", "resolved", "accepted", "sighted"), "ok"
    ),
    **dict.fromkeys(("pending", "sending", "resolving", "folded", "joined"), "wait"),
    **dict.fromkeys(("dead", "rejected", "critical"), "bad"),
}
_INCIDENT = re.compile(r"\bincident ([0-9A-HJKMNP-TV-Z]{26})\b")
_HALF = re.compile(r"[\ud800-\udfff]")  # of a pair: JSON can name it, as what cut a text within an emoji does
_STEPS = ((60.0, 1.0, "s"), (3600.0, 60.0, "min"), (86400.0, 3600.0, "h"), (float("inf"), 86400.0, "d"))


def chip(word: str | None) -> str:
    """The class of a word's chip: ok, wait, bad, or none."""
    return _CHIPS.get(word or "", "")


def span(seconds: float | None) -> str:
    """A length of time in the largest unit that fits: `38 s`, `4 min`."""
    if seconds is None:
        return "–"
    size, unit = next((size, unit) for limit, size, unit in _STEPS if abs(seconds) < limit)
    return f"{seconds / size:.0f} {unit}"


def age(instant: str | None, now: datetime) -> str:
    """How long ago an RFC 3339 instant was."""
    return "–" if instant is None else span(max(0.0, (now - datetime.fromisoformat(instant)).total_seconds()))


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 dead letter`, `3 dead letters`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def titled(title: str | None, otherwise: str = "(no title)") -> str:
    """A title that can be seen, and clicked on: some are empty, some made of characters without a width."""
    return title if title and not is_blank(title) else otherwise


def body_text(text: str | None) -> str:
    """A body as people read it: JSON with its lines broken, everything else as it is."""
    if text is None:
        return "The body is no longer kept (retention.bodies)."
    try:
        return json_text(json.loads(text), indent=2)
    except (ValueError, RecursionError):
        return text


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON that people read: letters as they are, but half a surrogate pair, which no page can carry."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def link(href: str | None) -> str | None:
    """An address that a page may link to: http and https alone; None for every other."""
    if href is None or not href.lower().startswith(("https://", "http://")):
        return None
    return href


def with_links(text: str) -> Markup:
    """A sentence whose incidents, named by their ids, are links."""
    return Markup(_INCIDENT.sub(r'<a href="/incidents/\1">incident \1</a>', str(escape(text))))  # noqa: S704 - escaped


def with_beats(processes: Iterable[Mapping[str, Any]], silent_after_s: float) -> list[dict[str, Any]]:
    """Each process with `word` and `chip`: a silent one is bad only where none of its kind beats."""
    found = list(processes)
    alive = {one["kind"] for one in found if one["beat_age_s"] <= silent_after_s}

    def told(one: Mapping[str, Any]) -> dict[str, Any]:
        if one["beat_age_s"] <= silent_after_s:
            return {**one, "word": "beats", "chip": "ok"}
        return {**one, "word": "silent", "chip": "" if one["kind"] in alive else "bad"}

    return [told(one) for one in found]


def story_of(delivery: Mapping[str, Any]) -> str:
    """One delivery's state as a sentence."""
    action, account = delivery["action"], delivery["account"]
    match delivery["state"]:
        case "delivered":
            return f"{action} told to {account}"
        case "adopted":
            return f"{action}: {account} had it already"
        case "cancelled" if delivery["reason"] == "folded":
            return f"{action} not needed: another incident speaks for it"
        case "cancelled" if delivery["reason"] == "taken_along":
            return f"{action} taken along: it is said in the incident that took this one's place"
        case "cancelled":
            return f"{action} not needed: {(delivery['reason'] or 'cancelled').replace('_', ' ')}"
        case "dead":
            return f"{action} refused for good: {delivery['detail'] or delivery['reason']}"
        case "sending":
            return f"{action} is being told to {account}"
    when = "" if delivery["eta_s"] is None else f", about {span(delivery['eta_s'])} to go"
    return f"{action} waits for {account}{when}"
