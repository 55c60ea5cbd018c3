"""names.lock.json beside the rules: the names and ids of the upstreams, so that CI can prove a rule without them.

In: the names that stand in the rules, and complete lists of the upstreams. Out: Problems with places. A name that was
changed upstream is a warning and keeps its id; one that no list has is an error before any page, and takes its fallback
at the page.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bridge.domain.delivery import NamedThing, NameRef
from bridge.domain.errors import ConfigError, Grade, Place, Problem
from bridge.domain.names import FORMERLY, Found, ListPart, NotOne, find, list_part, may_go_on, renamed
from bridge.rules.book import NameUse

FILE = "names.lock.json"
_VERSION = 1

Lists = Mapping[tuple[str, str], tuple[NamedThing, ...]]  # (account, kind) -> all its entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Lists of names, and whether they are young enough to prove that a name does not exist."""

    lists: Lists
    stale: frozenset[tuple[str, str]] = frozenset()
    whence: str = FILE  # for people


def read_lock(rules_dir: Path) -> Known | None:
    """The lock file of a rules folder; None when there is none. Raises ConfigError when it cannot be read."""
    path = rules_dir / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            raise ValueError("another version")
        lists = {
            (account, kind): tuple(_thing(entry) for entry in entries)
            for account, kinds in content["accounts"].items()
            for kind, entries in kinds.items()
        }
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = "the lock file of names cannot be read"
        hint = "make it anew with 'incident-bridge names pull'"
        raise ConfigError([Problem(place=Place(file=FILE), message=message, hint=hint)]) from error
    return Known(lists=lists)


def lock_text(lists: Lists, before: Known | None) -> str:
    """The file's content for these lists; entries whose name has changed since `before` remember the old one."""
    accounts: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (account, kind), things in sorted(lists.items()):
        held = () if before is None else before.lists.get((account, kind), ())
        entries = sorted((_entry(thing) for thing in renamed(held, things)), key=lambda one: (one["name"], one["id"]))
        accounts.setdefault(account, {})[kind] = entries
    return json.dumps({"version": _VERSION, "accounts": accounts}, indent=1, ensure_ascii=False) + "\n"


def name_problems(uses: Iterable[NameUse], known: Known) -> tuple[Problem, ...]:
    """What these lists say against the names of the rules; of a list that is not there nothing is said."""
    problems: list[Problem] = []
    for use in uses:
        part = _part(use, known)
        if part is not None:
            problems += _of(
                replace(use, kind=part.ref.kind), part.among(known.lists[use.account, part.ref.kind]), known
            )
    return tuple(sorted(problems, key=lambda problem: problem.place))


def unproven(uses: Iterable[NameUse], known: Known) -> tuple[NameUse, ...]:
    """The names nothing can be said of, for the lack of their list."""
    return tuple(use for use in uses if _part(use, known) is None)


def _part(use: NameUse, known: Known) -> ListPart | None:
    """Where a name is looked up; None: in no list, or in one that is not there."""
    ref = NameRef(field="", kind=use.kind, text=use.text)
    part: ListPart | None = ListPart(ref=ref)
    if use.within is not None:
        kind, text = use.within
        around = find(text, kind, known.lists.get((use.account, kind), ()))
        found = {"": around.thing} if isinstance(around, Found) else {}
        part = list_part(replace(ref, within=""), found)
    return None if part is None or (use.account, part.ref.kind) not in known.lists else part


def _of(use: NameUse, things: Sequence[NamedThing], known: Known) -> Iterable[Problem]:
    match find(use.text, use.kind, things):
        case Found(thing=thing):
            if use.text in thing.extra.get(FORMERLY, ()):
                message = f"{use.kind} '{use.text}' of '{use.account}' is called '{thing.name}' now; its id is kept"
                yield Problem(place=use.place, message=message, hint=f"write '{thing.name}'", grade=Grade.WARNING)
        case NotOne() as missing:
            cut_off = not missing.several and may_go_on(known.lists[use.account, use.kind])
            proves_nothing = cut_off or (use.account, use.kind) in known.stale
            yield Problem(
                place=use.place,
                message=missing.sentence.replace("does not exist upstream", f"does not exist at '{use.account}'"),
                hint=f"as {known.whence} has it; 'incident-bridge names pull' asks again",
                grade=Grade.WARNING if proves_nothing else Grade.ERROR,
            )


def _entry(thing: NamedThing) -> dict[str, Any]:
    formerly = thing.extra.get(FORMERLY, ())
    aliases = [alias for alias in thing.aliases if alias not in formerly]
    extra = {name: value for name, value in sorted(thing.extra.items()) if name != FORMERLY}
    entry = {"id": thing.id, "name": thing.name, "aliases": aliases, "formerly": list(formerly), "extra": extra}
    return {name: value for name, value in entry.items() if value}


def _thing(entry: Mapping[str, Any]) -> NamedThing:
    formerly = tuple(map(str, entry.get("formerly", ())))
    aliases = (*map(str, entry.get("aliases", ())), *formerly)
    extra = {**entry.get("extra", {}), **({FORMERLY: list(formerly)} if formerly else {})}
    return NamedThing(id=str(entry["id"]), name=str(entry.get("name", "")), aliases=aliases, extra=extra)
