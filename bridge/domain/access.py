"""Who may do what, who did what, and how often somebody may guess a password. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

GUESSES_AT_ONCE = 10
GUESS_EVERY = timedelta(seconds=30)  # after those; so a closed login opens for one more guess every 30 s


class Role(StrEnum):
    """What somebody may do; each may what the ones before it may."""

    VIEW = "view"  # read
    OPERATE = "operate"  # pause, replay, discard, resolve, silence
    ADMIN = "admin"  # reload

    def may(self, needed: "Role") -> bool:
        """Whether this role is enough where `needed` is asked for."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(needed)


class How(StrEnum):
    """How somebody proved who they are."""

    SESSION = "session"
    PASSWORD = "password"  # noqa: S105 - a word for people; the name and password came with the request
    TOKEN = "token"  # noqa: S105 - a word for people
    PROXY = "proxy"
    LOOPBACK = "loopback"
    COMMAND = "command line"
    HOST = "host"  # files that changed there, or a signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Somebody who asks: a user's or token's name, what they may, and where they are."""

    name: str
    role: Role
    how: How
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One line of the audit: who did what to what. `detail` holds no secret."""

    who: Who
    action: str
    what: str = ""  # a word and an id: `delivery 01…`
    detail: Mapping[str, object] = field(default_factory=dict)
    is_claimed: bool = False  # nobody proved to be `who`, so no role is theirs: a login that failed


def may_guess(spent_until: datetime | None, now: datetime) -> bool:
    """Whether one more guess is allowed; `spent_until` is what `guessed` said last."""
    return spent_until is None or sane(spent_until, now) <= now + GUESS_EVERY * (GUESSES_AT_ONCE - 1)


def guessed(spent_until: datetime | None, now: datetime) -> datetime:
    """What one guess leaves behind: the instant at which all of them are free again."""
    before = now if spent_until is None else max(now, sane(spent_until, now))
    return before + GUESS_EVERY


def sane(spent_until: datetime, now: datetime) -> datetime:
    """An instant further ahead than guesses reach is from before a clock jumped back."""
    return min(spent_until, now + GUESS_EVERY * GUESSES_AT_ONCE)
