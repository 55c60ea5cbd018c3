"""`names pull`, `names list` and what `check` proves with them, against the stand-ins."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.sandbox import SandboxServer
from tests.e2e.processes import write_configuration
from tests.e2e.test_commands import FINE, PROBLEMS, USAGE, Ran, run

pytestmark = pytest.mark.e2e


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configured bridge with a ledger, that does not run."""
    write_configuration(tmp_path)
    assert run(tmp_path, "db", "upgrade").code == FINE
    return tmp_path


def told(folder: Path, sandbox: SandboxServer, *words: str) -> Ran:
    return run(folder, *words, BRIDGE_SANDBOX_URL=sandbox.base_url)


def misnamed(folder: Path) -> None:
    rules = folder / "rules" / "rules.yaml"
    rules.write_text(rules.read_text().replace("Checkout API", "Chekout API"))


def test_names_come_into_the_ledger_and_the_lock_file(folder: Path, sandbox: SandboxServer) -> None:
    pulled = told(folder, sandbox, "names", "pull")
    assert pulled.code == FINE, pulled.err
    assert "pd: service: " in pulled.out
    assert pulled.out.endswith("names.lock.json\n")
    lock = json.loads((folder / "rules" / "names.lock.json").read_text())
    assert "Checkout API" in {entry["name"] for entry in lock["accounts"]["pd"]["service"]}
    rows: list[dict[str, Any]] = told(folder, sandbox, "names", "list", "--json").json
    assert all(row["entries"] is not None and row["age_s"] < 60 for row in rows)
    listed = told(folder, sandbox, "names", "list", "pd", "service")
    assert "Checkout API" in listed.out
    pulls = told(folder, sandbox, "audit", "--action", "pull", "--json").json["items"]
    assert {"account pd"} <= {deed["object"] for deed in pulls}
    again = (folder / "rules" / "names.lock.json").read_text()
    assert told(folder, sandbox, "names", "pull").code == FINE
    assert (folder / "rules" / "names.lock.json").read_text() == again


def test_check_finds_a_wrong_name_by_the_ledger_and_offline_by_the_lock(folder: Path, sandbox: SandboxServer) -> None:
    misnamed(folder)
    assert told(folder, sandbox, "check").code == FINE, "nothing is known of the upstream's names yet"
    assert told(folder, sandbox, "names", "pull", "pd").code == FINE
    for words, whence in ((("check",), "the ledger"), (("check", "--offline"), "names.lock.json")):
        ran = told(folder, sandbox, *words)
        assert ran.code == PROBLEMS
        assert "service 'Chekout API' does not exist at 'pd'; there: " in ran.err
        assert f"as {whence} has it" in ran.err
    found = told(folder, sandbox, "doctor").out
    assert re.search("PROBLEM +names: rules/rules.yaml:.* service 'Chekout API' does not exist at 'pd'", found)
    (folder / "rules" / "names.lock.json").unlink()
    ran = told(folder, sandbox, "check", "--offline")
    assert ran.code == FINE
    said = "^3 of 3 names .* could not be checked, for names.lock.json lacks .*names pull'$"
    assert re.search(said, ran.err, re.MULTILINE)


def test_a_list_that_does_not_come_keeps_what_was_known(folder: Path, sandbox: SandboxServer) -> None:
    assert told(folder, sandbox, "names", "pull").code == FINE
    before = (folder / "rules" / "names.lock.json").read_text()
    sandbox.stop()
    ran = told(folder, sandbox, "names", "pull", "pd")
    assert ran.code == PROBLEMS
    assert "pd: service: 127.0.0.1" in ran.err
    assert (folder / "rules" / "names.lock.json").read_text() == before


def test_an_account_that_is_not_there_is_said_with_those_that_are(folder: Path, sandbox: SandboxServer) -> None:
    ran = told(folder, sandbox, "names", "pull", "nobody")
    assert (ran.code, "there is no account 'nobody'; accounts: io, pd\n" in ran.err) == (USAGE, True)
    assert "names pull pd" in told(folder, sandbox, "names", "list", "pd", "service").err
    listed = told(folder, sandbox, "names", "list", "nobody")
    assert (listed.code, "there is no account 'nobody'; accounts: io, pd\n" in listed.err) == (USAGE, True)
    unknown = told(folder, sandbox, "names", "list", "pd", "nope")
    assert (unknown.code, "'pd' has no list 'nope'; lists: " in unknown.err) == (USAGE, True)
