"""How the ledger is reached: connections, the two kinds of transaction, and the database's clock.

SQLite: WAL, synchronous=FULL, and one file lock in front of `BEGIN IMMEDIATE` that every writing process takes: its
own busy wait polls and sleeps unfairly. Behind the lock it is never needed. PostgreSQL: READ COMMITTED and row locks.
"""

import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import URL, BigInteger, Connection, Engine, create_engine, event, literal_column, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bridge.adapters.files import FileLock, Meanwhile
from bridge.adapters.ledger.schema import from_us
from bridge.domain.errors import BridgeError, LedgerUnavailable

BUSY_TIMEOUT_MS = 5000
_NOW = select(literal_column("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint", type_=BigInteger))
DAMAGED = "is damaged, or no ledger at all; restore a backup, as deploy/README.md says"
GONE = "is not the file any more that this process opened; put that one back, or stop every process and start again"
PRIMARY_CODE = 0xFF  # of SQLite's extended result codes
_ITS_USER = "give the user of this process the right to write it, its folder, and what has its name and -wal or -shm"
_ADVICE = {
    sqlite3.SQLITE_FULL: "make room on its disk",
    # of a full disk as well: whoever opens it first makes a file for what its processes share
    sqlite3.SQLITE_IOERR: "see that its disk has room, and what the system's log says of that disk",
    sqlite3.SQLITE_CANTOPEN: _ITS_USER,
    sqlite3.SQLITE_PERM: _ITS_USER,
    sqlite3.SQLITE_READONLY: _ITS_USER,
}
OWNS = "let the role that the address names own the database, or the schema of its search_path and every table in it"
NO_WRITES = "the ledger takes no writes: its server is read-only"
READ_ONLY = "25006"  # SQLSTATE read_only_sql_transaction
NOT_ALLOWED = ("42501", "3F000")  # SQLSTATE insufficient_privilege, invalid_schema_name
# SQLSTATE undefined_table, undefined_column, and invalid_column_reference: ON CONFLICT without its unique index
NOT_WHOLE = ("42P01", "42703", "42P10")
PUT_BACK = "where a backup is being put back it can be used again once that is done; else put one back"
# A server whose machine or network is gone says nothing, and TCP by itself waits for a quarter of an hour for it, two
# hours where it has nothing to send. What the address says of these (libpq's own words) goes before.
PATIENCE = {
    "connect_timeout": "5",  # s, of each address
    "tcp_user_timeout": "10000",  # ms that what we sent may go unacknowledged
    "keepalives_idle": "10",  # s
    "keepalives_interval": "3",  # s
    "keepalives_count": "3",
}
POOL_TIMEOUT_S = 5.0  # where a server hangs, every page and probe that is asked for holds a connection
# A server without an encoding, or PGCLIENTENCODING in the environment, would say another.
_TEXTS = {"client_encoding": "utf8"}
# The server hears as little of a host that is gone, and keeps its locks for hours: nobody could write to those series,
# or send from that lane. Our transactions are idle for milliseconds.
IDLE_MAX_MS = 10_000
_IDLE_MAX = "SELECT pg_backend_pid(), CASE current_setting('{0}') WHEN '0' THEN set_config('{0}', '{1}', false) END"
# What an administrator allows a statement is meant for those of every day.
_UNHURRIED = ("SET LOCAL statement_timeout = 0", "SET LOCAL lock_timeout = 0")
_IS_READ_ONLY = "SHOW transaction_read_only"
_WRITTEN = {  # what a commit has to write, and no table holds: one page, one record
    "sqlite": "PRAGMA user_version = 0",  # which nobody reads
    "postgresql": "SELECT txid_current()",
}
WRITE = "ib_write"  # execution option: this transaction writes
CLOCKS_AGREE_NS = 1_000_000_000  # a server's clock and this host's: what an answer takes on its way is no difference


class LedgerMisnamed(BridgeError):
    """The ledger's address asks for something that no connection has."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction: its connection and the database's time at its start."""

    connection: Connection
    now: datetime


class Database:
    """One ledger database as this process reaches it. Make it after forking."""

    def __init__(self, url: str, engine: Engine | None = None, *, host_ns: Callable[[], int] = time.time_ns) -> None:
        """`engine` is one without connections that knows the database already; see `in_child`.

        `host_ns` is this host's clock. Raises LedgerMisnamed.
        """
        self._host_ns = host_ns
        self._ahead_ns = 0  # of the server's clock before this host's
        self.is_sqlite = url.startswith("sqlite")
        self.url = url
        self.file: Path | None = None  # of SQLite; made by make_file alone
        self.engine: Engine
        self._trouble: tuple[type[Exception], ...] = (OperationalError, InterfaceError)
        self._lock: FileLock | None = None
        self._kept: Connection | None = None  # of SQLite's writers, between two transactions
        self._inode: int | None = None  # of SQLite's file, once it is open
        if self.is_sqlite:
            path = make_url(url).database
            if path and path != ":memory:":
                self.file = Path(path)
                self._lock = FileLock(Path(path + ".lock"))
            self.engine = engine or _sqlite_engine(url)
        else:
            self.engine = engine or _postgresql_engine(url)
        driver: Any = self.engine.dialect.dbapi
        self._trouble += (driver.OperationalError, driver.InterfaceError)
        self._errors: tuple[type[Exception], ...] = (DBAPIError, driver.DatabaseError)

    def in_child(self) -> "Database":
        """The same database for a process forked from this one, which has closed its own.

        It shares what the engine has learnt, and no connection, lock or descriptor.
        """
        return Database(self.url, self.engine, host_ns=self._host_ns)

    @contextmanager
    def writing(self, meanwhile: Meanwhile | None = None) -> Iterator[Transaction]:
        """A transaction that writes, committed durably when the block ends.

        While another process writes, `meanwhile` runs. Raises LedgerUnavailable when the database cannot be reached, is
        full, or stays locked.
        """
        with (
            self._unavailable(),
            self._locked(meanwhile),
            self._for_writing() as connection,
            self._begun(connection) as transaction,
        ):
            yield transaction

    @contextmanager
    def _for_writing(self) -> Iterator[Connection]:
        """A connection whose transactions write.

        On SQLite whoever holds the lock uses the same one: getting it from the pool and giving it back costs three
        times what beginning and ending a transaction does (0.08 ms, for every webhook and delivery). A block that fails
        gives it back, for the pool to reset.
        """
        if self._lock is None:
            with self._connected() as connection:
                yield connection.execution_options(**{WRITE: True})
            return
        self._in_place()
        kept, self._kept = self._kept, None
        connection = kept or self._connected().execution_options(**{WRITE: True})
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._kept = connection

    def _connected(self) -> Connection:
        """A connection; asked before, for SQLite's would make an empty file in the place of one that is gone."""
        self._in_place()
        connection = self.engine.connect()
        if self._inode is None:
            self._inode = self._found()
        return connection

    def _in_place(self) -> None:
        """SQLite's file is the one that we have open. Raises LedgerUnavailable.

        What is written to a file that was removed or moved away goes with this process. SQLite looks at the same number
        (SQLITE_READONLY_DBMOVED), but not with a WAL.
        """
        if self._inode is not None and self._inode != self._found():
            raise LedgerUnavailable(f"{self.file} {GONE}")

    def _found(self) -> int | None:
        """The number of the file that is in its place."""
        if self.file is not None:
            with suppress(FileNotFoundError):
                return os.stat(self.file).st_ino
        return None

    def write_tried(self) -> None:
        """A transaction that writes can be committed now. Raises LedgerUnavailable.

        One that is only begun says nothing of a full disk.
        """
        with self.writing() as transaction:
            if not self.is_sqlite and transaction.connection.exec_driver_sql(_IS_READ_ONLY).scalar() == "on":
                raise LedgerUnavailable(NO_WRITES)
            transaction.connection.exec_driver_sql(_WRITTEN["sqlite" if self.is_sqlite else "postgresql"])

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that only reads; it takes no lock."""
        with self._unavailable(), self._connected() as connection, self._begun(connection) as transaction:
            yield transaction

    @contextmanager
    def _begun(self, connection: Connection) -> Iterator[Transaction]:
        """A transaction, committed when the block ends.

        Its first statement asks for the time. A connection that broke while it lay in the pool (the server was
        restarted, an administrator ended it) shows there, when nothing is done yet: another one takes its place.
        """
        begun = connection.begin()
        try:
            now = self.now(connection)
        except DBAPIError as error:
            begun.rollback()
            if not error.connection_invalidated:
                raise
            begun = connection.begin()  # SQLAlchemy has let go of every connection that is as old, and makes a new one
            now = self.now(connection)
        with begun:
            try:
                yield Transaction(connection, now)
            except self._trouble as error:
                if not connection.invalidated and getattr(connection.connection.dbapi_connection, "closed", False):
                    connection.invalidate(error)  # else a rollback, which it cannot do any more, would hide why
                raise

    def _locked(self, meanwhile: Meanwhile | None) -> AbstractContextManager[Any]:
        if self._lock is None:
            return nullcontext()
        return self._lock if meanwhile is None else self._lock.held(meanwhile)

    def now(self, connection: Connection) -> datetime:
        """The database's clock: the one time all processes on all hosts agree on. An SQLite file has its host's."""
        if self.is_sqlite:
            return from_us(self._host_ns() // 1000)
        asked_ns = self._host_ns()
        now_us = connection.execute(_NOW).scalar_one()
        self._compared(now_us * 1000, asked_ns, self._host_ns())
        return from_us(now_us)

    def time_ns(self) -> int:
        """The database's clock without asking: this host's, and how far the two were apart in the last transaction."""
        return self._host_ns() + self._ahead_ns

    @property
    def ahead(self) -> timedelta:
        """How far the database's clock was before this host's in the last transaction; nothing where they agree."""
        return timedelta(microseconds=self._ahead_ns // 1000)

    def _compared(self, theirs_ns: int, asked_ns: int, answered_ns: int) -> None:
        """Another host's clock said that, between these two instants of ours."""
        if 0 <= answered_ns - asked_ns < CLOCKS_AGREE_NS:
            ahead_ns = theirs_ns - answered_ns
            self._ahead_ns = ahead_ns if abs(ahead_ns) > CLOCKS_AGREE_NS else 0

    def unhurried(self, transaction: Transaction) -> None:
        """Every statement of this transaction may take as long as it takes."""
        if self.is_sqlite:
            return
        for statement in _UNHURRIED:
            transaction.connection.exec_driver_sql(statement)
        driver: Any = transaction.connection.connection.driver_connection
        driver.silence_max_s = math.inf
        transaction.connection.detach()  # it ends with the transaction, and nobody else gets it

    def make_file(self) -> None:
        """Make SQLite's file and its folder, for their owner's eyes only, where they are missing."""
        if self.file is not None and not self.file.exists():
            with self._unavailable():
                self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def close(self) -> None:
        """Close every connection and file; what is asked of it afterwards opens them again."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()
        self.engine.dispose()
        if self._lock is not None:
            self._lock.close()
        self._inode = None

    @contextmanager
    def _unavailable(self) -> Iterator[None]:
        """Connection trouble as our own error; what a statement itself got wrong stays what it is."""
        try:
            yield
        except self._trouble as error:
            if is_contention(error):
                raise
            raise LedgerUnavailable(self._did_not_answer(error)) from error
        except self._errors as error:
            if _sqlstate(error) == READ_ONLY:
                self.engine.dispose()  # of before a failover: whoever takes writes now has the next connection
                raise LedgerUnavailable(NO_WRITES) from error
            if _sqlstate(error) in NOT_ALLOWED:
                raise LedgerUnavailable(f"the ledger refuses its role: {first_line(error)}; {OWNS}") from error
            if _sqlstate(error) in NOT_WHOLE:
                raise LedgerUnavailable(f"the ledger is not whole: {first_line(error)}; {PUT_BACK}") from error
            if _is_damaged(error):
                raise LedgerUnavailable(f"{self.file} {DAMAGED}") from error
            if not getattr(error, "connection_invalidated", False):
                raise
            raise LedgerUnavailable(f"the connection to the ledger broke: {getattr(error, 'orig', error)}") from error
        except PoolTimeout as error:
            raise LedgerUnavailable("every connection to the ledger is taken, and none came free in time") from error
        except OSError as error:
            raise LedgerUnavailable(f"the ledger's files cannot be used: {error}") from error

    def _did_not_answer(self, error: BaseException) -> str:
        """What the database said; of SQLite, which names nothing, with the file and what to do."""
        said = getattr(error, "orig", error)
        if self.file is None:
            return f"the ledger did not answer: {said}"
        advice = _ADVICE.get(_primary_code(error))
        return f"the ledger {self.file} did not answer: {said}" + (f"; {advice}" if advice else "")


def first_line(error: BaseException) -> str:
    """What the database said, without the statement."""
    return str(getattr(error, "orig", error)).partition("\n")[0]


def is_contention(error: BaseException) -> bool:
    """Whether another transaction came in between, so that the same one may be tried again.

    A deadlock, a failed serialisation, or a row that must be there once and was written by somebody else first.
    """
    once_only = isinstance(getattr(error, "orig", error), sqlite3.IntegrityError)
    return once_only or _sqlstate(error) in {"40P01", "40001", "23505"}


def _is_damaged(error: BaseException) -> bool:
    """Whether SQLite finds something in its file that it cannot have written."""
    return _primary_code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _primary_code(error: BaseException) -> int:
    return int(getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)) & PRIMARY_CODE


def _sqlstate(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", error), "sqlstate", None)


def _postgresql_engine(url: str) -> Engine:
    address = make_url(url)
    _require_known(address)
    unsaid = {name: value for name, value in (PATIENCE | _TEXTS).items() if name not in address.query}
    address = address.update_query_dict(unsaid)
    engine = create_engine(address, pool_size=4, max_overflow=12, pool_timeout=POOL_TIMEOUT_S, pool_recycle=1800)

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        from bridge.adapters.ledger.patience import HeardConnection

        return HeardConnection.connect(*arguments, **options)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        """Said by a statement, not as an option of the address: poolers in between refuse options they do not know.

        A pooler greets with a number of its own, not with the server process's. One that hands each transaction to
        another server process (PgBouncer's `pool_mode = transaction`) must not meet prepared statements: the driver
        numbers those of every connection alike, so what another process prepared under the same number would run.
        """
        idle_max = _IDLE_MAX.format("idle_in_transaction_session_timeout", IDLE_MAX_MS)
        process, _ = connection.execute(idle_max).fetchone()
        connection.commit()
        if process != connection.info.backend_pid:
            connection.prepare_threshold = None

    @event.listens_for(engine, "before_cursor_execute")
    def _arrive(connection: Connection, *_more: Any) -> None:
        """SQLAlchemy looks for rows that, in one trip with others, would not be there yet."""
        driver: Any = connection.connection.dbapi_connection  # also of a connection that is detached
        driver.arrive()

    return engine


def _require_known(address: URL) -> None:
    """Every option of the address is one of libpq's. Raises LedgerMisnamed."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        make_conninfo(**dict.fromkeys(address.query, ""))
    except ProgrammingError as error:
        said = first_line(error)  # 'invalid connection option "x"'
        raise LedgerMisnamed(f"the address of 'ledger:' cannot be: {said}; mend it and start again") from error


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False, "cached_statements": 512}
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "fullfsync=ON",  # macOS's fsync leaves a commit in the drive's own cache; elsewhere it changes nothing
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "temp_store=MEMORY",
            "cache_size=-8000",
            "wal_autocheckpoint=2000",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("lower", 1, _lower, deterministic=True)  # SQLite's own knows ASCII alone

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITE, False)
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")

    return engine
