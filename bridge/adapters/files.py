"""What processes share in files: locks, a secret, and files that are replaced whole."""

import fcntl
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

SECRET_BYTES = 32
NAME_KEPT_CHARS = 40  # of a file's, in that of the one written beside it: no system takes more than 255 bytes
Meanwhile = Callable[["Future[Any]"], None]  # works until the future is done: then the lock is ours


def secret_kept_in(path: Path) -> str:
    """A random secret, drawn by whoever asks first and kept in that file for everybody after.

    One that a power failure cut short is drawn anew: half of it, or nothing at all, is no secret. Raises OSError with
    the file's name.
    """
    with suppress(FileNotFoundError):
        kept = path.read_bytes()
        if _is_whole(kept):  # written under the lock at once: who only reads needs neither that nor the right to write
            return kept.decode("ascii")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "r+", encoding="ascii") as file:
            return _kept_or_drawn(file)
    except OSError as error:  # of a disk that is full: without a name
        raise OSError(error.errno, error.strerror, str(path)) from error


def _kept_or_drawn(file: TextIO) -> str:
    fcntl.flock(file, fcntl.LOCK_EX)
    kept = file.read()
    if _is_whole(kept.encode()):
        return kept
    drawn = secrets.token_hex(SECRET_BYTES)
    file.seek(0)
    file.truncate()
    file.write(drawn)
    file.flush()
    os.fsync(file.fileno())
    return drawn


def _is_whole(kept: bytes) -> bool:
    return len(kept.strip()) >= 2 * SECRET_BYTES


def replace_text(path: Path, text: str) -> None:
    """As `replace_bytes`, of a text."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: whoever reads it meanwhile, or after a crash, finds the old one or the new.

    Its mode stays; a link stays one, to what it leads to. Raises OSError with the file's name.
    """
    target = path.resolve()
    drawn = target.with_name(f".{target.name[:NAME_KEPT_CHARS]}.{os.getpid()}")
    try:
        with drawn.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            drawn.chmod(target.stat().st_mode & 0o777)
        drawn.replace(target)
    except OSError as error:  # of a disk that is full: without a name; of the drawn one: with a name nobody knows
        drawn.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        drawn.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Into whatever is there: a file, a pipe. Raises OSError with its name, which one of a full disk lacks."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


class FileLock:
    """An exclusive lock that any number of threads and processes on this machine share; fair enough to wait in line.

    A thread waits for its own process first and for the file after that, so that one process holds one place in line.
    """

    def __init__(self, path: Path) -> None:
        """The file is made when it is missing, and never removed: its holder may still have it open."""
        self.path = path
        self._threads = threading.Lock()
        self._waiter = _one_thread()
        self._fd: int | None = None
        self._pid = -1

    @contextmanager
    def held(self, meanwhile: Meanwhile) -> Iterator[None]:
        """Hold it; while somebody else does, a thread waits for it and `meanwhile` runs, until the lock is ours."""
        if not self._taken_at_once():
            self._waited_for(meanwhile)
        try:
            yield
        finally:
            self.__exit__(None, None, None)

    def _waited_for(self, meanwhile: Meanwhile) -> None:
        try:
            ours: Future[Any] = self._waiter.submit(self.__enter__)
        except RuntimeError:  # no thread is to be had; yet its line is kept, and would be worked with the next thread:
            self._waiter = _one_thread()  # by somebody who takes the lock, and whom nobody asks to give it back
            self.__enter__()
            return
        try:
            meanwhile(ours)
        except BaseException:  # the lock comes all the same, and nobody else would give it back
            ours.result()
            self.__exit__(None, None, None)
            raise
        ours.result()

    def _taken_at_once(self) -> bool:
        if not self._threads.acquire(blocking=False):
            return False
        try:
            fcntl.flock(self._descriptor(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            self._threads.release()
            if not isinstance(error, BlockingIOError):
                raise
            return False
        return True

    def __enter__(self) -> "FileLock":
        self._threads.acquire()
        try:
            fcntl.flock(self._descriptor(), fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._fd is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        """Let go of the file, unless the lock is held; whoever takes it later opens the file anew."""
        if self._threads.acquire(blocking=False):
            try:
                if self._fd is not None and self._pid == os.getpid():
                    os.close(self._fd)
                self._fd = None
            finally:
                self._threads.release()

    def _descriptor(self) -> int:
        """This process's own descriptor: one inherited over a fork would share its parent's lock."""
        if self._fd is None or self._pid != os.getpid():
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._pid = os.getpid()
        return self._fd


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="lock-waiter")
