"""Tables that line up, on a terminal and in a pipe."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

from bridge.domain.errors import Problem

PIPE_WIDTH = 240
GAP = 2  # between two columns: a space of each, and one counts at either end
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")  # DEL, C1 and what turns the line
FREE_TEXT = ("title", "detail", "parked", "match", "why")  # what gives way when a line is too long: never an id
FREE_TEXT_MIN = 24  # what is left of such a column however narrow the terminal is


def shown(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    """Print rows under their headings; `columns` maps a heading to its key. `empty` is said when there are none.

    A line that is still too long when free text has given way is longer than the terminal: an id is there to be copied.
    """
    if not rows:
        click.echo(empty, err=True)
        return
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = [[_cell(row.get(key)) for key in columns.values()] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    least = GAP * len(columns)
    for (heading, key), cells in zip(columns.items(), zip(*lines, strict=True), strict=True):
        gives = key in FREE_TEXT
        widest = max(map(cell_len, (heading, *cells)))
        at_least = min(widest, FREE_TEXT_MIN) if gives else widest
        table.add_column(heading, overflow="ellipsis", no_wrap=not gives, min_width=at_least)
        least += at_least
    for line in lines:
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in line))
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = max(least, console.width if console.is_terminal else PIPE_WIDTH)
    with console.capture() as captured:
        console.print(table)
    for text in captured.get().splitlines():
        click.echo(text.rstrip())


def printed(content: Any) -> None:
    """Print JSON for a script. What a terminal would obey is escaped: texts are by strangers."""
    text = json.dumps(content, ensure_ascii=False, indent=2)
    click.echo(_OBEYED.sub(lambda found: f"\\u{ord(found.group()):04x}", text))


def harmless(text: str) -> str:
    """A text for a terminal: nothing that a stranger wrote into it moves the cursor. Ends of lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def age(seconds: float | None) -> str:
    """Seconds as people say them: 4 s, 12 min, 3 h, 2 d."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (unit == "min" and seconds >= 100):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    text = str(value)
    return "".join(character if character.isprintable() else " " for character in text)


def problems_printed(problems: Sequence[Problem]) -> None:
    """Everything wrong or odd with the configuration, as JSON for a script."""
    wrong = sum(problem.grade == "error" for problem in problems)
    listed = [problem.as_json() for problem in problems]
    printed({"problems": listed, "errors": wrong, "warnings": len(listed) - wrong, "ok": not wrong})


def counted(number: int, one: str) -> str:
    """`1 alert`, `3,000 alerts`."""
    return f"{number:,} {one}{'s' * (number != 1)}"
