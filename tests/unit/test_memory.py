"""Malloc's holes are filled before processes are forked. In a process of its own: they stay filled."""

import ctypes
import subprocess
import sys

import pytest

from bridge.adapters import memory

HOLES = """
import ctypes
from bridge.adapters.memory import holes_filled

libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(200) for _ in range(4000)]
for block in blocks[::2]:
    libc.free(block)
first, second = holes_filled(), holes_filled()
above = max(blocks)
print(first, second, libc.malloc(200) > above)
"""
has_mallinfo2 = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallinfo2")


def test_what_comes_after_it_lies_behind_what_was_there() -> None:
    said = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True).stdout.split()
    if not has_mallinfo2:  # only glibc 2.33 and later says where its heap ends
        assert said[:2] == ["0", "0"]
        return
    assert int(said[0]) >= 1900  # of 2,000; a few are in malloc's own quick lists
    assert int(said[1]) < 200
    assert said[2] == "True"


def test_without_glibc_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert memory.holes_filled() == 0


HEAPS = """
import ctypes, sys, threading
from bridge.adapters.memory import one_arena

if sys.argv[1] == "one":
    one_arena()
libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
meet, found = threading.Barrier(16), []

def work():
    meet.wait()
    found.append(libc.malloc(1000) >> 26)  # a heap that is not the first one begins at a multiple of 64 MiB
    meet.wait()

threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(set(found)))
"""


def test_threads_share_one_heap_that_is_asked_for_and_have_one_each_else() -> None:
    command = [sys.executable, "-c", HEAPS]
    one, many = (subprocess.check_output([*command, word], text=True) for word in ("one", "many"))
    if not has_mallinfo2:  # only glibc gives threads heaps of their own
        return
    assert int(one) <= 2  # it may lie across such a multiple
    assert int(many) > 2


def test_without_glibc_heaps_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.one_arena()
