"""What goes out: a Delivery, the HTTP request it becomes, and what an answer means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

BODY_VERSION = 1  # of the stored `fields` JSON; tests/golden keeps one file per released version


class Action(StrEnum):
    """One thing to tell an upstream (or, with CHECK, to ask it)."""

    CREATE = "create"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    UPDATE = "update"
    NOTE = "note"
    CHECK = "check"


PAGES = (Action.CREATE, Action.REOPEN)  # what tells somebody who does not know of it


class DeliveryState(StrEnum):
    """Where a delivery stands; the last four are final."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    ADOPTED = "adopted"
    CANCELLED = "cancelled"
    DEAD = "dead"


class LaneClass(StrEnum):
    """The two classes of a lane, each with its own bucket."""

    CREATE = "create"
    UPDATE = "update"


class Phase(StrEnum):
    """Which call of a delivery comes next: the send itself, or a look-up of what an earlier send did."""

    SEND = "send"
    LOOK_UP = "look_up"


def lane_class(action: Action, phase: Phase) -> LaneClass:
    """The bucket a call is taken from: only a real create spends the create budget."""
    return LaneClass.CREATE if action is Action.CREATE and phase is Phase.SEND else LaneClass.UPDATE


class Reason(StrEnum):
    """Why an attempt did not deliver, or why a delivery ended. A closed list: free text goes beside it."""

    TIMEOUT = "timeout"  # no whole answer within the deadline; the call may have worked
    CONNECTION_LOST = "connection_lost"  # broke after the request was sent; the call may have worked
    NOT_CONNECTED = "not_connected"  # never reached the upstream
    SERVER_ERROR = "server_error"  # 5xx or 408; the call may have worked
    UNREADABLE_ANSWER = "unreadable_answer"  # a 2xx without an id
    RATE_LIMITED = "rate_limited"
    EXHAUSTED = "exhausted"  # a success that said nothing is left of the allowance
    AUTH = "auth"  # 401
    FORBIDDEN = "forbidden"  # 403
    BAD_REQUEST = "bad_request"  # 400 or 422: what the call holds is not what the upstream takes
    REFUSED = "refused"  # every other 4xx, or a redirect: nothing that a rule gives would change it
    PAYMENT_REQUIRED = "payment_required"  # 402
    NOT_FOUND = "not_found"  # 404
    KEY_OPEN = "key_open"  # PagerDuty refuses a key that is open
    KEY_SPENT = "key_spent"  # incident.io answered with an incident of an earlier episode
    NOTHING_FOUND = "nothing_found"  # a look-up found no incident
    CLOSED_UPSTREAM = "closed_upstream"
    REOPENED_UPSTREAM = "reopened_upstream"  # resolved here, and a person has it open there: left to people
    NAME_UNKNOWN = "name_unknown"  # a name the upstream's complete list lacks, and no fallback
    WAITING_FOR_NAMES = "waiting_for_names"
    NOT_BUILT = "not_built"  # our own fault: the call could not be made, or not from this configuration
    POISON = "poison"  # five workers died in it
    TOO_OLD = "too_old"  # older than give_up_after
    RECOVERED = "recovered"  # its problem was over before it was sent
    SUPERSEDED = "superseded"  # a newer one of the same incident tells it, or more
    JOINED_AGAIN = "joined_again"  # a resolve that a new firing made unnecessary
    NOTHING_TO_TELL = "nothing_to_tell"  # its create never happened, or nothing is left of what it was to change
    FOLDED = "folded"  # another incident carries it: a storm
    DISCARDED = "discarded"  # by a person
    REPLAYED = "replayed"  # by a person
    DETACHED = "detached"  # a person let go of it: it stays upstream as it is, and is told nothing more
    RESOLVED_BY_HAND = "resolved_by_hand"  # at plan B, while its problem fires: nobody is to be paged there again
    RESENT = "resent"  # by a person: a new episode follows it
    TAKEN_ALONG = "taken_along"  # a person's note: it is said in the incident that takes this one's place
    LEASE_ENDED = "lease_ended"  # the worker that held it stopped answering


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRef:
    """A field of the request that names something of the upstream by a person's word for it."""

    field: str  # key in `fields`, e.g. "service"
    kind: str  # which list of the upstream knows it, e.g. "service"
    text: str  # the name or id as rendered
    fallback: str | None = None  # used when the upstream's complete list lacks `text`
    within: str | None = None  # the field of an earlier NameRef: what that one names says which list knows this text


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivery as a worker claims it: complete but for names, so that neither rules nor templates are needed."""

    id: str
    incident: str
    account: str
    action: Action
    key: str  # PagerDuty's incident_key or incident.io's idempotency_key
    fields: Mapping[str, Any]  # the rendered request fields, as the rule's incident block names them
    names: tuple[NameRef, ...] = ()
    ids: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # field -> upstream id, once looked up
    notes: tuple[str, ...] = ()  # what fell back and why; goes into the body
    phase: Phase = Phase.SEND
    upstream_id: str | None = None  # of the incident, for everything but its create
    created_at: datetime
    first_attempt_at: datetime | None = None
    owned: frozenset[str] = frozenset()  # upstream ids that earlier episodes of the series own and that are not ours


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One call to an upstream. `headers` holds the credentials: its repr hides them."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = None
    asks_for_list: bool = False  # the answer holds many things, and may be larger than one that holds a single one


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """A whole answer; header names in lower case, body capped by the adapter."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """A call that brought no whole answer. `sent` is False only when it surely never reached the upstream."""

    reason: Reason  # TIMEOUT, CONNECTION_LOST or NOT_CONNECTED
    sent: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An incident at the upstream."""

    id: str
    url: str | None = None
    closed: bool = False  # already over there when we learned of it
    summary: str | None = None  # as it stands there, where a note becomes a part of it
    changed_at: datetime | None = None  # when it was closed, or its status changed last, as far as the upstream says
    made_before: bool = False  # found for a create, and made before that was first tried: it says nothing of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The upstream has it. `adopted`: by an earlier or a foreign call, not this one."""

    reference: Reference | None
    adopted: bool = False
    detail: str = ""
    exhausted_s: float | None = None  # the answer said that nothing is left of the allowance for this long


@dataclass(frozen=True, slots=True, kw_only=True)
class TransientFailure:
    """Surely not processed; the same call may work later."""

    reason: Reason
    detail: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOutcome:
    """The call may have worked: find out before, or while, sending again."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyIsOpen:
    """The upstream says an open incident has this key: look it up and adopt it."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingFound:
    """A look-up that found no incident of ours: send (again)."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpent:
    """The key belongs to an incident that is over: the episode needs its next key."""

    reference: Reference
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PermanentFailure:
    """The same call would be refused again."""

    reason: Reason
    detail: str
    field: str | None = None  # of the incident block, when the upstream's words are about one


AttemptResult = Delivered | TransientFailure | UnknownOutcome | KeyIsOpen | NothingFound | KeySpent | PermanentFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedThing:
    """One entry of an upstream's list (a service, a severity, ...)."""

    id: str
    name: str
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # e.g. a status's category
    aliases: tuple[str, ...] = ()  # what else a person may call it: a user's e-mail address, a status's category


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesPage:
    """One page of such a list; `next_cursor` says where the following one begins, None after the last."""

    things: tuple[NamedThing, ...]
    next_cursor: str | None = None
