"""A rule text as the whole rule book, beside the accounts, sources and templates of a configuration."""

import re
from pathlib import Path

from bridge import wiring
from bridge.config.models import Settings
from bridge.config.rulebook import load_rulebook
from bridge.domain.errors import Problem
from bridge.rules.book import RuleBook

_UNMATCHED = re.compile(r"^unmatched\s*:", re.MULTILINE)


def book_alone(settings: Settings, text: str, folder: Path, name: str) -> tuple[RuleBook, tuple[Problem, ...]]:
    """The text as the book, under this name in an empty folder; what it lets pass is recorded. Raises ConfigError."""
    (folder / name).write_text(text, encoding="utf-8")
    if _UNMATCHED.search(text) is None:
        (folder / "unmatched.yaml").write_text("unmatched: record\n", encoding="utf-8")
    views = {
        name: wiring.AccountView(name=name, destination=made) for name, made in wiring.destinations(settings).items()
    }
    return load_rulebook(folder, settings.templates_dir, views, settings.sources, folder)
