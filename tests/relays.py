"""What stands between the bridge and PostgreSQL, as a pooler or a load balancer does, and fails on its own."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import make_url

SOCKET = ".s.PGSQL.5432"
Carries = Callable[[socket.socket, socket.socket, threading.Event], None]  # from one to the other, until it is silent


def carry(
    source: socket.socket, target: socket.socket, silent: threading.Event, note: Callable[[], None] = lambda: None
) -> None:
    """Pass on everything as it comes, to the end of either; `note` is told before each piece."""
    with suppress(OSError):
        while more := source.recv(65536):
            note()
            if not silent.is_set():
                target.sendall(more)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Trips:
    """Counts how often a client heard an answer before it went on: what a slow line costs, whatever stands in it."""

    def __init__(self) -> None:
        self.number = 0
        self._lock = threading.Lock()
        self._answered = True

    def asks(self, source: socket.socket, target: socket.socket, silent: threading.Event) -> None:
        """Carry what the client says."""
        carry(source, target, silent, self._asked)

    def answers(self, source: socket.socket, target: socket.socket, silent: threading.Event) -> None:
        """Carry what the server says."""
        carry(source, target, silent, self._was_answered)

    def _asked(self) -> None:
        with self._lock:
            self.number += self._answered
            self._answered = False

    def _was_answered(self) -> None:
        with self._lock:
            self._answered = True


class Relay:
    """Carries connections to a server; those that it has may fall silent, and be told nothing of it."""

    def __init__(self, folder: Path, server: Path, answers: Carries, asks: Carries) -> None:
        """`answers` carries what the server says to a client, `asks` what that says."""
        self._server, self._answers, self._asks = server, answers, asks
        self._silent: list[threading.Event] = []
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen()
        self._begin(self._accept)

    def fall_silent(self) -> None:
        """Whoever is connected hears nothing any more; whoever connects from now on is served."""
        for connection in self._silent:
            connection.set()

    def close(self) -> None:
        """End every connection, and take no more."""
        for end in (self._listener, *self._clients):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10.0)
        self._listener.close()

    def _begin(self, run: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=run, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                silent = threading.Event()
                self._clients.append(client)
                self._silent.append(silent)
                self._begin(self._connect, client, silent)

    def _connect(self, client: socket.socket, silent: threading.Event) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._server))
            back = threading.Thread(target=self._answers, args=(server, client, silent), daemon=True)
            back.start()
            self._asks(client, server, silent)
            back.join()


@contextmanager
def relayed(address: str, answers: Carries = carry, asks: Carries = carry) -> Iterator[tuple[Relay, str]]:
    """A relay to the server of this address, and the address that leads through it."""
    with TemporaryDirectory(prefix="ibrelay", dir="/tmp") as folder:  # a socket's path has to be short
        url = make_url(address)
        relay = Relay(Path(folder), Path(str(url.query["host"]), SOCKET), answers, asks)
        yield relay, url.update_query_dict({"host": folder}).render_as_string(hide_password=False)
        relay.close()
