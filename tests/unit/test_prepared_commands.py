"""A command line that a parent reads and its child runs."""

from pathlib import Path
from typing import Any

import click
import pytest

from bridge.entrypoints import cli
from bridge.entrypoints.cli import prepared


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["worker", "--nonsense"], "No such option"),
        (["wroker"], "No such command"),
        ([], "Commands:"),
    ],
)
def test_what_is_wrong_with_a_line_the_child_says(argv: list[str], said: str, capsys: Any) -> None:
    ready = prepared(argv)
    assert capsys.readouterr() == ("", "")
    assert ready() == 2
    shown = capsys.readouterr()
    assert said in shown.out + shown.err


def test_a_command_gets_its_options_and_what_its_parent_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    @click.command()
    @click.option("--number", type=int)
    def counting(number: int) -> int:
        seen.append((number, click.get_current_context().obj, click.get_current_context().command_path))
        return 3

    monkeypatch.setattr(cli.cli, "get_command", lambda _above, name: counting if name == "counting" else None)
    inherited = object()
    ready = prepared(["counting", "--number", "7"], inherited)
    assert seen == []
    assert ready() == 3
    assert seen == [(7, inherited, "incident-bridge counting")]


def test_a_configuration_with_problems_is_said_by_the_child(tmp_path: Path, capsys: Any) -> None:
    ready = prepared(["lanes", "--config", str(tmp_path / "bridge.yaml")])
    assert ready() == 1
    assert "bridge.yaml" in capsys.readouterr().err
