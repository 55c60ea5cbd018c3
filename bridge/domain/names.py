"""Names of the upstream: from a person's word (or an id) to the upstream's id."""

from collections.abc import Sequence
from dataclasses import dataclass

from bridge.domain.delivery import NamedThing


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The one entry that is meant."""

    thing: NamedThing


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOne:
    """No entry, or several, are meant; `sentence` says so and lists the candidates."""

    sentence: str


CANDIDATES_MAX = 10


def find(text: str, kind: str, things: Sequence[NamedThing]) -> Found | NotOne:
    """Look a word up in a complete list: as an id, then as an exact name, then without regard to case."""
    for same in (_by_id, _by_name, _by_folded_name):
        hits = [thing for thing in things if same(thing, text)]
        if len(hits) == 1:
            return Found(thing=hits[0])
        if hits:
            ids = ", ".join(f"{thing.name} ({thing.id})" for thing in hits[:CANDIDATES_MAX])
            return NotOne(sentence=f"{kind} '{text}' is ambiguous: {ids}; use the id")
    known = ", ".join(sorted(thing.name for thing in things)[:CANDIDATES_MAX]) or "none"
    more = f" and {len(things) - CANDIDATES_MAX} more" if len(things) > CANDIDATES_MAX else ""
    return NotOne(sentence=f"{kind} '{text}' does not exist upstream; there: {known}{more}")


def _by_id(thing: NamedThing, text: str) -> bool:
    return thing.id == text


def _by_name(thing: NamedThing, text: str) -> bool:
    return thing.name == text


def _by_folded_name(thing: NamedThing, text: str) -> bool:
    return thing.name.strip().casefold() == text.strip().casefold()
