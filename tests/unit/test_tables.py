"""Tables for people: they line up, free text gives way to the terminal, and an id never does."""

import io
from contextlib import redirect_stdout

import pytest

from bridge.entrypoints.cli.tables import shown

EVENT, INCIDENT = "01M810NZFYFZN2DTDY1YR17VDA", "01M810NXCP69QNDF7N6H349C8T"
COLUMNS = {"EVENT": "id", "ALERT": "title", "INCIDENT": "incident"}
ROWS = (
    {"id": EVENT, "title": "Checkout answers 502 for everybody in every region", "incident": INCIDENT},
    {"id": EVENT, "title": "漢字かな交じり文", "incident": None},
)


class Terminal(io.StringIO):
    """What takes text and says that a person looks at it."""

    def isatty(self) -> bool:
        return True


def table(at: io.StringIO) -> list[str]:
    with redirect_stdout(at):
        shown(COLUMNS, ROWS, "nothing")
    return at.getvalue().splitlines()


@pytest.mark.parametrize("columns", ["20", "60", "80", "100"])
def test_on_a_narrow_terminal_an_id_is_whole_and_some_of_the_title_is_there(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    _, first, second = table(Terminal())
    assert first.startswith(f"{EVENT}  Checkout answers 502")
    assert first.endswith(f"  {INCIDENT}")
    assert second.endswith("  -")


def test_a_title_takes_what_the_line_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    assert len(table(Terminal())[1]) == 90
    monkeypatch.setenv("COLUMNS", "200")
    assert "everybody in every region  " in table(Terminal())[1]


def test_wide_letters_count_as_what_they_take_and_no_line_ends_in_spaces() -> None:
    heading, first, second = table(io.StringIO())
    assert first.index(INCIDENT) == heading.index("INCIDENT")
    assert second.index("-") == heading.index("INCIDENT") - len("漢字かな交じり文")  # two columns each
    assert [line.rstrip() for line in (heading, first, second)] == [heading, first, second]


def test_what_is_long_and_no_free_text_is_whole_in_a_pipe() -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        shown({"RULE": "rule", "ALERT": "title", "ID": "id"}, [{"rule": "r" * 300, "title": "t", "id": EVENT}], "")
    assert out.getvalue().splitlines()[1] == f"{'r' * 300}  t      {EVENT}"


def test_free_text_that_gave_way_says_so_at_the_end_of_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with redirect_stdout(at := Terminal()):
        shown({"ID": "id", "WHY": "why"}, [{"id": EVENT, "why": "deployed by hand, and again by hand"}], "")
    assert at.getvalue().splitlines()[1] == f"{EVENT}  deployed by hand, and aga…"
