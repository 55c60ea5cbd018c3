"""Silences: for a while, alerts that match open nothing. Each has an end, an author and a reason.

A silence hides no critical unless it was asked to. What it hides is on record with its id and is not lost: once it is
over, what nothing was said of since is received again, and pages. What is over is always passed on.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.domain.alert import Severity

LENGTH_MAX = timedelta(days=30)
AHEAD_MAX = timedelta(days=365)  # how far ahead one may begin
AUTHOR_MAX_CHARS = 100
REASON_MAX_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """One silence."""

    id: str
    match: Mapping[str, Any]  # conditions as a rule's `match` has them; never empty
    starts_at: datetime
    ends_at: datetime
    author: str
    reason: str
    criticals: bool = False  # whether it hides criticals, too

    def hides(self, severity: Severity, now: datetime) -> bool:
        """Whether it hides, now, an incident of this severity that it matches."""
        return self.starts_at <= now < self.ends_at and (self.criticals or severity is not Severity.CRITICAL)

    @property
    def sentence(self) -> str:
        """What stands in the record of an alert it hid."""
        until = self.ends_at.isoformat(timespec="seconds").replace("+00:00", "Z")
        return f"silence {self.id} of {self.author} until {until}: {self.reason}"


def hiding(
    silences: Iterable[Silence], severity: Severity, now: datetime, ended: Collection[str] = ()
) -> Silence | None:
    """The first of these silences that hides an incident of this severity now; `ended` are over before their time."""
    return next((one for one in silences if one.id not in ended and one.hides(severity, now)), None)


def wrongs(silence: Silence, now: datetime) -> tuple[str, ...]:
    """Sentences on what keeps a new silence from being one, its matchers aside; empty when nothing does."""
    found = []
    if not silence.match:
        found.append("'match' has no condition: that would hide everything; name at least one, as in labels.env: dev")
    if not silence.reason.strip():
        found.append("'reason' is missing: say why nobody is to be paged, for whoever finds it silent")
    if not silence.author.strip():
        found.append("'author' is missing: say who answers for it")
    lengths = (("author", silence.author, AUTHOR_MAX_CHARS), ("reason", silence.reason, REASON_MAX_CHARS))
    for name, text, most in lengths:
        if len(text) > most:
            found.append(f"'{name}' has {len(text)} characters, at most {most} are kept")
    if silence.ends_at <= max(now, silence.starts_at):
        found.append("'ends_at' is over already: a silence ends in the future, after it begins")
    elif silence.ends_at - max(now, silence.starts_at) > LENGTH_MAX:
        found.append(f"'ends_at' is too far ahead: a silence lasts {LENGTH_MAX.days} days at most; add another then")
    if silence.starts_at - now > AHEAD_MAX:
        found.append(f"'starts_at' is too far ahead: at most {AHEAD_MAX.days} days")
    return tuple(found)
