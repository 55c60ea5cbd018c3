"""What every destination has: a table of its fields, requests it builds, and answers it reads. It never sends.

In: a Delivery. Out: an HttpRequest; then, from the answer, an AttemptResult.
A vendor file knows its vendor and nothing else.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from bridge.destinations import wire
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivery,
    HttpRequest,
    HttpResponse,
    NamesPage,
    NoAnswer,
    PermanentFailure,
    TransientFailure,
)

MILLISECONDS_FROM = 100_000_000_000  # as seconds the year 5138
_UNIX_TIME = re.compile(r"[0-9]{9,13}(\.[0-9]{1,9})?")


class FieldKind(StrEnum):
    """What a field of the incident block holds."""

    TEXT = "text"  # a string of the upstream's, cut to max_chars
    LONG_TEXT = "long_text"  # a body: takes what did not fit elsewhere
    ENUM = "enum"  # one of `choices`
    NAME = "name"  # a name or id of the upstream's list `lookup`
    MAPPING = "mapping"  # a mapping of texts; what it means is the vendor file's business
    VALUES = "values"  # a mapping: names of the list `lookup` to one value or several, looked up as each name says
    PEOPLE = "people"  # a mapping: names of the list `lookup` to somebody of the list `value_lookup`
    INSTANTS = "instants"  # a mapping: names of the list `lookup` to an instant


NAMED = frozenset({FieldKind.VALUES, FieldKind.PEOPLE, FieldKind.INSTANTS})  # mappings whose keys are names
MAPPINGS = NAMED | {FieldKind.MAPPING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One key a rule's `incident:` block may have for this destination."""

    kind: FieldKind
    about: str  # one sentence for the README, the schema and an editor's hover
    source: str  # where the fact is from, and when it was read
    required: bool = False
    choices: tuple[str, ...] = ()
    lookup: str | None = None  # the upstream's list that knows the name
    max_chars: int | None = None
    keys: tuple[str, ...] = ()  # of a MAPPING: all it may have; of PEOPLE: what {key: text} may say of somebody
    value_lookup: str | None = None  # of PEOPLE and VALUES: the list that knows what a name stands beside


def instant_text(value: Any) -> str | None:
    """An instant as every upstream reads it, RFC 3339 in UTC; from such a text, or from unix time in s or ms."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    try:
        if _UNIX_TIME.fullmatch(text):
            number = float(text)
            instant = datetime.fromtimestamp(number / 1000 if number >= MILLISECONDS_FROM else number, UTC)
        else:
            instant = datetime.fromisoformat(text)
            instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    precision = "milliseconds" if instant.microsecond else "seconds"
    return instant.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


class Destination(Protocol):
    """One configured account. Implementations are frozen dataclasses; credentials never show in repr."""

    type: ClassVar[str]
    key_rule: ClassVar[KeyRule]
    key_field: ClassVar[str]  # what the upstream calls the key in a create
    fields: ClassVar[Mapping[str, Field]]
    title_field: ClassVar[str]  # "title" or "name"
    body_field: ClassVar[str]  # where notes and overlong text go: "body" or "summary"
    plain_fields: ClassVar[frozenset[str]]  # what stays of a create that the upstream refused (DESIGN section 5)
    rise_fields: ClassVar[frozenset[str]]  # what a joining report of a higher severity changes, if the rule is silent
    reopen_fields: ClassVar[frozenset[str] | None]  # what is said again to re-open an incident; None: it cannot be
    update_fields: ClassVar[Mapping[str, Field]]  # what an update can say
    target_fields: ClassVar[frozenset[str]] = frozenset()  # who is told: only what agrees in these folds into one
    scope_field: ClassVar[str | None]  # the field whose rendered text is the key's scope; None: no scope
    actions: ClassVar[frozenset[Action]]  # what the upstream can be told
    name_kinds: ClassVar[tuple[str, ...]]  # the lists `names_request` can fetch
    account: str
    token: str  # the credential
    defaults: Mapping[str, str]  # the account's own fallbacks per field

    def name_kinds_for(self, delivery: Delivery) -> tuple[str, ...]:
        """Lists this delivery reads beside its NameRefs (closing an incident.io incident needs its statuses).

        A create goes without those that are missing; everything else waits for them.
        """
        ...

    def says_nothing(self, delivery: Delivery, lists: Mapping[str, tuple[Any, ...]]) -> bool:  # noqa: ARG002 - for those that leave fields out
        """Whether nothing is left of what the delivery was to change: names were not found, words are not known."""
        return False

    def request_for(self, delivery: Delivery, lists: Mapping[str, tuple[Any, ...]]) -> HttpRequest:
        """The call for the delivery's action and phase.

        `lists` maps each kind of name_kinds_for to its NamedThings. The same delivery gives the same bytes every time.

        Raises:
            ValueError: the upstream has no such action, or the delivery lacks what the call needs.
        """
        ...

    def result_of(self, delivery: Delivery, answer: HttpResponse | NoAnswer) -> AttemptResult:
        """What the answer means. Every status from 100 to 599, with any body, has a result; never raises."""
        ...

    def names_request(self, kind: str, cursor: str | None = None) -> HttpRequest:
        """One page of one of name_kinds: the first, or the one that a NamesPage's cursor names."""
        ...

    def names_in(self, kind: str, request: HttpRequest, response: HttpResponse) -> NamesPage | None:
        """The entries of one page; None when the answer is not a list we can trust."""
        ...

    def words_in(self, content: Any) -> list[str]:
        """What a refusal's decoded body says, for people."""
        ...

    def names_failure(self, answer: HttpResponse | NoAnswer) -> TransientFailure | PermanentFailure:
        """Why an answer that names_in could not read holds no list."""
        return wire.no_list(answer, self.words_in, secret=self.token)

    def contradictions(self, written: Mapping[str, str | None]) -> tuple[tuple[str, str, str], ...]:  # noqa: ARG002 - for those that have some
        """What can never work about the fields a rule gives: (field, sentence, what to do).

        `written` has their texts, None where the alert decides.
        """
        return ()

    def written(self, delivery: Delivery) -> str:  # noqa: ARG002 - for those that keep it
        """The incident's text as a delivered create or note left it, where a note has to be added to that text."""
        return ""

    def masked(self, answer: HttpResponse | NoAnswer) -> HttpResponse | NoAnswer:
        """The answer without our credential, which an upstream may echo: safe to read, to store and to log."""
        return wire.masked_answer(answer, self.token)

    def masked_text(self, text: str) -> str:
        """Any other text without our credential."""
        return wire.masked(text, self.token)
