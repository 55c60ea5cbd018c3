"""When the bridge itself needs a person: the causes, each said once in fifteen minutes for as long as it holds.

In: what the ledger shows of accounts and processes. Out: Causes. A lane that waits for its rate, or after a 429,
is no cause; its oldest wait is, once it is long (DESIGN section 5).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bridge.domain.delivery import Reason
from bridge.domain.lane import LaneState, is_failing

EVERY = timedelta(minutes=15)  # one message per cause
AGAIN_AFTER = timedelta(minutes=1)  # when it could not be told
LONG_WAIT_TIMES = 5  # the account's max_wait
MAX_WAIT_UNKNOWN = timedelta(minutes=2)  # of an account that is not configured: what it is where nobody says otherwise
BEATS_WITHIN = timedelta(seconds=30)  # three heartbeats: whose last one is older has ended, or hangs
SILENT_AFTER = timedelta(seconds=60)  # six heartbeats

_NEEDS_A_PERSON = {
    Reason.AUTH: (
        "the upstream refuses the key of '{}' (401)",
        "give the account a valid token and restart",
    ),
    Reason.FORBIDDEN: ("the key of '{}' may not do this (403)", "give it the role or the abilities the call needs"),
}


class CauseKind(StrEnum):
    """What can be wrong."""

    LANE_PARKED = "lane_parked"
    UPSTREAM_DOWN = "upstream_down"
    CRITICAL_DEAD = "critical_dead"
    LONG_WAIT = "long_wait"
    NO_WORKER = "no_worker"
    NO_CLOCK = "no_clock"
    RELOAD_REFUSED = "reload_refused"


SILENCES = (CauseKind.NO_WORKER, CauseKind.NO_CLOCK)  # told by the age of heartbeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that is wrong: where, in a sentence, and what to do."""

    kind: CauseKind
    about: str  # the account; empty for the whole bridge
    sentence: str
    advice: str

    @property
    def key(self) -> str:
        """What it is known by while it lasts."""
        return f"{self.kind}:{self.about}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """One account as the ledger shows it."""

    name: str
    max_wait: timedelta
    lane: LaneState | None
    waits_since: datetime | None  # of the oldest page, a create or a re-opening
    critical_dead: int = 0  # letters, creates of critical incidents
    plan_b: str | None = None  # the account that gets its critical incidents meanwhile
    is_configured: bool = True  # bridge.yaml names it: else nobody sends what waits for it


def causes(
    accounts: Sequence[AccountView],
    last_beats: Mapping[str, datetime],
    now: datetime,
    refused: Sequence[str] = (),
) -> tuple[Cause, ...]:
    """Everything that needs a person now. `last_beats`: the newest heartbeat of each kind of process.

    `refused`: the problems for which the last reload of the rules was refused.
    """
    found = [_with_plan_b(cause, account) for account in accounts for cause in _of_account(account, now)]
    return (*found, *_silent(last_beats, now), *_of_reload(refused))


def _of_reload(refused: Sequence[str]) -> Iterator[Cause]:
    if refused:
        more = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
        sentence = f"changed rules are not in force, the last good ones are: {refused[0]}{more}"
        advice = "mend what 'incident-bridge check' and 'incident-bridge test' say, then run 'incident-bridge reload'"
        yield Cause(kind=CauseKind.RELOAD_REFUSED, about="", sentence=sentence, advice=advice)


def is_due(told_at: datetime | None, now: datetime) -> bool:
    """Whether a cause is to be told (again). A clock that jumped back silences nothing."""
    return told_at is None or told_at > now or told_at <= now - EVERY


def _of_account(account: AccountView, now: datetime) -> Iterator[Cause]:
    if account.lane is not None:
        yield from _of_lane(account.name, account.lane, now)
    if account.critical_dead:
        number = account.critical_dead
        many = "a critical page" if number == 1 else f"{number} critical pages"
        sentence = f"{many} for '{account.name}' could not be delivered and will not be tried again"
        advice = "read why with 'incident-bridge dead list', then replay or discard"
        yield Cause(kind=CauseKind.CRITICAL_DEAD, about=account.name, sentence=sentence, advice=advice)
    if account.waits_since is not None and now - account.waits_since > LONG_WAIT_TIMES * account.max_wait:
        minutes = int((now - account.waits_since) / timedelta(minutes=1))
        waited = f"{minutes} min" if minutes else "less than a minute, but far longer than max_wait"
        sentence = f"incidents for '{account.name}' have waited {waited}"
        advice = "see 'incident-bridge lanes' for why: a pause, a rate that is too low, a slow upstream"
        if not account.is_configured:
            sentence += ", and no account of that name is configured: nobody sends them"
            advice = (
                "write it into bridge.yaml again, or resolve or detach them on their pages; 'incident-bridge doctor' "
                "says more"
            )
        yield Cause(kind=CauseKind.LONG_WAIT, about=account.name, sentence=sentence, advice=advice)


def _with_plan_b(cause: Cause, account: AccountView) -> Cause:
    """The sentence with where critical incidents go meanwhile, so that its reader knows how bad it is."""
    if account.plan_b is None:
        return cause
    return replace(cause, sentence=f"{cause.sentence}; critical incidents go to '{account.plan_b}' as well")


def _of_lane(account: str, lane: LaneState, now: datetime) -> Iterator[Cause]:
    parks = ((lane.create_parked_until, lane.create_parked_why), (lane.update_parked_until, lane.update_parked_why))
    reasons = [why for until, why in parks if until is not None and until > now and why in _NEEDS_A_PERSON]
    if reasons and reasons[0] is not None:
        sentence, advice = _NEEDS_A_PERSON[reasons[0]]
        yield Cause(kind=CauseKind.LANE_PARKED, about=account, sentence=sentence.format(account), advice=advice)
    elif is_failing(lane):
        sentence = f"{lane.failures} calls in a row of '{account}' brought no usable answer"
        advice = "it is probed until it answers and nothing is lost; 'incident-bridge doctor' says what it answers"
        yield Cause(kind=CauseKind.UPSTREAM_DOWN, about=account, sentence=sentence, advice=advice)


def _silent(last_beats: Mapping[str, datetime], now: datetime) -> Iterator[Cause]:
    kinds = (
        ("worker", CauseKind.NO_WORKER, "nothing is delivered"),
        ("clock", CauseKind.NO_CLOCK, "retries stand still"),
    )
    for process, kind, so in kinds:
        last = last_beats.get(process)
        if last is None or abs(now - last) > SILENT_AFTER:
            sentence = f"no {process} is running: {so}"
            yield Cause(kind=kind, about="", sentence=sentence, advice=f"start 'incident-bridge {process}'")
