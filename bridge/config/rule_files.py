"""The files a rule book is compiled from, as texts: read from disk once, or brought back from the ledger.

In: a folder of rules and one of templates. Out: RuleFiles. What compiles them (config.rulebook) touches no disk, so
that every process on every host makes the same book of the same texts.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bridge.config.folders import unread, visible
from bridge.config.rule_tests import SUFFIXES as TEST_SUFFIXES
from bridge.config.texts import text_in
from bridge.domain.errors import ConfigError, Place, Problem
from bridge.sources.body import SUFFIXES

VERSION = 1
_WATCHED = frozenset({".yaml", ".yml", ".j2", *SUFFIXES.values()})  # rules, templates, tests, and what tests send


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFiles:
    """Every text that a rule book needs; files are named as people know them, relative to the configuration."""

    rules: tuple[tuple[str, str], ...]  # (name, text) in the order they are read
    templates: Mapping[str, str]  # by their name inside their folder
    rules_folder: str
    templates_folder: str

    def as_json(self) -> str:
        """For the ledger."""
        held = {
            "v": VERSION,
            "rules": [list(one) for one in self.rules],
            "templates": dict(self.templates),
            "rules_folder": self.rules_folder,
            "templates_folder": self.templates_folder,
        }
        return json.dumps(held, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `as_json` wrote."""
        held: dict[str, Any] = json.loads(text)
        return cls(
            rules=tuple((name, content) for name, content in held["rules"]),
            templates=held["templates"],
            rules_folder=held["rules_folder"],
            templates_folder=held["templates_folder"],
        )

    @property
    def texts(self) -> dict[str, str]:
        """Every text by its file's name."""
        return dict(self.rules) | {f"{self.templates_folder}/{name}": text for name, text in self.templates.items()}


def read_files(rules_dir: Path, templates_dir: Path, root: Path) -> tuple[RuleFiles, tuple[Problem, ...]]:
    """Read every rule file (not `*.test.yaml`) and every template, with what could not be read.

    Files are named relative to `root`.
    """
    problems: list[Problem] = []
    if not rules_dir.is_dir():
        hint = "make it, or name the folder of the rules: 'rules:' in bridge.yaml"
        problems.append(
            Problem(place=Place(file=_shown(rules_dir, root)), message="there is no such folder", hint=hint)
        )
    else:
        problems += _unread(rules_dir, root)
    rules = _texts({_shown(path, root): path for path in _rule_files(rules_dir)}, problems)
    paths = {path.relative_to(templates_dir).as_posix(): path for path in sorted(visible(templates_dir, "*.j2"))}
    folder = _shown(templates_dir, root)
    templates = _texts(paths, problems, folder)
    files = RuleFiles(
        rules=tuple(rules.items()), templates=templates, rules_folder=_shown(rules_dir, root), templates_folder=folder
    )
    return files, tuple(problems)


def digest_of(*folders: Path) -> str:
    """A hash over everything that a reload looks at: rules, templates, tests and their fixtures."""
    found = hashlib.sha256()
    for path in watched(*folders):
        try:
            content = path.read_bytes() if path.is_file() else b""  # nobody may ever fill a pipe
        except OSError:  # gone, or not for us: `check` says so
            content = b""
        found.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        found.update(content)
    return found.hexdigest()


def stamps_of(*folders: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What changes when any of these files does, read without opening them: path, times and size of each.

    Who may read a file shows in the second time alone, and so does what was put in its place with the old one's first.
    """
    found = []
    for path in watched(*folders):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_mtime_ns, status.st_ctime_ns, status.st_size))
    return tuple(found)


def watched(*folders: Path) -> list[Path]:
    """The files under these folders that a reload looks at, sorted."""
    return sorted(path for folder in set(folders) for path in visible(folder) if path.suffix in _WATCHED)


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _unread(folder: Path, root: Path) -> list[Problem]:
    """A problem for each folder whose rules would be missing, and nobody know."""
    hint = "let this process read it, or take it out of the folder of the rules"
    return [
        Problem(place=Place(file=_shown(path, root)), message=f"the folder cannot be read: {why}", hint=hint)
        for path, why in unread(folder)
    ]


def _rule_files(folder: Path) -> list[Path]:
    paths = [path for pattern in ("*.yaml", "*.yml") for path in visible(folder, pattern)]
    return sorted(path for path in paths if not path.name.endswith(TEST_SUFFIXES))


def _texts(paths: Mapping[str, Path], problems: list[Problem], folder: str = "") -> dict[str, str]:
    held: dict[str, str] = {}
    for name, path in paths.items():
        try:
            held[name] = text_in(path, f"{folder}/{name}" if folder else name)
        except ConfigError as error:
            problems += error.problems
    return held
