"""What a machine has run out of for a moment: files, memory, processes, threads, room in /dev/shm."""

import errno
from collections.abc import Iterator

_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT}
_NO_THREAD = "can't start new thread"  # CPython's words; it has no class of its own


def is_shortage(error: BaseException) -> bool:
    """Whether the error, or one that it came from, says that the machine or a limit has no more to give just now."""
    return any(_is_one(each) for each in _chain(error))


def _is_one(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error) == _NO_THREAD)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
