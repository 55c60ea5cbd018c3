"""Memory that forked processes share, how it stays shared, and how that of threads does not grow.

A forked child shares every page of its parent's until one of them writes to it. What a program frees while it imports
leaves thousands of holes of a few bytes all over its heap; a child's first small blocks go into them, one here, one
there, and each costs it a page of its own: 3 MB a process (measured), of 1.5 MB of holes.
"""

import ctypes
import sys

LARGEST_HOLE = 2_040  # bytes; what is larger is a page or so by itself
_ARENA_MAX = -8  # M_ARENA_MAX, mallopt(3)
_STEP = 16  # malloc's blocks are multiples of it
_SMALLEST = 24


class _Mallinfo2(ctypes.Structure):
    """What glibc says of its main arena; mallinfo(3). Of the bytes free (`fordblks`) some are its end (`keepcost`)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
        )
    )  # fmt: skip


def holes_filled() -> int:
    """Fill the small holes of malloc's heap for good, so that what is new lies together behind them; how many.

    Call it before forking, while there is one thread. The holes were in memory anyway. Without glibc (2.33 has
    mallinfo2) it does nothing.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallinfo2"):
        return 0
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_size_t
    libc.sbrk.argtypes, libc.sbrk.restype = [ctypes.c_ssize_t], ctypes.c_size_t
    libc.mallinfo2.restype = _Mallinfo2
    heap = libc.mallinfo2()
    behind_all = libc.sbrk(0) - heap.keepcost
    filled, left = 0, heap.fordblks  # whatever else malloc may be here, no more than what was free is taken
    for size in range(LARGEST_HOLE, _SMALLEST - 1, -_STEP):
        while left > 0 and 0 < libc.malloc(size) < behind_all:
            filled += 1
            left -= size
    return filled


def one_arena() -> bool:
    """Have all threads share one heap of malloc's, and so do processes forked later; False without glibc.

    It gives threads that meet a heap each, eight times as many as there are processors, and what one of them has freed
    no other uses: each grew as large as the largest page it ever made. Python's threads take turns anyway.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc is not None and hasattr(libc, "mallinfo2") and libc.mallopt(_ARENA_MAX, 1) == 1
