"""A pooler of connections (PgBouncer) before PostgreSQL: each transaction may meet another process of the server."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import text

from bridge.adapters.ledger.engine import Database
from tests.relays import carry, relayed

PREPARED = "SELECT count(*) FROM pg_prepared_statements"
OFTEN = 10  # above what psycopg prepares a statement after
KEY_DATA = b"K"


def greeted(server: socket.socket, client: socket.socket, silent: threading.Event) -> None:
    """As a pooler answers: the number that it names for its server's process is one of its own."""
    with suppress(OSError, EOFError):
        while True:
            head = _exactly(server, 5)
            rest = _exactly(server, struct.unpack("!xi", head)[0] - 4)
            client.sendall(head + (struct.pack("!i", -1) + rest[4:] if head[:1] == KEY_DATA else rest))
            if head[:1] == KEY_DATA:
                break
    carry(server, client, silent)


def _exactly(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = source.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[str]:
    """The address of the same server behind a pooler."""
    with relayed(postgres_url, greeted) as (_relay, through):
        yield through


def prepared(address: str) -> int:
    """How many statements are prepared on the server, after one was run often."""
    database = Database(address)
    for _ in range(OFTEN):
        with database.reading() as transaction:
            found = transaction.connection.execute(text(PREPARED)).scalar_one()
    database.close()
    return int(found)


def test_what_is_run_often_is_prepared_on_a_server_that_is_reached_directly(postgres_url: str) -> None:
    assert prepared(postgres_url) > 0


def test_nothing_is_prepared_behind_a_pooler_where_another_process_may_have_prepared_something_else(
    pooled: str,
) -> None:
    assert prepared(pooled) == 0
