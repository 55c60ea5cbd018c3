"""Names of the upstream: from a person's word (or an id) to the upstream's id. The one place that knows how."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from unicodedata import normalize

from bridge.domain.delivery import NamedThing, NameRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The one entry that is meant."""

    thing: NamedThing


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOne:
    """No entry, or several, are meant; `sentence` says so and lists the candidates."""

    sentence: str
    several: bool = False


CANDIDATES_MAX = 10
CUT_OFF = 10_000  # entries: PagerDuty gives out no more of any list (docs 09-Pagination), and we read no more
VALUES_KIND = "values_kind"  # in a thing's `extra`: the list that knows what may stand in it; absent: any text may
VALUES_OF = "values_of"  # beside it: only entries of that list whose `of` is this
OF = "of"
FORMERLY = "formerly"  # in a thing's `extra`: names it had before, which still find it
FORMERLY_MAX = 5
SHOWN_CHARS = 80  # of a candidate's name: a sentence ends up in an incident's body


def find(text: str, kind: str, things: Sequence[NamedThing]) -> Found | NotOne:
    """Look a word up in a complete list: as an id, as a name, as an alias; exactly first, then as people read it.

    A name goes before every alias: an organisation may call a status as its upstream calls another one's category.
    """
    folded = _folded(text)
    ways: tuple[Callable[[NamedThing], bool], ...] = (
        lambda thing: thing.id == text,
        lambda thing: thing.name == text,
        lambda thing: _folded(thing.name) == folded,
        lambda thing: text in thing.aliases,
        lambda thing: any(_folded(alias) == folded for alias in thing.aliases),
    )
    for same in ways:
        hits = [thing for thing in things if same(thing)]
        if len(hits) == 1:
            return Found(thing=hits[0])
        if hits:
            return NotOne(
                sentence=f"{kind} '{text}' is ambiguous: {_listed(map(_with_id, hits))}; use the id", several=True
            )
    known = _listed(sorted(_shown(thing.name) for thing in things)) or "none"
    return NotOne(sentence=f"{kind} '{text}' does not exist upstream; there: {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPart:
    """Where a reference is looked up: a list, and if not all of it, the part whose entries say they are `of` this."""

    ref: NameRef  # its kind is the list
    of: str | None = None

    def among(self, things: Sequence[NamedThing]) -> Sequence[NamedThing]:
        """The entries of the list that count."""
        return things if self.of is None else tuple(thing for thing in things if thing.extra.get(OF) == self.of)


def may_go_on(things: Sequence[NamedThing]) -> bool:
    """Whether a list is so long that it may be cut off: what it lacks may be there all the same."""
    return len(things) >= CUT_OFF


def list_part(ref: NameRef, found: Mapping[str, NamedThing]) -> ListPart | None:
    """Where to look a reference up, given what the fields before it came to.

    None: nowhere. It stands within something that was not found, or that takes any text.
    """
    if ref.within is None:
        return ListPart(ref=ref)
    around = found.get(ref.within)
    kind = None if around is None else around.extra.get(VALUES_KIND)
    if around is None or not isinstance(kind, str):
        return None
    return ListPart(ref=replace(ref, kind=kind), of=around.extra.get(VALUES_OF))


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a NameRef comes to on a complete list: the entry that serves; a sentence when it is not the one named.

    `unlisted`: no entry has what it says as its id, name or alias.
    """

    thing: NamedThing | None
    note: str | None = None
    unlisted: bool = False


def served(ref: NameRef, things: Sequence[NamedThing], default: str | None = None) -> Served:
    """The entry a reference names, else its fallback's, else that of the account's `default`, else none."""
    match find(ref.text, ref.kind, things):
        case Found(thing=thing):
            return Served(thing=thing)
        case NotOne(sentence=sentence, several=several):
            for other in others(ref, default):
                instead = find(other, ref.kind, things)
                if isinstance(instead, Found):
                    thing = instead.thing
                    note = f"{ref.field}: {sentence}; '{_shown(thing.name)}' serves instead"
                    return Served(thing=thing, note=note, unlisted=not several)
            return Served(thing=None, note=f"{ref.field}: {sentence}", unlisted=not several)


def renamed(before: Sequence[NamedThing], things: Sequence[NamedThing]) -> tuple[NamedThing, ...]:
    """A new list, in which entries that had another name in the list before it are still found by that name.

    A name that another entry has taken over means that one.
    """
    taken = {_folded(thing.name) for thing in things}
    old = {thing.id: thing for thing in before}
    return tuple(_with_former_names(thing, old.get(thing.id), taken) for thing in things)


def _with_former_names(thing: NamedThing, old: NamedThing | None, taken: set[str]) -> NamedThing:
    if old is None:
        return thing
    names = dict.fromkeys((old.name, *old.extra.get(FORMERLY, ())))
    former = [name for name in names if name and name != thing.name and _folded(name) not in taken][:FORMERLY_MAX]
    if not former:
        return thing
    aliases = tuple(dict.fromkeys((*thing.aliases, *former)))
    return replace(thing, aliases=aliases, extra={**thing.extra, FORMERLY: former})


def others(ref: NameRef, default: str | None) -> list[str]:
    """What may serve instead of the text of a reference, best first: the rule's `else`, the account's default."""
    return [text for text in dict.fromkeys((ref.fallback, default)) if text and text != ref.text]


def _folded(text: str) -> str:
    """The text as people tell it from another: not by case, by the number of spaces, or by how Unicode writes it."""
    return " ".join(normalize("NFKC", text).casefold().split())


def _shown(name: str) -> str:
    return name if len(name) <= SHOWN_CHARS else name[: SHOWN_CHARS - 1] + "…"


def _with_id(thing: NamedThing) -> str:
    return f"{_shown(thing.name)} ({thing.id})"


def _listed(candidates: Iterable[str]) -> str:
    found = list(candidates)
    more = f" and {len(found) - CANDIDATES_MAX} more" if len(found) > CANDIDATES_MAX else ""
    return ", ".join(found[:CANDIDATES_MAX]) + more
