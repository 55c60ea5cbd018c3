"""Late, repeated and reordered reports: whether a report still says something, after those that were applied.

In: a report and the last applied one of the same problem. Out: nothing, or the sentence why it changes nothing. Senders
repeat what timed out and deliver in parallel, so that an old "firing" may come after its "resolved" (DESIGN section 5).

An episode that is an instant says when it began, and there two ids alone do not make two episodes: two watchers of one
outage, or one that restarted in it, differ on when it began. A recovery is then an earlier episode's only when it was
over before the one that goes on began.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.alert import Alert, Status

AHEAD_MAX = timedelta(hours=1)  # a report from further in the future has no time: else its sender's clock silences it
OLD_FROM = timedelta(minutes=10)  # no parallel delivery holds a report up for longer; then its age is told as well


@dataclass(frozen=True, slots=True, kw_only=True)
class LastReport:
    """What the last applied report of a problem said."""

    status: Status
    episode: str | None
    reported_at: datetime | None


def last_report(alert: Alert, now: datetime) -> LastReport:
    """What is kept of a report that is applied at `now`."""
    at = alert.reported_at
    return LastReport(
        status=alert.status,
        episode=alert.episode,
        reported_at=None if at is None or at > now + AHEAD_MAX else at,
    )


def why_ignored(alert: Alert, last: LastReport | None, now: datetime) -> str | None:
    """Why a report changes nothing: it is older than the last one, or the end of another episode. None: it counts.

    Where a time is missing, arrival order decides.
    """
    if last is None:
        return None
    report = last_report(alert, now)
    if report.reported_at is not None and last.reported_at is not None and report.reported_at < last.reported_at:
        said, newer = report.reported_at.isoformat(), last.reported_at.isoformat()
        why = f"stale: reported at {said}, and a newer report, {last.status} at {newer}, came before it"
        return why if now - report.reported_at < OLD_FROM else f"{why}; {_old(now - report.reported_at)}"
    if alert.status is not Status.RESOLVED or last.status is Status.RESOLVED or last.episode is None:
        return None
    began_at = _began_at(last.episode, now)
    if began_at is not None and alert.ends_at is not None and alert.episode != last.episode:
        if alert.ends_at >= began_at:
            return None
        return f"other_episode: it ended at {alert.ends_at.isoformat()}, before {last.episode}, when this one began"
    if alert.episode is not None and alert.episode != last.episode:
        return f"other_episode: it ends episode {alert.episode}, and {last.episode} is the one that goes on"
    return None


def _old(age: timedelta) -> str:
    minutes = age // timedelta(minutes=1)
    return f"it was {minutes} min old when it came in: held up on its way, or its sender's clock is behind"


def _began_at(episode: str, now: datetime) -> datetime | None:
    """When an episode that is an instant began. None for any other id, and for one that a clock far ahead gave."""
    try:
        began_at = datetime.fromisoformat(episode)
    except ValueError:
        return None
    return began_at if began_at.tzinfo is not None and began_at <= now + AHEAD_MAX else None
