"""What differs between two rule books as people wrote them: which rules, and the lines of their files. Pure."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DIFF_MAX_LINES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BookChanges:
    """From one book to another: ids of rules, names of templates, and the difference of the texts."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    is_reordered: bool  # rules that are in both are tried in another order
    unmatched: bool  # another rule decides when none matches
    templates: tuple[str, ...]  # added, changed or removed
    diff: tuple[str, ...]  # unified, over all files; bounded

    @property
    def sentence(self) -> str:
        """All of it in a line."""
        kinds = (("added", self.added), ("changed", self.changed), ("removed", self.removed))
        parts = [f"{len(ids)} {word} ({_few(ids)})" for word, ids in kinds if ids]
        parts += [f"templates changed: {_few(self.templates)}"] if self.templates else []
        parts += ["another order"] if self.is_reordered else []
        parts += ["another 'unmatched'"] if self.unmatched else []
        if parts:
            return "; ".join(parts)
        return "only comments or layout" if self.diff else "nothing"

    def as_json(self) -> dict[str, Any]:
        """For the API."""
        return {
            "added": list(self.added),
            "changed": list(self.changed),
            "removed": list(self.removed),
            "reordered": self.is_reordered,
            "unmatched": self.unmatched,
            "templates": list(self.templates),
            "diff": list(self.diff),
        }


def changes_between(
    old: str | None, new: str, old_texts: Mapping[str, str], new_texts: Mapping[str, str]
) -> BookChanges:
    """What changes from one book's content to another's (RuleBook.content; None: there was no book)."""
    before, after = _parts(old), _parts(new)
    stay = before.rules.keys() & after.rules.keys()
    names = before.templates.keys() | after.templates.keys()
    return BookChanges(
        added=tuple(one for one in after.rules if one not in before.rules),
        changed=tuple(one for one in after.rules if one in stay and before.rules[one] != after.rules[one]),
        removed=tuple(one for one in before.rules if one not in after.rules),
        is_reordered=[one for one in before.rules if one in stay] != [one for one in after.rules if one in stay],
        unmatched=old is not None and before.unmatched != after.unmatched,
        templates=tuple(sorted(name for name in names if before.templates.get(name) != after.templates.get(name))),
        diff=tuple(_diff(old_texts, new_texts)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    rules: Mapping[str, str]  # id -> the rule with its file's defaults, as JSON
    templates: Mapping[str, str]
    unmatched: Any


def _parts(content: str | None) -> _Parts:
    held = {"rules": [], "templates": {}, "unmatched": None} if content is None else json.loads(content)
    rules = {str(entry[1].get("id")): json.dumps(entry, sort_keys=True) for entry in held["rules"]}
    return _Parts(rules=rules, templates=held["templates"], unmatched=held["unmatched"])


def _diff(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[str]:
    left = DIFF_MAX_LINES
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name):
            continue
        before, after = old.get(name, "").splitlines(), new.get(name, "").splitlines()
        for line in difflib.unified_diff(before, after, f"{name} in force", f"{name} on disk", lineterm=""):
            if left == 0:
                yield f"… (only the first {DIFF_MAX_LINES:,} lines are shown)"
                return
            left -= 1
            yield line


def _few(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:5]) + (f" and {len(every) - 5} more" if len(every) > 5 else "")
