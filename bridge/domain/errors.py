"""The exceptions of the product, and the Problem a person can act on.

    BridgeError
    ├─ ConfigError        the operator's files or environment; nothing starts
    ├─ DecodeError        a body is not what its source can read; 400 to the sender
    ├─ SignatureError     401; the answer says nothing more
    ├─ Unverifiable       who sent it cannot be found out now; 503
    └─ LedgerUnavailable  the ledger cannot take the work; 503

What the outside world does wrong while delivering is expected and therefore a value (domain.delivery), not an
exception.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Where something stands in an operator's file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Grade(StrEnum):
    """How bad a Problem is: an error stops everything, a warning is only said."""

    ERROR = "error"
    WARNING = "warning"


SENTENCE_MAX_CHARS = 2_000  # of a message or hint: what a person wrote may be megabytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing a person must mend: where, what is wrong in their own text, what to do."""

    place: Place
    message: str
    hint: str = ""
    grade: Grade = Grade.ERROR

    def __post_init__(self) -> None:
        for name in ("message", "hint"):
            text: str = getattr(self, name)
            if len(text) > SENTENCE_MAX_CHARS:
                half = SENTENCE_MAX_CHARS // 2
                object.__setattr__(self, name, f"{text[:half]} … {text[-half:]}")

    def __str__(self) -> str:
        mark = "warning: " if self.grade is Grade.WARNING else ""
        first = f"{self.place}: {mark}{self.message}"
        indented = self.hint.replace("\n", "\n    ")
        return f"{first}\n    {indented}" if self.hint else first

    def as_json(self) -> dict[str, str | int]:
        """For scripts and the API."""
        return {
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "grade": self.grade.value,
            "message": self.message,
            "hint": self.hint,
        }


class BridgeError(Exception):
    """The parent of every error this product raises on purpose."""


class ConfigError(BridgeError):
    """The operator's files or environment do not hold together; carries every Problem found, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.place))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DecodeError(BridgeError):
    """A body is not what its source can read.

    `path` is the JSON path of the odd value ("$" for the whole body); the message is shown to the sender, so it never
    holds a secret.
    """

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message
        super().__init__(f"{path}: {message}")


class SignatureError(BridgeError):
    """A request does not prove who sent it. `check` names the failed check for the log, never for the answer."""

    def __init__(self, check: str) -> None:
        self.check = check
        super().__init__(check)


class Unverifiable(BridgeError):
    """Who sent a request cannot be found out now; the sender is asked to come back."""


class LedgerUnavailable(BridgeError):
    """The ledger cannot take the work now; the sender is asked to come back."""
