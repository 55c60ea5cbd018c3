"""A PostgreSQL that fails over, or whose machine is gone: said in time, and over once there is one that works."""

import resource
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text

from bridge.adapters.ledger import Claimed, Heartbeat, Ledger
from bridge.adapters.ledger.engine import PATIENCE, Database, LedgerMisnamed
from bridge.adapters.ledger.truth import pass_over
from bridge.adapters.ledger.upgrade import _ADVISORY_LOCK, HEAD, SchemaError, upgrade
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.beating import Pulse
from bridge.entrypoints.web.health import NEEDED, Storing, Writable, not_ready
from tests.e2e.processes import eventually
from tests.ledgers import ACCOUNT, delivered, fires, heartbeat, open_ledger, record, settle, sqlite_url, webhook
from tests.relays import relayed
from tests.shortages import no_more_threads

ANSWER_WITHIN_S = 10.0


@pytest.fixture
def address(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where calls are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


WRITES: tuple[Callable[[Ledger], object], ...] = (  # through SQLAlchemy, and as a webhook takes
    lambda ledger: ledger.heartbeat(heartbeat("worker")),
    lambda ledger: settle(ledger, fires("p")),
)


@pytest.mark.parametrize("write", WRITES)
def test_the_server_of_before_a_failover_is_unavailable_once_and_then_left_alone(
    address: str, write: Callable[[Ledger], object]
) -> None:
    ledger = open_ledger(address)
    with ledger.database.engine.connect() as connection:  # back in the pool, it is the only one there
        connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
        connection.commit()
    assert not ledger.is_writable()
    with pytest.raises(LedgerUnavailable, match="read-only"):
        write(ledger)
    assert ledger.is_writable()
    write(ledger)
    ledger.close()


@pytest.mark.parametrize("work", [*WRITES, lambda ledger: ledger.alive(timedelta(seconds=30))])
def test_connections_that_broke_while_nobody_used_them_cost_nobody_anything(
    address: str, work: Callable[[Ledger], object]
) -> None:
    ledger = open_ledger(address)
    held = [ledger.database.engine.connect() for _ in range(3)]
    for connection in held:
        connection.close()  # all three lie in the pool
    with psycopg.connect(address.replace("+psycopg", "")) as administrator:
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    work(ledger)
    ledger.close()


@pytest.mark.parametrize("locked", ["SELECT id FROM series FOR UPDATE", "SELECT name FROM lanes FOR UPDATE"])
def test_a_host_that_is_gone_in_mid_transaction_holds_up_the_others_only_for_a_moment(
    address: str, locked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = open_ledger(address)
    settle(here, fires(locked))
    gone = open_ledger(address)

    def is_sent() -> bool:
        found = here.claim(ACCOUNT)
        if isinstance(found, Claimed):
            record(here, found, delivered(locked))
        return isinstance(found, Claimed)

    gone.database.engine.dispose()
    with monkeypatch.context() as patched:  # for this connection alone: a busy machine is idle for as long, too
        patched.setattr("bridge.adapters.ledger.engine.IDLE_MAX_MS", 1000)
        held = gone.database.engine.connect()
    held.execute(text(locked))  # and then its machine loses power: nobody closes the connection
    with ThreadPoolExecutor() as pool:
        try:
            assert pool.submit(settle, here, fires(locked)).result(ANSWER_WITHIN_S) == ["duplicate"]
            eventually(is_sent, ANSWER_WITHIN_S)
        finally:
            held.invalidate()
    gone.close()
    here.close()


@pytest.mark.parametrize("work", [*WRITES, lambda ledger: ledger.alive(timedelta(seconds=30))])
def test_connections_that_fell_silent_behind_a_pooler_are_given_up(
    address: str, work: Callable[[Ledger], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.adapters.ledger.patience.HeardConnection.silence_max_s", 0.5, raising=False)
    with ThreadPoolExecutor() as pool, relayed(address) as (relay, through):
        ledger = open_ledger(through)
        held = [ledger.database.engine.connect() for _ in range(3)]
        for connection in held:
            connection.close()  # all three lie in the pool
        relay.fall_silent()  # the server behind it is gone, another has taken its place
        pool.submit(work, ledger).result(ANSWER_WITHIN_S)
        ledger.close()


def test_a_server_that_falls_silent_in_mid_transaction_is_unavailable_in_time(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.adapters.ledger.patience.HeardConnection.silence_max_s", 0.5, raising=False)

    def fall_silent_and_ask() -> None:
        with ledger.database.writing() as transaction:
            relay.fall_silent()
            transaction.connection.execute(text("SELECT 1"))

    with ThreadPoolExecutor() as pool, relayed(address) as (relay, through):
        ledger = open_ledger(through)
        with pytest.raises(LedgerUnavailable, match=r"said nothing for 0\.5 s"):
            pool.submit(fall_silent_and_ask).result(ANSWER_WITHIN_S)
        settle(ledger, fires("p"))
        ledger.close()


@pytest.mark.parametrize("work", WRITES)
def test_a_ledger_whose_connections_all_hang_is_unavailable_in_time(
    address: str, work: Callable[[Ledger], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.adapters.ledger.engine.POOL_TIMEOUT_S", 0.2)
    ledger = open_ledger(address)
    held = [ledger.database.engine.connect() for _ in range(16)]  # pages and probes that a server leaves waiting
    with pytest.raises(LedgerUnavailable, match="every connection to the ledger is taken"):
        work(ledger)
    for connection in held:
        connection.close()
    work(ledger)
    ledger.close()


def test_what_the_database_says_of_idle_transactions_goes_before(address: str) -> None:
    database = Database(with_option(address, "options=-c%20idle_in_transaction_session_timeout%3D77s"))
    with database.reading() as transaction:
        said = transaction.connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar()
    assert said == "77s"
    database.close()


def test_what_the_database_allows_a_statement_does_not_end_an_upgrade(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.adapters.ledger.patience.HeardConnection.silence_max_s", 0.2)
    strict = with_option(address, "options=-c%20statement_timeout%3D100ms%20-c%20lock_timeout%3D100ms")
    with psycopg.connect(address.replace("+psycopg", "")) as other, ThreadPoolExecutor() as pool:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])  # another host upgrades, and takes its time
        database = Database(strict)
        upgraded = pool.submit(upgrade, database)
        time.sleep(0.5)
        other.rollback()
        assert upgraded.result(ANSWER_WITHIN_S) == (None, HEAD)
    with database.reading() as transaction:
        assert transaction.connection.execute(text("SHOW statement_timeout")).scalar() == "100ms"  # as before
    database.close()


def with_option(address: str, option: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}{option}"


@pytest.mark.parametrize("path", ["public", "nowhere"])
def test_a_role_that_may_not_make_tables_is_told_so_with_what_to_do(address: str, path: str) -> None:
    with psycopg.connect(address.replace("+psycopg", "")) as administrator:  # as PostgreSQL 15 makes a database
        administrator.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
        administrator.execute("CREATE ROLE guest")
    database = Database(with_option(address, f"options=-c%20role%3Dguest%20-c%20search_path%3D{path}"))
    with pytest.raises(LedgerUnavailable, match=r"(?s)^the ledger refuses its role: [^\n]*; let the role .* own"):
        upgrade(database)
    database.close()
    with psycopg.connect(address.replace("+psycopg", "")) as administrator:
        administrator.execute("DROP OWNED BY guest")
        administrator.execute("DROP ROLE guest")


@pytest.mark.parametrize(
    ("aside", "back"),
    [
        ("ALTER TABLE incidents RENAME TO aside", "ALTER TABLE aside RENAME TO incidents"),
        ("ALTER TABLE events RENAME source TO aside", "ALTER TABLE events RENAME aside TO source"),
        ("ALTER TABLE sweeps DROP CONSTRAINT sweeps_pkey", "ALTER TABLE sweeps ADD PRIMARY KEY (account)"),
    ],
)
def test_a_ledger_whose_backup_is_being_put_back_is_unavailable_until_it_is_whole(
    address: str, aside: str, back: str
) -> None:
    ledger = open_ledger(address)

    def work() -> None:
        settle(ledger, fires("p"))
        with ledger.database.writing() as transaction:
            pass_over(transaction, [ACCOUNT])

    with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as administrator:
        administrator.execute(aside)
        with pytest.raises(LedgerUnavailable, match=r"^the ledger is not whole: .*; where a backup is being put back"):
            work()
        administrator.execute(back)
    work()
    ledger.close()


@pytest.mark.parametrize("option", ["sslmod=require", "autocommit=1"])
def test_an_option_that_no_connection_has_is_named(address: str, option: str) -> None:
    with pytest.raises(LedgerMisnamed, match=f'the address of .ledger:.* "{option.partition("=")[0]}"'):
        Database(with_option(address, option))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_no_ledger_is_made_where_letters_would_have_no_place(address: str, encoding: str) -> None:
    with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE odd ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
        try:
            database = Database(make_url(address).set(database="odd").render_as_string(hide_password=False))
            with pytest.raises(SchemaError, match=f"{encoding}, .* 'createdb --encoding UTF8"):
                upgrade(database)
            database.close()
        finally:
            administrator.execute("DROP DATABASE odd WITH (FORCE)")


def test_letters_arrive_whatever_encoding_the_environment_names(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    database = Database(address)
    with database.reading() as transaction:
        assert transaction.connection.execute(text("SELECT :said"), {"said": "Größe → 日本"}).scalar() == "Größe → 日本"
    database.close()


class Tried(Ledger):
    """A ledger on which a try to write takes its time, and whose writes stop working at some time."""

    def __init__(self, takes_s: float, ends_at: float = float("inf")) -> None:
        super().__init__(Database("sqlite://"), {})
        self.takes_s, self.ends_at = takes_s, ends_at
        self.now_s = self.tried_s = 0.0

    def is_writable(self) -> bool:
        self.now_s += self.takes_s
        self.tried_s += self.takes_s
        return self.now_s < self.ends_at


@pytest.mark.parametrize("takes_s", [0.001, 0.01])
def test_who_asks_without_end_whether_it_takes_writes_has_a_fiftieth_of_its_time(takes_s: float) -> None:
    ledger = Tried(takes_s)
    writable = Writable(ledger, lambda: ledger.now_s)
    while ledger.now_s < 10.0:
        assert writable()
        ledger.now_s += 0.001
    assert 0.0 < ledger.tried_s - takes_s <= 10.0 / 50, "but for the first try"


@pytest.mark.parametrize("takes_s", [0.001, 0.02, 3.0])
def test_that_it_takes_writes_no_more_is_said_half_a_second_later(takes_s: float) -> None:
    ledger = Tried(takes_s, ends_at=5.0)
    writable = Writable(ledger, lambda: ledger.now_s)
    while writable():
        ledger.now_s += 0.001
    assert 5.0 <= ledger.now_s <= 5.0 + 0.5 + takes_s


def test_without_a_thread_to_try_it_with_it_is_not_ready_and_says_so_until_there_is_one(ledger: Ledger) -> None:
    for kind in NEEDED:
        ledger.heartbeat(heartbeat(kind))
    writable = Writable(ledger)
    with no_more_threads():
        said = [not_ready(ledger, writable) for _ in range(2)]
    assert said == 2 * [["whether the ledger takes writes cannot be tried: can't start new thread"]]
    assert not_ready(ledger, writable) == []


def test_a_webhook_that_could_not_be_stored_is_said_until_one_can_or_for_half_a_minute(postgres_url: str) -> None:
    """Of a server that has room for a small write and none for a webhook."""
    ledger, now_s = open_ledger(postgres_url), [0.0]
    storing = Storing(lambda prepare: ledger.settle([prepare()])[0][0], lambda: now_s[0])

    def stores() -> None:
        storing(lambda: webhook(ledger))

    def missing() -> list[str]:
        return not_ready(ledger, ledger.is_writable, storing.trouble)

    for kind in NEEDED:
        ledger.heartbeat(heartbeat(kind))
    stores()
    assert missing() == []
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as server:
        server.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE disk_full USING MESSAGE = 'no room left'; END$$"
        )
        server.execute("CREATE TRIGGER full_disk BEFORE INSERT ON events EXECUTE FUNCTION full_disk()")
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="no room left"):
                stores()
        assert ledger.is_writable()
        (said,) = missing()
        assert said.startswith("the last webhook could not be stored: the ledger did not answer: no room left")
        now_s[0] += 29.0
        assert missing() == [said]
        now_s[0] += 1.0
        assert missing() == []
        with pytest.raises(LedgerUnavailable):
            stores()
        assert missing() == [said]
        server.execute("DROP TRIGGER full_disk ON events")
    stores()
    assert missing() == []
    ledger.close()


def test_a_file_that_is_damaged_is_unavailable_and_says_what_to_do(tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url(tmp_path))
    settle(ledger, fires("p"))
    ledger.close()
    file = tmp_path / "bridge.db"
    for damage in (lambda whole: b"x" * 4096 + whole[4096:], lambda whole: whole[:4096] + b"x" * (len(whole) - 4096)):
        whole = file.read_bytes()
        file.write_bytes(damage(whole))
        with pytest.raises(LedgerUnavailable, match="is damaged"):
            ledger.heartbeat(heartbeat("worker"))
        ledger.close()
        file.write_bytes(whole)


def test_what_is_committed_to_an_sqlite_file_is_on_the_disk_itself(tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url(tmp_path))
    for begun in (ledger.database.writing, ledger.database.reading):  # a reader may be who moves the WAL into the file
        with begun() as transaction:
            asked = [f"PRAGMA {name}" for name in ("journal_mode", "synchronous", "fullfsync")]
            said = [transaction.connection.exec_driver_sql(one).scalar() for one in asked]
        assert said == ["wal", 2, 1]  # FULL; and on macOS, whose fsync stops at the drive's cache, F_FULLFSYNC
    ledger.close()


def test_an_sqlite_file_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url(tmp_path))

    def fill() -> None:
        with ledger.database.writing() as transaction:
            transaction.connection.exec_driver_sql("PRAGMA max_page_count = 1")  # no more than it has
            transaction.connection.exec_driver_sql("CREATE TABLE more AS SELECT randomblob(1000000)")

    with pytest.raises(LedgerUnavailable, match=r"/bridge\.db did not answer: .* is full; make room on its disk"):
        fill()
    ledger.close()
    folder = tmp_path / "folder.db"
    folder.mkdir()
    with (
        pytest.raises(LedgerUnavailable, match=r"/folder\.db did not answer: unable to open .*; give the user of this"),
        Database(f"sqlite:///{folder}").reading(),
    ):
        pass


def test_a_reader_that_finds_no_room_to_open_an_sqlite_file_is_told_so(tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url(tmp_path))
    ledger.close()  # the last one: what processes share is gone with it, and the next one makes it anew
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(LedgerUnavailable, match=r"/bridge\.db did not answer: .*; see that its disk has room, and"):
            ledger.lanes({})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        ledger.close()


@pytest.mark.parametrize("other", [None, b"", "copy"])
def test_a_file_that_was_moved_away_takes_nothing_until_it_is_back(tmp_path: Path, other: bytes | str | None) -> None:
    ledger = open_ledger(sqlite_url(tmp_path))
    settle(ledger, fires("p"))
    file, away = tmp_path / "bridge.db", tmp_path / "away.db"
    file.rename(away)
    if other is not None:
        file.write_bytes(away.read_bytes() if isinstance(other, str) else other)
    for use in (
        lambda: settle(ledger, fires("q")),
        lambda: ledger.heartbeat(heartbeat("worker")),
        lambda: ledger.lanes({}),
    ):
        with pytest.raises(LedgerUnavailable, match=r"bridge\.db is not the file any more .* stop every process"):
            use()
    assert not ledger.is_writable()
    assert file.exists() == (other is not None), "no empty one is made in its place"
    away.replace(file)
    settle(ledger, fires("q"))
    assert ledger.is_writable()
    ledger.close()


def test_of_several_servers_the_one_that_takes_writes_is_the_ledger(address: str) -> None:
    url = make_url(address)
    several = {"host": ("/nowhere:5432", f"{url.query['host']}:5432"), "target_session_attrs": "read-write"}
    ledger = open_ledger(url.update_query_dict(several).render_as_string(hide_password=False))
    assert ledger.is_writable()
    ledger.close()


def test_a_server_that_never_answers_is_unavailable_in_time(silent: int) -> None:
    database = Database(f"postgresql+psycopg://bridge@127.0.0.1:{silent}/bridge")
    started = time.monotonic()
    with pytest.raises(LedgerUnavailable), database.reading():
        pass
    assert time.monotonic() - started < ANSWER_WITHIN_S


def test_a_connection_gives_up_a_machine_that_is_gone_unless_the_address_says_otherwise(address: str) -> None:
    joint = "&" if "?" in address else "?"
    for own, expected in ({}, PATIENCE), ({"tcp_user_timeout": "77"}, PATIENCE | {"tcp_user_timeout": "77"}):
        database = Database(address + joint + "&".join(f"{name}={value}" for name, value in own.items()))
        with database.engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            assert expected.items() <= driver.info.get_parameters().items()
        database.close()


class _BrokenOnce(Ledger):
    """A ledger whose first heartbeat fails by our own fault."""

    broke = False

    def heartbeat(self, beat: Heartbeat) -> None:
        if not self.broke:
            self.broke = True
            raise ValueError("a bug")
        super().heartbeat(beat)


def test_a_process_that_works_is_not_taken_for_dead_because_one_heartbeat_broke(tmp_path: Path) -> None:
    ledger = _BrokenOnce(open_ledger(sqlite_url(tmp_path)).database, {})
    pulse = Pulse(ledger, heartbeat("worker"), every_s=0.05)
    pulse.start()
    eventually(lambda: [one["kind"] for one in ledger.alive(timedelta(seconds=30))] == ["worker"])
    pulse.stop()
    ledger.close()


def test_a_heartbeat_that_no_thread_was_to_be_had_for_stops_like_any_other(tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url(tmp_path))
    pulse = Pulse(ledger, heartbeat("worker"))
    with no_more_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
        pulse.start()
    pulse.stop()
    ledger.close()
