"""What decides webhooks in one web process: the rule book in force and the silences, swapped as a whole.

A thread asks the ledger's one row once a second, outside every request. The same thread hears SIGHUP, and under `up`
looks whether files changed; a reload runs beside it, so that it goes on asking.
"""

import fcntl
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bridge import wiring
from bridge.adapters import logs
from bridge.adapters.ledger import InForce, Ledger
from bridge.config.models import Settings
from bridge.config.rule_files import RuleFiles, stamps_of
from bridge.domain.alert import Reading
from bridge.domain.decision import Decided
from bridge.domain.errors import ConfigError, LedgerUnavailable
from bridge.domain.silences import Silence
from bridge.entrypoints.reloading import Reloader, ReloadRefused, our_fault
from bridge.pipeline import decide
from bridge.rules.book import RuleBook
from bridge.rules.silencing import Silencing

LOOK_EVERY_S = 0.8  # with the time it takes to compile a book, every process has it within two seconds
QUIET_S = 2.0  # without a change, before changed files are taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """One rule book with the silences that hold beside it: what decides a webhook, and the hash its record names."""

    book: RuleBook
    decide: Callable[[tuple[Reading, ...]], tuple[Decided, ...]]

    @property
    def hash(self) -> str:
        """The book's."""
        return self.book.hash


class Keeper:
    """Keeps the ruling of one process. `current` may be asked by any thread; whoever asks decides with the answer."""

    def __init__(self, loaded: wiring.Loaded, ledger: Ledger) -> None:
        """Begins with the rules the process was started with; `look` takes what is in force."""
        self._loaded, self._ledger = loaded, ledger
        self._destinations = wiring.destinations(loaded.settings)
        self._seen = InForce()
        self._book, self._silencing = loaded.book, Silencing()
        self._looking = threading.Lock()
        self._ruling = self._made()

    @property
    def settings(self) -> Settings:
        """The configuration the rules are compiled for."""
        return self._loaded.settings

    def current(self) -> Ruling:
        """What decides now."""
        return self._ruling

    def files(self) -> RuleFiles | None:
        """The texts of the book that decides now; None when none of them is on record."""
        stored = self._ledger.book(self._ruling.hash)
        return None if stored is None else RuleFiles.from_json(stored.files)

    def look(self) -> None:
        """Take what changed in the ledger since the last look. Raises LedgerUnavailable."""
        with self._looking:
            found = self._ledger.in_force()
            if found == self._seen:
                return
            if found.book_no != self._seen.book_no and found.book is not None:
                self._book = self._taken(found.book) or self._book
            if found.silences_no != self._seen.silences_no:
                self._silencing = wiring.silencing_of(self.settings, self._ledger.silences_standing(), _unreadable)
            self._seen = found
            self._ruling = self._made()

    def _made(self) -> Ruling:
        plain = partial(decide, book=self._book, destinations=self._destinations)
        silencing = self._silencing
        if not silencing.matchers:
            return Ruling(book=self._book, decide=plain)
        return Ruling(book=self._book, decide=lambda readings: silencing.marked(plain(readings)))

    def _taken(self, book_hash: str) -> RuleBook | None:
        """The book in force, compiled for this process's accounts; None, and it is said, when that cannot be."""
        stored = self._ledger.book(book_hash)
        if stored is None or stored == wiring.stored_book(self._loaded):
            return self._loaded.book
        try:
            book, _ = wiring.book_of(self._loaded.settings, RuleFiles.from_json(stored.files))
        except ConfigError as error:
            by = f"{wiring.origin(self._loaded.settings, '', '').place} cannot take them: its bridge.yaml differs"
            self._ledger.reload_refused([one.as_json() for one in error.problems], by)
            self._ledger.book_kept(wiring.stored_book(self._loaded))  # at the start it decides, and records name it
            logs.get().error(logs.RULES_NOT_TAKEN, book=book_hash, problems=[str(one) for one in error.problems][:20])
            return None
        except Exception as error:  # noqa: BLE001 - asked every second, it would fail every second, and nobody be told
            logs.get().error(logs.TASK_FAILED, task="rules", book=book_hash, exc_info=True)
            by = f"{wiring.origin(self._loaded.settings, '', '').place} cannot take them"
            self._ledger.reload_refused([our_fault(self._loaded.settings.rules_dir.name, error)], by)
            self._ledger.book_kept(wiring.stored_book(self._loaded))
            return None
        logs.get().info(logs.RULES_TAKEN, book=book_hash, rules=len(book.rules))
        return book


def _unreadable(silence: Silence, error: ConfigError) -> None:
    logs.get().error(logs.SILENCE_UNREADABLE, silence=silence.id, reason=str(error)[:500])


class Bell:
    """Rung in a parent, heard by exactly one of the children it forks."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def ring(self, why: str = "SIGHUP") -> None:
        """Somebody wants a reload; `why` says who, in a line."""
        try:
            os.write(self._write, f"{why}\n".encode())
        except BlockingIOError:
            return  # it rings already

    def heard(self, within_s: float) -> str | None:
        """Why it rang, when it did and this process is the one to answer."""
        if not select.select([self._read], [], [], within_s)[0]:
            return None
        try:
            return os.read(self._read, 4096).decode().splitlines()[0]
        except (BlockingIOError, IndexError):  # another child was quicker; the parent is gone
            return None


class Watcher:
    """Says when files changed and have been quiet for a while; of all processes of a folder the one with its lock."""

    def __init__(self, folders: tuple[Path, ...], lock: Path, is_missed: Callable[[], bool]) -> None:
        """`is_missed` says whether nobody looked at the files as they are now: asked once, when the lock is ours."""
        self._folders, self._lock, self._is_missed = folders, lock, is_missed
        self._descriptor: int | None = None
        self._stamps: tuple[tuple[str, int, int, int], ...] | None = None
        self._changed_at: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether the files are to be taken now; once for each time they change."""
        if not self._is_mine():
            return False
        stamps = stamps_of(*self._folders)
        if self._stamps is None:
            self._changed_at = now if self._is_missed() else None
        elif stamps != self._stamps:
            self._changed_at = now
        self._stamps = stamps
        if self._changed_at is None or now - self._changed_at < QUIET_S:
            return False
        self._changed_at = None
        return True

    def _is_mine(self) -> bool:
        if self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:  # read-only since the disk failed, no descriptor left: both may pass
            logs.get().error(logs.RULES_UNWATCHED, reason=str(error))
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True


class Rounds:
    """The thread that keeps a process's rules up to date."""

    def __init__(self, keeper: Keeper, reloader: Reloader, bell: Bell | None = None, watcher: Watcher | None = None):
        self._keeper, self._reloader, self._bell, self._watcher = keeper, reloader, bell, watcher
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rules", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """The process ends."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._round()
            except LedgerUnavailable as error:
                logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error))
                self._stop.wait(LOOK_EVERY_S)
            except Exception:  # noqa: BLE001 - the outermost frame of the thread
                logs.get().error(logs.TASK_FAILED, task="rules", exc_info=True)
                self._stop.wait(LOOK_EVERY_S)

    def _round(self) -> None:
        rang = None
        if self._bell is not None:
            rang = self._bell.heard(LOOK_EVERY_S)
        else:
            self._stop.wait(LOOK_EVERY_S)
        if self._stop.is_set():
            return
        self._keeper.look()
        if rang is not None:
            self._reload(rang)
        if self._watcher is not None and self._watcher.is_due(time.monotonic()):
            self._reload("files changed")

    def _reload(self, why: str) -> None:
        """Beside this thread, which goes on looking; one after the other."""

        def run() -> None:
            by = f"{why} ({self._reloader.place})"
            try:
                self._reloader.audited(why, self._reloader.reload(by, waits=True))
            except (ReloadRefused, LedgerUnavailable) as error:
                logs.get().error(logs.RELOAD_REFUSED, by=by, problems=[str(error)], number=1)
            except Exception:  # noqa: BLE001 - the outermost frame of the thread
                logs.get().error(logs.TASK_FAILED, task="reload", exc_info=True)

        threading.Thread(target=run, name="reload", daemon=True).start()
