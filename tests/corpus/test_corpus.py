"""Bodies of real senders, each through its source and the real receiver: `pytest --corpus DIR`.

DIR has one folder per sender (`aws-sns` is posted to a source of type aws_sns, `misc` to one of type generic) and one
file per request: `<case>.json`, or `<case>.form` for any other body, with its headers in `<case>.headers.json`.
tests/golden/corpus/<folder>.json says what each body means; a body of a folder nobody wrote a table for must be
accepted and give an alert.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.ledger import Receipt
from bridge.sources import SOURCES
from tests.corpus.bodies import Body, bodies_in, tables_for
from tests.receiving import Desk


def _counted(receipt: Receipt) -> Receipt:
    """Without its delivery id: a folder may hold two bodies of one delivery, or many from one test tool."""
    return replace(receipt, event={**receipt.event, "delivery_key": None})


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    of_senders = [kind for kind, one in SOURCES.items() if "account" not in getattr(one, "settings", {})]
    kinds = {kind: {"type": kind, "auth": "none"} for kind in of_senders}
    with Desk(tmp_path_factory.mktemp("corpus"), kinds, noted=_counted) as opened:
        yield opened


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = metafunc.config.getoption("--corpus")
    corpus = None if folder is None else Path(folder).resolve()
    skip = pytest.mark.skip(reason="name a folder of real bodies: pytest --corpus DIR (tests/README.md)")
    if "body" in metafunc.fixturenames:
        bodies: list[Any] = [pytest.param(None, marks=skip, id="none")] if corpus is None else bodies_in(corpus)
        metafunc.parametrize("body", bodies, ids=None if corpus is None else str)
    if "corpus" in metafunc.fixturenames:
        metafunc.parametrize("corpus", [pytest.param(None, marks=skip)] if corpus is None else [corpus], ids=["dir"])


def test_a_body_is_accepted_and_ends_as_its_sender_means(body: Body, desk: Desk) -> None:
    assert body.kind in SOURCES, f"no source has type {body.kind}: rename the folder {body.folder}"
    answer = desk.post(body.kind, body.content, body.headers)
    assert answer.status_code == 202, f"{body}: {answer.status_code} {answer.get_data(as_text=True)}"
    event = desk.event(answer)
    found = [_meaning(item) for item in event["alerts"]]
    expected = tables_for(body.folder).get(body.path.name)
    if expected is None:
        assert any(one["status"] != "ignored" for one in found), f"{body} gives no alert, only {found}"
    else:
        assert found == [_wanted(row, one) for row, one in zip(expected, found, strict=False)] + expected[len(found) :]


def test_a_table_names_every_body_of_its_folder_and_nothing_else(corpus: Path) -> None:
    held: dict[str, set[str]] = {}
    for body in bodies_in(corpus):
        held.setdefault(body.folder, set()).add(body.path.name)
    named = {folder: set(tables_for(folder)) for folder in held}
    shared = {folder for folder in held if held[folder] & named[folder]}  # else: another's folder of the same name
    assert {folder: named[folder] for folder in shared} == {folder: held[folder] for folder in shared}


def _meaning(item: dict[str, Any]) -> dict[str, Any]:
    """What became of one reading, in the words of the tables."""
    if item["status"] is None:
        return {"status": "ignored", "reason": item["decisions"][0]["reason"]}
    return {name: item[name] for name in ("status", "severity", "fingerprint", "episode", "title")}


def _wanted(row: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """A row of a table; an ignored one need not repeat the reason."""
    if row == {"status": "ignored"} and found["status"] == "ignored":
        return found
    return row
