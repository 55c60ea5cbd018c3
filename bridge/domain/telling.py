"""What an open incident still has to be told: the problems that joined it, and that it goes on and off.

In: what was told so far, and what happens. Out: what is to be told, and the text of one bounded note that says all of
it. One note waits at a time; its text is made when it is sent, so that a storm of 10,000 joins costs one note.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

FLAP_WINDOW = timedelta(minutes=30)  # what is counted together: "flapped 7 times in 30 min"
FLAPS_TOLD_FROM = 3  # then at twice as many, and so on: a few notes a window, however fast it goes
FIRST_NOTE_AFTER = timedelta(seconds=10)  # a storm's problems join within seconds: one note for them
NOTE_EVERY = timedelta(seconds=60)
NAMED_MAX = 10  # problems that one note names; the others are counted
TITLE_MAX_CHARS = 100  # of each of them
OVER = "every problem of this incident is over; it is left open, as its rule says"
ACKNOWLEDGED = "somebody acknowledged it at the sender"
SUMMARY_MAX_CHARS = 65_536  # of a summary that notes are added to; a longer one gets none


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What an incident's notes said, and have to say."""

    note_waits: bool = False  # a note is queued whose text is not made yet
    noted_at: datetime | None = None  # what joined before is told
    unsaid: bool = False  # a note was cancelled because a resolve was due
    has_updates: bool = False  # an update was queued
    flaps: int = 0  # times its problems fired again after they were over, in one window
    flapping_since: datetime | None = None  # the first of them
    flaps_told: int = 0
    over: bool = False  # its last problem is over and the rule wants that said, not done
    acknowledged: bool = False  # somebody took it at the sender, and the rule wants that said

    def next_episode(self) -> "Telling":
        """For the incident that follows: nothing is told there yet, and it goes on flapping."""
        nothing = replace(self, note_waits=False, noted_at=None, unsaid=False, has_updates=False)
        return replace(nothing, over=False, acknowledged=False)


NOTHING_TOLD = Telling()


def flapped(telling: Telling, now: datetime) -> Telling:
    """A problem of the incident, or the one before it, was over and fires again."""
    since = telling.flapping_since
    if since is None or not timedelta(0) <= now - since <= FLAP_WINDOW:
        return replace(telling, flaps=1, flapping_since=now, flaps_told=0)
    return replace(telling, flaps=telling.flaps + 1)


def flapping_is_due(telling: Telling) -> bool:
    """Whether somebody has to hear of the flapping now: the third time, the sixth, the twelfth, ..."""
    return telling.flaps >= max(FLAPS_TOLD_FROM, 2 * telling.flaps_told)


def note_due_at(telling: Telling, now: datetime) -> datetime:
    """When a note that is queued now may go out."""
    last = telling.noted_at
    soon = now + FIRST_NOTE_AFTER
    return soon if last is None or last > now else max(soon, last + NOTE_EVERY)


def noted(telling: Telling, now: datetime) -> Telling:
    """The text of the waiting note is made: everything up to now is told by it."""
    told = replace(telling, over=False, acknowledged=False)
    return replace(told, note_waits=False, noted_at=now, unsaid=False, flaps_told=telling.flaps)


def silenced(telling: Telling) -> Telling:
    """A resolve is due: the waiting note is cancelled. What it was to say is said if the incident goes on after all."""
    return replace(telling, note_waits=False, unsaid=telling.unsaid or telling.note_waits)


def taken_back(telling: Telling, queued_at: datetime) -> Telling:
    """A note queued then was not sent, though its text was made: that is still to be said if the incident goes on."""
    if telling.noted_at is None or telling.noted_at < queued_at:
        return telling  # it is a person's, or a list of what folded: others came between
    return replace(telling, unsaid=True, noted_at=queued_at - timedelta(microseconds=1))


def joined_text(titles: Sequence[str], number: int) -> str:
    """The problems that joined: those of these titles, of so many altogether."""
    shown = [_short(title) for title in titles[:NAMED_MAX]]
    more = f" and {number - len(shown)} more" if number > len(shown) else ""
    return f"{number} more {'problem' if number == 1 else 'problems'} joined: {', '.join(shown)}{more}"


def flapping_text(telling: Telling, now: datetime) -> str:
    """How often, and within what time."""
    minutes = max(1, -((telling.flapping_since or now) - now) // timedelta(minutes=1))
    return f"flapped {telling.flaps} times in {minutes} min"


def note_text(
    telling: Telling, titles: Sequence[str], number: int, now: datetime, *, when_over: str | None = None
) -> str | None:
    """The note that is due: `number` problems joined, these among them. None when there is nothing to tell.

    `when_over`: what the rule wants said when the last problem is over, in its own words.
    """
    sentences = [joined_text(titles, number)] if number else []
    if telling.flaps >= FLAPS_TOLD_FROM and telling.flaps > telling.flaps_told:
        sentences.append(flapping_text(telling, now))
    if telling.acknowledged:
        sentences.append(ACKNOWLEDGED)
    if telling.over:
        sentences.append(when_over or OVER)
    return "\n".join(sentences) or None


def _short(title: str) -> str:
    line = " ".join(title.split())
    return line if len(line) <= TITLE_MAX_CHARS else line[: TITLE_MAX_CHARS - 1] + "…"
