"""What decides in one web process, over a ledger of each kind: it follows what is in force, and never to silence."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bridge import wiring
from bridge.adapters import logs
from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.upgrade import upgrade
from bridge.domain.alert import Severity
from bridge.domain.silences import Silence
from bridge.entrypoints.reloading import Reloader, State, published
from bridge.entrypoints.web.keeper import QUIET_S, Bell, Keeper, Watcher
from tests.e2e.processes import write_configuration
from tests.ledgers import alert


@pytest.fixture
def loaded(ledger_url: str, tmp_path: Path) -> wiring.Loaded:
    sources = {"lab": {"type": "generic", "auth": "none"}}
    read = wiring.load(write_configuration(tmp_path / "bridge", sources=sources))
    settings = replace(read.settings, ledger=ledger_url)
    database = wiring.open_database(settings)
    upgrade(database)
    database.close()
    return replace(read, settings=settings)


@pytest.fixture
def opened(loaded: wiring.Loaded) -> Iterator[Ledger]:
    made = wiring.open_ledger(loaded.settings)
    published(loaded, made, "a test")
    yield made
    made.close()


def changed(loaded: wiring.Loaded, old: str, new: str) -> wiring.Loaded:
    """The same configuration with other words in its rules."""
    rules = loaded.settings.rules_dir / "rules.yaml"
    text = rules.read_text()
    assert old in text
    rules.write_text(text.replace(old, new))
    return wiring.load_rules(loaded.settings)


def taken(ledger: Ledger, loaded: wiring.Loaded) -> None:
    ledger.book_taken(wiring.stored_book(loaded), wiring.origin(loaded.settings, loaded.digest, "a test"))


def test_a_process_decides_by_what_is_in_force_as_soon_as_it_looks(opened: Ledger, loaded: wiring.Loaded) -> None:
    keeper = Keeper(loaded, opened)
    keeper.look()
    first = keeper.current()
    assert first.hash == loaded.book.hash
    new = changed(loaded, "{{ alert.title }}", "new: {{ alert.title }}")
    taken(opened, new)
    assert keeper.current() is first
    keeper.look()
    assert keeper.current().hash == new.book.hash
    (decided,) = keeper.current().decide((alert("a", source="lab"),))
    assert decided.decisions[0].title == "new: a is down"
    assert first.decide((alert("a", source="lab"),))[0].decisions[0].title == "a is down"


def test_a_look_without_a_change_makes_nothing_anew(opened: Ledger, loaded: wiring.Loaded) -> None:
    keeper = Keeper(loaded, opened)
    keeper.look()
    before = keeper.current()
    keeper.look()
    assert keeper.current() is before


def test_a_book_for_accounts_this_process_has_not_is_not_taken_and_everybody_is_told(
    opened: Ledger, loaded: wiring.Loaded
) -> None:
    keeper = Keeper(loaded, opened)
    keeper.look()
    stored = wiring.stored_book(loaded)
    odd = replace(stored, hash="0" * 64, files=stored.files.replace('\\"pd\\"', '\\"elsewhere\\"'))
    assert odd.files != stored.files
    opened.book_taken(odd, wiring.origin(loaded.settings, "d", "another host"))
    keeper.look()
    assert keeper.current().hash == loaded.book.hash
    assert opened.book(keeper.current().hash) is not None
    state = opened.rules_state()
    assert "account 'elsewhere', which does not exist" in state.refused[0]["message"]
    assert state.refused_by is not None
    assert state.refused_by.endswith("cannot take them: its bridge.yaml differs")


def silence(ledger: Ledger, **changes: Any) -> Silence:
    now = datetime.now(UTC)
    plain: dict[str, Any] = {
        "id": ledger.new_id(), "match": {"title": {"contains": "down"}}, "starts_at": now - timedelta(minutes=1),
        "ends_at": now + timedelta(hours=1), "author": "a", "reason": "r",
    }  # fmt: skip
    return Silence(**{**plain, **changes})


def test_a_silence_is_tried_from_the_next_look_on_until_the_one_after_its_end(
    opened: Ledger, loaded: wiring.Loaded
) -> None:
    keeper = Keeper(loaded, opened)
    keeper.look()
    held = silence(opened)
    opened.silence_added(held)
    keeper.look()
    (decided,) = keeper.current().decide((alert("a", source="lab", severity=Severity.ERROR),))
    assert decided.decisions[0].silences == (held,)
    opened.silence_ended(held.id, "somebody")
    keeper.look()
    (decided,) = keeper.current().decide((alert("a", source="lab"),))
    assert decided.decisions[0].silences == ()


def test_a_silence_that_cannot_be_read_here_hides_nothing_and_spoils_no_other(
    opened: Ledger, loaded: wiring.Loaded
) -> None:
    keeper = Keeper(loaded, opened)
    held = silence(opened)
    for one in (silence(opened, match={"source": "of another host"}), held):
        opened.silence_added(one)
    keeper.look()
    (decided,) = keeper.current().decide((alert("a", source="lab"),))
    assert decided.decisions[0].silences == (held,)


def test_checks_and_tests_that_take_too_long_are_ended_and_nothing_is_taken(
    opened: Ledger, loaded: wiring.Loaded
) -> None:
    changed(loaded, "{{ alert.title }}", "new: {{ alert.title }}")
    done = Reloader(loaded, opened, within_s=0.01).reload("a test")
    assert done.state is State.REFUSED
    assert done.problems[0]["message"] == "'check' took longer than 0.01 s and was ended"
    assert done.found is None, "what 'check' came to no end with is not read in the process that answers webhooks"
    assert opened.in_force().book == loaded.book.hash


def test_a_reload_that_fails_by_a_fault_of_ours_is_refused_and_everybody_is_told(
    opened: Ledger, loaded: wiring.Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_settings: Any) -> Any:
        raise TypeError("inner words")

    changed(loaded, "{{ alert.title }}", "new: {{ alert.title }}")
    monkeypatch.setattr(wiring, "load_rules", breaks)
    reloader = Reloader(loaded, opened)
    tried = reloader.reload("a test", dry_run=True)
    assert tried.state is State.REFUSED
    assert opened.rules_state().refused == ()
    done = reloader.reload("a test")
    assert done.state is State.REFUSED
    assert done.book == loaded.book.hash
    assert "a fault of Incident Bridge (TypeError)" in done.problems[0]["message"]
    assert "the log" in done.problems[0]["hint"]
    assert "inner words" not in str(done.problems)
    assert opened.rules_state().refused == done.problems
    assert opened.in_force().book == loaded.book.hash
    monkeypatch.undo()
    assert reloader.reload("a test").state is State.TAKEN
    assert opened.rules_state().refused == ()


def test_a_book_that_a_fault_of_ours_keeps_a_process_from_is_told_once_and_the_last_one_stays(
    opened: Ledger, loaded: wiring.Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_given: Any) -> Any:
        raise TypeError("inner words")

    keeper = Keeper(loaded, opened)
    keeper.look()
    taken(opened, changed(loaded, "{{ alert.title }}", "new: {{ alert.title }}"))
    monkeypatch.setattr(wiring, "book_of", breaks)
    keeper.look()
    keeper.look()
    assert keeper.current().hash == loaded.book.hash
    (problem,) = opened.rules_state().refused
    assert "a fault of Incident Bridge (TypeError)" in problem["message"]


def test_a_bell_is_heard_once() -> None:
    bell = Bell()
    assert not bell.heard(0.0)
    bell.ring("a start")
    bell.ring()
    assert bell.heard(0.0) == "a start"
    assert bell.heard(0.0) is None


def watcher(folder: Path, *, missed: bool = False) -> Watcher:
    return Watcher((folder,), folder / "watch.lock", lambda: missed)


def test_files_are_due_once_when_they_changed_and_were_quiet_for_a_while(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("a")
    watching = watcher(tmp_path)
    assert [watching.is_due(now) for now in (0.0, 10.0)] == [False, False]
    rules.write_text("ab")
    assert [watching.is_due(11.0 + n) for n in (0.0, QUIET_S / 2)] == [False, False]
    rules.write_text("abc")
    assert [watching.is_due(12.5 + n) for n in (0.0, QUIET_S / 2, QUIET_S, QUIET_S + 1)] == [False, False, True, False]


def test_files_that_changed_while_nobody_watched_are_due(tmp_path: Path) -> None:
    watching = watcher(tmp_path, missed=True)
    assert [watching.is_due(now) for now in (0.0, QUIET_S, QUIET_S + 1)] == [False, True, False]


def test_of_all_processes_of_a_folder_one_watches(tmp_path: Path) -> None:
    first, second = watcher(tmp_path, missed=True), watcher(tmp_path, missed=True)
    assert [(first.is_due(now), second.is_due(now)) for now in (0.0, QUIET_S)] == [(False, False), (True, False)]


def test_a_lock_that_cannot_be_opened_is_a_sentence_and_tried_again(tmp_path: Path) -> None:
    watching, lock = watcher(tmp_path, missed=True), tmp_path / "watch.lock"
    lock.mkdir()
    with capture_logs() as said:
        assert not watching.is_due(0.0)
    assert [(line["event"], str(lock) in line["reason"]) for line in said] == [(logs.RULES_UNWATCHED, True)]
    lock.rmdir()
    assert [watching.is_due(now) for now in (1.0, 1.0 + QUIET_S)] == [False, True]
