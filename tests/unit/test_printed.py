"""What commands print for scripts: JSON whose texts, which are by strangers, no terminal obeys."""

import json

import pytest

from bridge.entrypoints.cli.tables import printed


def test_no_text_is_an_order_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(map(chr, (*range(32), 0x7F, *range(0x80, 0xA0), 0x202E, 0x2028, 0x2066))) + "über"
    printed({"title": text})
    shown = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "über" in shown
    assert json.loads(shown) == {"title": text}
