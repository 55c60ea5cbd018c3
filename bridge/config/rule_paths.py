"""Paths into an alert as a rule writes them: read, and remembered for whoever has payloads to hold them against."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.config.rule_loading import Loading
from bridge.config.sentences import found
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree
from bridge.domain.alert import Severity, Status
from bridge.domain.errors import Place
from bridge.render import nearest
from bridge.rules.book import PathUse
from bridge.rules.paths import HEADS, BadPath
from bridge.rules.paths import Path as AlertPath
from bridge.rules.paths import parse as parse_path
from bridge.sources import SOURCES

_PATHS_HINT = "paths: severity, labels.team, payload.a.0.b, payload['a.b']"


@dataclass(slots=True, kw_only=True)
class Paths:
    """Reads the paths of one rule; what is wrong with them goes to the problems of the loading."""

    tree: Tree
    rule_id: str
    loading: Loading

    def read(self, text: Any, path: YamlPath) -> AlertPath | None:
        """The path that stands there; None when it is none."""
        try:
            read = parse_path(text if isinstance(text, str) else "")
            if read.head == "payload":
                self.note(read, self.tree.place(path))
            return read
        except BadPath as error:
            message = str(error) if isinstance(text, str) else f"a path is a text, found {found(text)}"
            hint = path_hint(text if isinstance(text, str) else "", error.word, HEADS, "fields")
            self.loading.error(self.tree.place(path), message, hint)
            return None

    def note(self, read: AlertPath, place: Place) -> None:
        """Remember a path, for whoever has payloads to hold it against."""
        self.loading.paths.append(PathUse(place=place, rule=self.rule_id, path=read))

    def note_all(self, texts: Iterable[str], place: Place) -> None:
        """Remember those of an expression or a template that lead into the payload."""
        for text in dict.fromkeys(texts):
            if text.startswith("payload"):
                try:
                    self.note(parse_path(text), place)
                except BadPath:
                    continue  # no path that a rule could write: nothing is known of it

    def choices(self, head: str) -> Collection[str] | None:
        """All values that a field of an alert can have; None where nobody knows."""
        choices: Mapping[str, Collection[str]] = {
            "source": self.loading.source_names,
            "source_type": tuple(SOURCES),
            "severity": tuple(Severity),
            "status": tuple(Status),
        }
        return choices.get(head)


def path_hint(text: str, word: str, known: Collection[str], what: str) -> str:
    """What to do about a path that cannot be read because of a word in it, or else as a whole."""
    if word != "alert":
        hint = nearest(word, known, what) if word else _PATHS_HINT
        is_senders = word and not hint.startswith("did you mean")
        return f"what the sender calls so is labels.{word} or payload.{word}; {hint}" if is_senders else hint
    meant = text.removeprefix("alert").removeprefix(".") or "title"
    return f"write {meant}: in rules an alert's fields stand without 'alert.'"
