"""What the pages say: ages, chips and sentences, from the plain values of the read API. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SPARK_WIDTH, SPARK_HEIGHT = 240, 36
LONG_WAIT_S = 600.0  # five times the default `max_wait`

_CHIPS = {
    **dict.fromkeys(
        ("opened", "delivered", "adopted", "open", "acknowledged", "resolved", "accepted", "sighted"), "ok"
    ),
    **dict.fromkeys(("pending", "sending", "resolving", "folded", "joined"), "wait"),
    **dict.fromkeys(("dead", "rejected", "critical"), "bad"),
}
_STEPS = ((60.0, 1.0, "s"), (3600.0, 60.0, "min"), (86400.0, 3600.0, "h"), (float("inf"), 86400.0, "d"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that needs a person: what is wrong, what is known of it, and where it is mended."""

    what: str
    more: str
    href: str
    link: str


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


def spark(numbers: Sequence[int]) -> str:
    """The path of a filled sparkline, oldest first."""
    top = max(numbers, default=0) or 1
    step = SPARK_WIDTH / max(1, len(numbers) - 1)
    points = [
        f"{index * step:.0f} {SPARK_HEIGHT - 1 - number / top * (SPARK_HEIGHT - 4):.1f}"
        for index, number in enumerate(numbers)
    ]
    return f"M0 {SPARK_HEIGHT}L{' '.join(points)} {SPARK_WIDTH} {SPARK_HEIGHT}Z"


def title_of(needs: Sequence[Need]) -> str:
    """The title of the first page: whether anybody is needed."""
    if not needs:
        return "Nothing needs you"
    return "One thing needs you" if len(needs) == 1 else f"{len(needs)} things need you"


def needs_of(
    lanes: Iterable[Mapping[str, Any]], causes: Iterable[Mapping[str, Any]], missing: Iterable[str]
) -> tuple[Need, ...]:
    """What needs a person, worst first: silent processes, refused keys, long waits, dead letters by their cause."""
    found = [Need(what=sentence, more="", href="/readyz", link="See what is missing") for sentence in missing]
    for lane in lanes:
        account = lane["account"]
        if lane["parked"]:
            waiting = plural(lane["waiting"], "delivery waits", "deliveries wait")
            found.append(
                Need(what=f"{account} is held back", more=f"{lane['parked']}; {waiting}", href="#lanes", link="See it")
            )
        elif (lane["oldest_wait_s"] or 0.0) > LONG_WAIT_S:
            oldest = span(lane["oldest_wait_s"])
            more = f"{plural(lane['waiting'], 'delivery waits', 'deliveries wait')}, the oldest for {oldest}"
            found.append(Need(what=f"{account} is far behind", more=more, href="/incidents?state=pending", link="See"))
    for cause in causes:
        letters = plural(cause["count"], "dead letter")
        more = f"rule {cause['rule']}: {cause['detail'] or cause['reason']}"
        found.append(Need(what=f"{letters} of {cause['account']}", more=more, href="/dead", link="See the letters"))
    return tuple(found)


def story_of(delivery: Mapping[str, Any]) -> str:
    """One delivery's state as a sentence."""
    action, account = delivery["action"], delivery["account"]
    match delivery["state"]:
        case "delivered":
            return f"{action} told to {account}"
        case "adopted":
            return f"{action}: {account} had it already"
        case "cancelled" if delivery["reason"] == "folded":
            return f"{action} not needed: {delivery['detail'] or 'folded'}"
        case "cancelled":
            return f"{action} not needed: {(delivery['reason'] or 'cancelled').replace('_', ' ')}"
        case "dead":
            return f"{action} refused for good: {delivery['detail'] or delivery['reason']}"
        case "sending":
            return f"{action} is being told to {account}"
    when = "" if delivery["eta_s"] is None else f", about {span(delivery['eta_s'])} to go"
    return f"{action} waits for {account}{when}"
