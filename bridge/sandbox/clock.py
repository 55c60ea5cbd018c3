"""What time it is at the stand-ins: the machine's, moved for rule tests that play hours in a moment."""

from datetime import UTC, datetime, timedelta

_ahead = timedelta(0)


def set_ahead(by: timedelta) -> None:
    """From now on the stand-ins of this process are so far ahead of the machine."""
    global _ahead
    _ahead = by


def now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC) + _ahead
