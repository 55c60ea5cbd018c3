"""Sparklines of a day: inline SVG paths from numbers per hour. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 240, 36
EMPTY = (0,) * 24
LINES = ("received", "created", "folded", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """Several lines over the same 24 hours, on one scale each: `paths` by the name of the line."""

    paths: Mapping[str, str]
    label: str  # the same for those who do not see it


def spark_of(numbers: Mapping[str, Sequence[int]], *, is_whole: bool = True) -> Spark:
    """The lines of LINES that there are numbers for; those with nothing but zeros are said and not drawn."""
    told = [f"{sum(numbers.get(name, EMPTY)):,} {name}" for name in LINES if name in numbers]
    paths = {name: path(numbers[name]) for name in LINES if any(numbers.get(name, EMPTY))}
    counting = "" if is_whole else "; older hours are still being counted"
    return Spark(paths=paths, label=f"The last 24 hours: {', '.join(told)}{counting}")


def path(numbers: Sequence[int]) -> str:
    """A line from the oldest hour to the newest, its highest at the top."""
    top = max(numbers, default=0) or 1
    step = WIDTH / max(1, len(numbers) - 1)
    points = (
        f"{index * step:.0f} {HEIGHT - 2 - number / top * (HEIGHT - 5):.1f}" for index, number in enumerate(numbers)
    )
    return "M" + "L".join(points)
