"""What follows one attempt. In: an AttemptResult; out: a NextStep. The schedule is data."""

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from bridge.domain.decision import KeyRule
from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivered,
    KeyIsOpen,
    KeySpent,
    NothingFound,
    PermanentFailure,
    Phase,
    Reason,
    Reference,
    TransientFailure,
    UnknownOutcome,
)

BACKOFF_FIRST = timedelta(seconds=1)
BACKOFF_MAX = timedelta(minutes=5)  # DESIGN section 3: no stored backoff is longer
LOOK_UP_PATIENCE = 3  # look-ups that find nothing before waiting longer: the list can lag behind a create (A7)

PLAIN_AFTER = frozenset({Reason.BAD_REQUEST, Reason.PAYMENT_REQUIRED, Reason.NOT_FOUND})  # 400, 422, 402, 404
LOOK_AFTER = frozenset({Reason.BAD_REQUEST, Reason.REFUSED})  # of a close: a person may have ended it another way
MAY_HAVE_WORKED = frozenset(  # a PUT that is simply repeated: what would undo it must not believe it was never made
    {Reason.TIMEOUT, Reason.CONNECTION_LOST, Reason.SERVER_ERROR, Reason.UNREADABLE_ANSWER}
)
LANE_PARKS_FOR = frozenset({Reason.RATE_LIMITED, Reason.AUTH})  # the lane waits, not the delivery
FORBIDDEN_AGAIN_FIRST = timedelta(seconds=75)  # behind the lane's own 60 s: the next to be tried is another one
FORBIDDEN_AGAIN_MAX = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The delivery is over; `reference` is the incident at the upstream, when the answer named one."""

    reference: Reference | None
    adopted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryIn:
    """Call again. `sent`: this attempt may have worked, so that nothing but its key makes a repeat safe."""

    delay: timedelta
    phase: Phase
    reason: Reason
    sent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NextKey:
    """The key belongs to an incident that is over: the same create again under the episode's next key."""

    reason: Reason = Reason.KEY_SPENT


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPlain:
    """What the create holds was refused: once more with nothing but what it needs, if there is such a form of it."""

    refusal: PermanentFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The same call would be refused again: a dead letter."""

    reason: Reason


NextStep = Done | RetryIn | NextKey | SendPlain | GiveUp


def first_phase(action: Action, key_rule: KeyRule) -> Phase:
    """Which call a delivery begins with, and begins again with after a wait.

    An acknowledgement asks first: told to an incident that is resolved meanwhile, it would reopen it (PagerDuty, whose
    keys are unique while open; incident.io knows none). A note asks first where it becomes a part of the summary, which
    somebody may have rewritten (incident.io, whose keys are spent for ever).
    """
    asks = {Action.ACKNOWLEDGE: KeyRule.WHILE_OPEN, Action.NOTE: KeyRule.FOR_EVER}
    return Phase.LOOK_UP if asks.get(action) is key_rule else Phase.SEND


def phase_after_unknown(action: Action, key_rule: KeyRule) -> Phase:
    """Which call follows one that may have worked: only creates and notes could be there twice, and are looked for.

    Under a key that is spent for ever the same create again is the way to find out.
    """
    looks = action in (Action.CREATE, Action.NOTE) and key_rule is KeyRule.WHILE_OPEN
    return Phase.LOOK_UP if looks else first_phase(action, key_rule)


def backoff(attempt: int, jitter: float) -> timedelta:
    """Full jitter: anywhere up to 1 s after the first attempt, doubling to 5 min; jitter is 0.0 to 1.0."""
    ceiling = min(BACKOFF_MAX, BACKOFF_FIRST * (1 << min(attempt - 1, 16)))
    return ceiling * jitter


def _delay(reason: Reason, attempt: int, jitter: float) -> timedelta:
    """How long a delivery waits by itself after an attempt that failed for this reason."""
    if reason in LANE_PARKS_FOR:
        return timedelta(0)
    if reason is Reason.FORBIDDEN:  # one team's service may be forbidden, and nobody else is to wait behind it
        return min(FORBIDDEN_AGAIN_MAX, FORBIDDEN_AGAIN_FIRST * (1 << min(attempt - 1, 8)))
    return backoff(attempt, jitter)


def next_step(
    result: AttemptResult, *, action: Action, attempt: int, phase: Phase, key_rule: KeyRule, jitter: float
) -> NextStep:
    """Decide what follows attempt number `attempt` (1 for the first); jitter is 0.0 to 1.0, drawn by the caller.

    Waiting for the lane (rate limits, a refused key) is the lane's business: the delivery itself stays due at once.
    """
    look_up = Phase.LOOK_UP if key_rule is KeyRule.WHILE_OPEN else Phase.SEND
    match result:
        case Delivered(reference=reference, adopted=adopted):
            return Done(reference=reference, adopted=adopted)
        case TransientFailure(reason=reason):
            delay = _delay(reason, attempt, jitter)
            sent = phase is Phase.SEND and action is not Action.CREATE and reason in MAY_HAVE_WORKED
            return RetryIn(delay=delay, phase=phase, reason=reason, sent=sent)
        case UnknownOutcome(reason=reason):
            return RetryIn(delay=backoff(attempt, jitter), phase=look_up, reason=reason, sent=True)
        case KeyIsOpen():
            delay = timedelta(0) if attempt < LOOK_UP_PATIENCE else backoff(attempt, jitter)
            return RetryIn(delay=delay, phase=look_up, reason=Reason.KEY_OPEN, sent=True)
        case NothingFound():
            delay = timedelta(0) if attempt < LOOK_UP_PATIENCE else backoff(attempt, jitter)
            return RetryIn(delay=delay, phase=Phase.SEND, reason=Reason.NOTHING_FOUND, sent=True)
        case KeySpent():
            return NextKey()
        case PermanentFailure(reason=reason) if (
            reason in PLAIN_AFTER and action is Action.CREATE and phase is Phase.SEND
        ):
            return SendPlain(refusal=result)
        case PermanentFailure(reason=reason) if (
            reason is not Reason.NOT_BUILT and action is Action.CREATE and phase is Phase.LOOK_UP
        ):
            # The question was refused, maybe by a proxy or a load balancer that knows nothing of incidents, and the
            # create may never have landed: it is repeated under its key, which makes that safe.
            return RetryIn(delay=backoff(attempt, jitter), phase=Phase.SEND, reason=reason, sent=True)
        case PermanentFailure(reason=reason) if (
            reason in LOOK_AFTER and action is Action.RESOLVE and phase is Phase.SEND and key_rule is KeyRule.FOR_EVER
        ):
            return RetryIn(delay=timedelta(0), phase=Phase.LOOK_UP, reason=reason, sent=False)
        case PermanentFailure(reason=reason):
            return GiveUp(reason=reason)
    assert_never(result)
