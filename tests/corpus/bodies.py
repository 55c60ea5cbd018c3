"""The bodies of a corpus and the tables of what they mean."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent.parent / "golden" / "corpus"
HEADERS = ".headers.json"
MEDIA_TYPES = {".json": "application/json", ".form": "application/x-www-form-urlencoded"}
KINDS = {"misc": "generic"}  # folders that are not called as their source type


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One request of a sender."""

    path: Path

    def __str__(self) -> str:
        return f"{self.folder}/{self.path.name}"

    @property
    def folder(self) -> str:
        return self.path.parent.name

    @property
    def kind(self) -> str:
        """The type of source it is posted to."""
        return KINDS.get(self.folder, self.folder.replace("-", "_"))

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    @property
    def headers(self) -> Mapping[str, str]:
        beside = self.path.with_name(self.path.stem + HEADERS)
        given: dict[str, str] = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
        if "content-type" not in {name.lower() for name in given}:
            given["Content-Type"] = MEDIA_TYPES[self.path.suffix]
        return given


def bodies_in(corpus: Path) -> list[Body]:
    """Every request of a corpus, by folder and name."""
    found = [path for path in sorted(corpus.glob("*/*")) if path.suffix in MEDIA_TYPES]
    bodies = [Body(path=path) for path in found if not path.name.endswith(HEADERS)]
    assert bodies, f"{corpus} has no folders with .json or .form files"
    return bodies


@lru_cache
def tables_for(folder: str) -> Mapping[str, list[dict[str, Any]]]:
    """What each body of a folder means; empty for a folder without a table."""
    table = TABLES / f"{folder}.json"
    rows: dict[str, list[dict[str, Any]]] = json.loads(table.read_text(encoding="utf-8")) if table.exists() else {}
    return rows
