"""A pooler of connections (PgBouncer) before PostgreSQL: each transaction may meet another process of the server."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import make_url, text

from bridge.adapters.ledger.engine import Database

PREPARED = "SELECT count(*) FROM pg_prepared_statements"
OFTEN = 10  # above what psycopg prepares a statement after
KEY_DATA = b"K"
SOCKET = ".s.PGSQL.5432"


class Pooler:
    """A relay that greets as a pooler does: the number it names for its server process is one of its own."""

    def __init__(self, folder: Path, server: Path) -> None:
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                threading.Thread(target=_carry, args=(client, server), daemon=True).start()
                threading.Thread(target=_greet, args=(server, client), daemon=True).start()


def _greet(server: socket.socket, client: socket.socket) -> None:
    """Pass the server's messages on, with another process number, and then everything as it comes."""
    with suppress(OSError, EOFError):
        while True:
            head = _exactly(server, 5)
            rest = _exactly(server, struct.unpack("!xi", head)[0] - 4)
            client.sendall(head + (struct.pack("!i", -1) + rest[4:] if head[:1] == KEY_DATA else rest))
            if head[:1] == KEY_DATA:
                break
    _carry(server, client)


def _exactly(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = source.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while more := source.recv(65536):
            target.sendall(more)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def address(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def pooled(address: str) -> Iterator[str]:
    """The address of the same server behind a pooler."""
    with TemporaryDirectory(prefix="ibpool", dir="/tmp") as folder:  # a socket's path has to be short
        url = make_url(address)
        pooler = Pooler(Path(folder), Path(str(url.query["host"]), SOCKET))
        yield url.update_query_dict({"host": folder}).render_as_string(hide_password=False)
        pooler.close()


def prepared(address: str) -> int:
    """How many statements are prepared on the server, after one was run often."""
    database = Database(address)
    for _ in range(OFTEN):
        with database.reading() as transaction:
            found = transaction.connection.execute(text(PREPARED)).scalar_one()
    database.close()
    return int(found)


def test_what_is_run_often_is_prepared_on_a_server_that_is_reached_directly(address: str) -> None:
    assert prepared(address) > 0


def test_nothing_is_prepared_behind_a_pooler_where_another_process_may_have_prepared_something_else(
    pooled: str,
) -> None:
    assert prepared(pooled) == 0
