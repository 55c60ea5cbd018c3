"""Lanes: who goes next, when the next slot is due, and what an answer does to the pace.

In: the stored LaneState, the account's Pace and the ledger's `now`. Out: the next LaneState, or a Slot.
GCRA per class: `tat` (theoretical arrival time) is the instant at which the bucket is full again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from bridge.domain.alert import Severity
from bridge.domain.delivery import (
    AttemptResult,
    Delivered,
    KeyIsOpen,
    KeySpent,
    LaneClass,
    NothingFound,
    PermanentFailure,
    Reason,
    TransientFailure,
    UnknownOutcome,
)

CRITICAL_FIRST = 1 << 52  # microseconds, 142 years: sorts every critical before everything else
REFUSED_LAST = 1 << 54  # microseconds: sorts what was refused behind everything else, critical or not
UPDATE_BURST = 10
PARK_MIN = timedelta(seconds=1)
PARK_MAX = timedelta(minutes=15)
PARK_BARE_CREATE = timedelta(seconds=60)  # a 429 on create that names no time (UPSTREAM A5, B4)
PARK_BARE_UPDATE = timedelta(seconds=5)
PARK_REFUSED = timedelta(seconds=60)  # 401 and 403: probed once a minute
SLOW_RECOVERY = timedelta(minutes=10)  # a halved rate comes back linearly over this
SLOWEST = 1 / 16
FAILING_AFTER = 3  # failures in a row
PROBE_FIRST = timedelta(seconds=10)
PROBE_MAX = timedelta(seconds=60)
LEASE = timedelta(seconds=30)
SEND_DEADLINE = timedelta(seconds=10)
GONE_AFTER = SEND_DEADLINE + timedelta(seconds=1)  # of a claim: what a holder that died meanwhile had sent has ended by
# then at the upstream as well, as far as a call that nobody waits for any more ever has
ARMED = timedelta(seconds=10)  # a job that nobody began within it counts as lost, and the lane gets another: jobs hold
# nothing, so one too many is a look at the lane, while one too few would be a page that waits for a whole lease
JUMP_NOTICED = timedelta(seconds=1)  # transactions that meet differ by milliseconds in what they take for now


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What an account allows: settings, never changed by what happens."""

    interval: timedelta  # between two creates
    burst: int
    reserve: int  # the last tokens of the create bucket, for criticals only
    update_interval: timedelta
    promote_after: timedelta
    give_up_after: timedelta
    max_wait: timedelta | None = None  # creates that would wait longer than this fold; None: they never do


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """One lane as the ledger keeps it."""

    name: str
    create_tat: datetime
    update_tat: datetime
    create_parked_until: datetime | None = None
    create_parked_why: Reason | None = None
    update_parked_until: datetime | None = None
    update_parked_why: Reason | None = None
    slowed_to: float = 1.0  # share of the rate at `slowed_at`
    slowed_at: datetime | None = None
    failures: int = 0  # calls in a row that brought no usable answer
    probe_at: datetime | None = None  # the next probe, once failures reach FAILING_AFTER
    paused_at: datetime | None = None  # by an operator
    armed_until: datetime | None = None  # the clock does not enqueue it again before
    behind_since: datetime | None = None  # its creates would wait too long, and fold: domain.folding


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Whether a call of one class may start now. `critical`: only for a critical create."""

    anyone: bool
    critical: bool


NO_SLOT = Slot(anyone=False, critical=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one more create would find in its lane: the state, and how many go before it, by its severity."""

    state: LaneState
    ahead: Mapping[Severity, int]


def order_key(severity: Severity, created_at_us: int, promote_after: timedelta) -> int:
    """Where a create stands in its lane; smaller goes first. `created_at_us`: unix microseconds.

    Criticals come before everything, oldest first; the rest age: an error is a `promote_after` ahead of a warning.
    """
    match severity:
        case Severity.CRITICAL:
            return created_at_us - CRITICAL_FIRST
        case Severity.ERROR | Severity.WARNING | Severity.INFO:
            step_us = promote_after // timedelta(microseconds=1)
            return created_at_us + (severity.rank - Severity.ERROR.rank) * step_us
    assert_never(severity)


def is_critical(key: int) -> bool:
    """Whether an order key is a critical create's."""
    return key < 0


def behind_the_others(key: int) -> int:
    """The order key of what was refused to it alone: behind everything that was not, and there in its own order.

    Were it to keep its place, a few of them would be enough for one to be due always, and nobody else would ever go.
    """
    return key if _is_behind(key) else key + REFUSED_LAST


def in_its_place(key: int) -> int:
    """The order key that it had before it was put behind the others."""
    return key - REFUSED_LAST if _is_behind(key) else key


def _is_behind(key: int) -> bool:
    return key >= REFUSED_LAST // 2


def reserve_of(burst: int, wanted: int | None) -> int:
    """Tokens kept for criticals: a quarter of the burst and at least 1, but never all of them."""
    return min(burst - 1, max(1, burst // 4) if wanted is None else wanted)


def speed(state: LaneState, now: datetime) -> float:
    """The share of the account's rate in force: 1.0, or less for a while after a 429."""
    if state.slowed_at is None:
        return 1.0
    recovered = max(0.0, (now - state.slowed_at) / SLOW_RECOVERY)
    return min(1.0, state.slowed_to + (1.0 - state.slowed_to) * recovered)


def interval(pace: Pace, state: LaneState, of: LaneClass, now: datetime) -> timedelta:
    """Time between two calls of a class at the rate in force."""
    return pace.update_interval if of is LaneClass.UPDATE else pace.interval / speed(state, now)


def tokens(pace: Pace, state: LaneState, of: LaneClass, now: datetime) -> float:
    """Calls of a class that could start at once, parking and reserve aside."""
    burst, tat = _bucket(pace, state, of)
    return burst - max(0.0, (tat - now) / interval(pace, state, of, now))


def slot(pace: Pace, state: LaneState, of: LaneClass, now: datetime, *, in_flight: int) -> Slot:
    """Whether a call of this class may start now; `in_flight` counts the lane's calls of both classes under way."""
    if state.paused_at is not None or is_parked(state, of, now) or not _may_probe(state, now, in_flight):
        return NO_SLOT
    available = tokens(pace, state, of, now) + 1e-9
    if of is LaneClass.UPDATE:
        return Slot(anyone=available >= 1, critical=available >= 1)
    return Slot(anyone=available >= 1 + pace.reserve, critical=available >= 1)


def slot_at(pace: Pace, state: LaneState, of: LaneClass, now: datetime, *, critical: bool) -> datetime:
    """When the next call of a class may start, as far as one can tell now (a pause aside)."""
    burst, tat = _bucket(pace, state, of)
    needed = 1 if critical or of is LaneClass.UPDATE else 1 + pace.reserve
    due = tat - interval(pace, state, of, now) * (burst - needed)
    parked = _parked_until(state, of)
    probe = state.probe_at if state.failures >= FAILING_AFTER else None
    return max(now, due, *(instant for instant in (parked, probe) if instant is not None))


def starts_at(pace: Pace, state: LaneState, of: LaneClass, now: datetime, *, critical: bool, ahead: int) -> datetime:
    """When a call of a class may start with `ahead` others before it, as far as one can tell now (a pause aside)."""
    first = slot_at(pace, state, of, now, critical=critical)
    gap = pace.update_interval if of is LaneClass.UPDATE else pace.interval
    free = max(0.0, tokens(pace, state, of, now))
    behind = max(0.0, ahead - max(0.0, free - 1)) if first <= now else float(ahead)
    return first + gap * behind


def is_parked(state: LaneState, of: LaneClass, now: datetime) -> bool:
    """Whether the upstream asked this class to wait."""
    until = _parked_until(state, of)
    return until is not None and until > now


def is_failing(state: LaneState) -> bool:
    """Whether the upstream brought no usable answer FAILING_AFTER times in a row."""
    return state.failures >= FAILING_AFTER


def offered(state: LaneState) -> tuple[LaneClass, ...]:
    """The classes in the order in which a claim looks for something due: creates first.

    Of a failing lane's probes every other one is for what waits behind its creates. Where these arrive and only their
    answers are lost, a look-up finds them and mends the lane; else each probe would send one more that nobody confirms.
    """
    looks_first = is_failing(state) and state.failures % 2 == 1
    return (LaneClass.UPDATE, LaneClass.CREATE) if looks_first else (LaneClass.CREATE, LaneClass.UPDATE)


def take(pace: Pace, state: LaneState, of: LaneClass, now: datetime) -> LaneState:
    """The lane after a call has started."""
    step = interval(pace, state, of, now)
    probe_at = now + _probe_gap(state.failures) if is_failing(state) else state.probe_at
    if of is LaneClass.UPDATE:
        return replace(state, update_tat=max(state.update_tat, now) + step, probe_at=probe_at)
    return replace(state, create_tat=max(state.create_tat, now) + step, probe_at=probe_at)


def after(state: LaneState, of: LaneClass, result: AttemptResult, now: datetime) -> LaneState:
    """The lane after an answer: parked by a 429 or a refusal, failing or mended."""
    match result:
        case TransientFailure(reason=Reason.RATE_LIMITED, retry_after_s=wait_s):
            bare = PARK_BARE_CREATE if of is LaneClass.CREATE else PARK_BARE_UPDATE
            wait = bare if wait_s is None else timedelta(seconds=min(wait_s, PARK_MAX.total_seconds()))
            slowed = replace(state, slowed_to=max(SLOWEST, speed(state, now) / 2), slowed_at=now)
            pressed = slowed if of is LaneClass.CREATE else state
            return _park(_mended(pressed), of, now + max(PARK_MIN, wait), Reason.RATE_LIMITED)
        case TransientFailure(reason=Reason.AUTH):
            until = now + PARK_REFUSED
            both = _park(_mended(state), LaneClass.CREATE, until, Reason.AUTH)
            return _park(both, LaneClass.UPDATE, until, Reason.AUTH)
        case TransientFailure(reason=Reason.FORBIDDEN):
            return _park(_mended(state), of, now + PARK_REFUSED, Reason.FORBIDDEN)
        case TransientFailure(reason=Reason.NOT_BUILT) | PermanentFailure(reason=Reason.NOT_BUILT):
            return state  # nothing was asked of the upstream
        case TransientFailure() | UnknownOutcome():
            failures = state.failures + 1
            probe_at = now + _probe_gap(failures) if failures >= FAILING_AFTER else None
            return replace(state, failures=failures, probe_at=probe_at)
        case Delivered(exhausted_s=float(wait_s)):
            wait = timedelta(seconds=min(wait_s, PARK_MAX.total_seconds()))
            return _park(_mended(state), of, now + max(PARK_MIN, wait), Reason.EXHAUSTED)
        case Delivered() | KeyIsOpen() | KeySpent() | NothingFound() | PermanentFailure():
            return _mended(state)
    assert_never(result)


def sane(pace: Pace, state: LaneState, now: datetime) -> LaneState:
    """The lane with no stored instant further ahead than its maximum, so that a clock jump cannot freeze it.

    A wait that is over is forgotten: it would lie ahead again where the clock is set back.
    """
    bounded = _bounded(pace, state, now)
    return replace(
        bounded,
        create_parked_until=_unless_over(bounded.create_parked_until, now),
        update_parked_until=_unless_over(bounded.update_parked_until, now),
    )


def _bounded(pace: Pace, state: LaneState, now: datetime) -> LaneState:
    full = pace.burst + 1
    return replace(
        state,
        create_tat=min(state.create_tat, now + interval(pace, state, LaneClass.CREATE, now) * full),
        update_tat=min(state.update_tat, now + pace.update_interval * (UPDATE_BURST + 1)),
        create_parked_until=_at_most(state.create_parked_until, now + _park_max(state.create_parked_why)),
        update_parked_until=_at_most(state.update_parked_until, now + _park_max(state.update_parked_why)),
        probe_at=_at_most(state.probe_at, now + PROBE_MAX),
        armed_until=_at_most(state.armed_until, now + ARMED),
        slowed_at=_at_most(state.slowed_at, now),
        behind_since=_at_most(state.behind_since, now),
    )


def is_ahead(pace: Pace, state: LaneState, now: datetime) -> bool:
    """Whether a stored instant is further ahead than any answer put it: the clock jumped back, or the pace changed.

    `sane` alone does not end such a wait, for what it allows moves along with `now`: it has to be written down. A full
    bucket's instant may lie one slot further ahead, because a rate that comes back shortens the slots all the time.
    """
    allowed = _bounded(pace, state, now + JUMP_NOTICED)
    slack = interval(pace, state, LaneClass.CREATE, now)
    return replace(allowed, create_tat=state.create_tat) != state or state.create_tat > allowed.create_tat + slack


def failing_share(workers: int) -> int:
    """How many calls to failing upstreams may be under way at once: half of the workers, but one at least."""
    return max(1, workers // 2)


def parked_sentence(state: LaneState, now: datetime) -> str | None:
    """Why the lane waits, for people; None when nothing but its rate holds it."""
    if state.paused_at is not None:
        return "paused by an operator; resume it to go on"
    for of in LaneClass:
        until = _parked_until(state, of)
        why = state.create_parked_why if of is LaneClass.CREATE else state.update_parked_why
        if until is None or until <= now or why is None:
            continue
        seconds = max(1, round((until - now).total_seconds()))
        return f"{of.value}s wait {seconds} s: {_WHY[why]}"
    if is_failing(state):
        return f"{state.failures} calls in a row brought no usable answer; probing one call at a time"
    return None


def held_by(state: LaneState, now: datetime) -> str | None:
    """What parked_sentence speaks of, as a word: paused, failing, or the reason of a parked class."""
    if state.paused_at is not None:
        return "paused"
    for of in LaneClass:
        until = _parked_until(state, of)
        why = state.create_parked_why if of is LaneClass.CREATE else state.update_parked_why
        if until is not None and until > now and why is not None:
            return why.value
    return "failing" if is_failing(state) else None


_WHY = {
    Reason.RATE_LIMITED: "the upstream answered 429, too many calls on this account",
    Reason.EXHAUSTED: "the upstream said that nothing is left of this account's allowance",
    Reason.AUTH: "the upstream refuses the key (401); check token and region, it is probed every minute",
    Reason.FORBIDDEN: "the upstream forbids this action to the key (403); check its permissions",
}


def _bucket(pace: Pace, state: LaneState, of: LaneClass) -> tuple[int, datetime]:
    return (UPDATE_BURST, state.update_tat) if of is LaneClass.UPDATE else (pace.burst, state.create_tat)


def _parked_until(state: LaneState, of: LaneClass) -> datetime | None:
    return state.create_parked_until if of is LaneClass.CREATE else state.update_parked_until


def _park(state: LaneState, of: LaneClass, until: datetime, why: Reason) -> LaneState:
    held = _parked_until(state, of)
    if held is not None and held >= until:
        return state  # a longer wait the upstream asked for earlier still holds
    if of is LaneClass.CREATE:
        return replace(state, create_parked_until=until, create_parked_why=why)
    return replace(state, update_parked_until=until, update_parked_why=why)


def _mended(state: LaneState) -> LaneState:
    return replace(state, failures=0, probe_at=None)


def _may_probe(state: LaneState, now: datetime, in_flight: int) -> bool:
    if not is_failing(state):
        return True
    return in_flight == 0 and (state.probe_at is None or state.probe_at <= now)


def _probe_gap(failures: int) -> timedelta:
    return min(PROBE_MAX, PROBE_FIRST * (1 << min(max(0, failures - FAILING_AFTER), 8)))


def _park_max(why: Reason | None) -> timedelta:
    return PARK_REFUSED if why in (Reason.AUTH, Reason.FORBIDDEN) else PARK_MAX


def _unless_over(instant: datetime | None, now: datetime) -> datetime | None:
    return None if instant is None or instant <= now else instant


def _at_most(instant: datetime | None, limit: datetime) -> datetime | None:
    return None if instant is None else min(instant, limit)
