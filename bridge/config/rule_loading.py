"""What is known while the files of one rule book are read: what rules may name, and what was found so far."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bridge.destinations.base import Destination
from bridge.domain.errors import Grade, Place, Problem
from bridge.render import Renderer
from bridge.rules.book import NameUse, PathUse, Rule


class AccountView(Protocol):
    """What the rules need to know of an account in bridge.yaml."""

    @property
    def name(self) -> str:
        """Its name under `accounts:`."""
        ...

    @property
    def destination(self) -> Destination:
        """What it can be told, and its fallbacks per field."""
        ...


@dataclass(slots=True, kw_only=True)
class Loading:
    """Everything known while the files of one rule book are read."""

    accounts: Mapping[str, AccountView]
    source_names: Collection[str]
    renderer: Renderer
    key_renderer: Renderer  # of every `incident_key`
    unread: frozenset[str] = frozenset()  # accounts that are there and could not be read
    allowed: tuple[str, Collection[str]] | None = None  # a folder and the only accounts its files may use
    problems: list[Problem] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    contents: list[Any] = field(default_factory=list)
    names: list[NameUse] = field(default_factory=list)
    paths: list[PathUse] = field(default_factory=list)
    ids: dict[str, Place] = field(default_factory=dict)
    unmatched: tuple[str, Place] | None = None
    without_match: dict[str, Place] = field(default_factory=dict)
    has_unread: bool = False  # whether a file is no rule file at all: what is missing may stand there

    def error(self, place: Place, message: str, hint: str = "") -> None:
        """What keeps the whole book from being used."""
        self.problems.append(Problem(place=place, message=message, hint=hint))

    def warn(self, place: Place, message: str, hint: str = "") -> None:
        """What is allowed and hardly meant."""
        self.problems.append(Problem(place=place, message=message, hint=hint, grade=Grade.WARNING))
