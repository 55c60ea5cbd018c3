"""A process that has used up what its machine gives it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MORE_THAN_THERE_IS = 1 << 50  # bytes of address space; a new thread's stack wants them


@contextmanager
def no_more_threads() -> Iterator[None]:
    """Meanwhile no thread can be started, as where the limit of processes is reached; those that run go on."""
    before = threading.stack_size(MORE_THAN_THERE_IS)
    try:
        yield
    finally:
        threading.stack_size(before)
