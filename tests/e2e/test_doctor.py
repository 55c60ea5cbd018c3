"""`doctor` against real parts: stand-ins of the upstreams, a Redis that evicts, a ledger that is not there."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from bench.load import free_port
from bridge.adapters.http import Http
from bridge.adapters.ledger import tallies
from bridge.adapters.ledger.engine import Database
from bridge.adapters.valkey import server_program
from bridge.destinations.checkup import noticed
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.incident_io_checkup import checkup as incident_io_checkup
from bridge.destinations.pagerduty import PagerDuty
from bridge.destinations.pagerduty_checkup import checkup as pagerduty_checkup
from bridge.domain.checkup import Finding, Health
from bridge.domain.delivery import HttpRequest, HttpResponse
from bridge.entrypoints.cli.doctor import clocks
from bridge.sandbox import SandboxServer, seed
from tests.e2e.processes import INCIDENT_IO, NO_VALKEY, PAGERDUTY, eventually, with_shadow, write_configuration
from tests.e2e.test_commands import FINE, PROBLEMS, Ran, run, spawn
from tests.ledgers import claim, delivered, fires, ledger_of, record, route, settle

pytestmark = pytest.mark.e2e

PART = "account pd"


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer() as running:
        yield running


def now() -> datetime:
    return datetime.now(UTC)


def pagerduty(server: SandboxServer, **changes: Any) -> PagerDuty:
    plain = {"account": "pd", "token": "sandbox", "from_": "incident-bridge@example.com"}
    return PagerDuty(**{**plain, "base_url": server.pagerduty_url, **changes})


def lines(found: tuple[Finding, ...]) -> list[tuple[Health, str]]:
    assert all(one.part == PART for one in found)
    assert all(one.advice for one in found if one.health is not Health.OK), "every trouble says what to do"
    return [(one.health, one.sentence) for one in found]


def script(server: SandboxServer, path: str, **do: Any) -> None:
    response = Http().send(
        HttpRequest(
            method="POST",
            url=f"{server.base_url}/_sandbox/script",
            headers={"Content-Type": "application/json"},
            body=json.dumps({"match": {"path_prefix": path}, "do": do}).encode(),
        )
    )
    assert isinstance(response, HttpResponse)
    assert response.status < 300, response.body


# -- PagerDuty


def test_a_good_pagerduty_account_is_well(server: SandboxServer) -> None:
    found = lines(pagerduty_checkup(pagerduty(server), Http().send, now))
    assert found[0] == (Health.OK, "the key is taken")
    assert found[-1] == (Health.OK, "'incident-bridge@example.com' is a user: incidents are created in its name")
    assert any(sentence.startswith("its limit is ") for _, sentence in found)
    assert {health for health, _ in found} == {Health.OK}


def test_an_address_that_no_user_has_is_a_problem(server: SandboxServer) -> None:
    found = lines(pagerduty_checkup(pagerduty(server, from_="nobody@example.com"), Http().send, now))
    assert found[-1] == (
        Health.PROBLEM,
        "no user has the address 'nobody@example.com': every create would be refused",
    )


@pytest.mark.parametrize(
    ("status", "health", "says"),
    [
        (401, Health.PROBLEM, "the key is refused (401)"),
        (403, Health.PROBLEM, "the key may not ask this (403)"),
        (429, Health.WARNING, "too many calls on this key just now (429)"),
        (503, Health.PROBLEM, "the upstream is not well (HTTP 503)"),
        (404, Health.PROBLEM, "an odd answer (HTTP 404)"),
    ],
)
def test_every_refusal_has_its_sentence(server: SandboxServer, status: int, health: Health, says: str) -> None:
    for path, check, account in (
        ("/pagerduty/abilities", pagerduty_checkup, pagerduty(server)),
        (
            "/incident-io/v1/identity",
            incident_io_checkup,
            IncidentIo(account="pd", token="sandbox", base_url=server.incident_io_url),
        ),
    ):
        script(server, path, status=status)
        found = lines(check(account, Http().send, now))  # type: ignore[operator]
        assert found[0] == (health, says)
        assert len([one for one in found if one[0] is not Health.OK]) == 1


@pytest.mark.parametrize("body", [b"<html><title>Log in to the proxy</title></html>", b'{"welcome": true}', b""])
def test_a_proxys_own_page_is_no_key_that_was_taken(body: bytes) -> None:
    page = HttpResponse(status=200, headers={"content-type": "text/html"}, body=body)
    account = PagerDuty(account="pd", token="t", from_="a@example.com")
    other = IncidentIo(account="pd", token="t")
    said = "an odd answer (HTTP 200 without '{}')"
    assert lines(pagerduty_checkup(account, lambda _: page, now)) == [(Health.PROBLEM, said.format("abilities"))]
    assert lines(incident_io_checkup(other, lambda _: page, now)) == [(Health.PROBLEM, said.format("identity"))]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"abilities": []}', "the key belongs to the region 'eu'"),
        (b"<title>Log in to the proxy</title>", "the key is refused (401)"),
    ],
)
def test_a_key_of_the_other_region_is_known(server: SandboxServer, body: bytes, says: str) -> None:
    asked: list[str] = []

    def ask(request: HttpRequest) -> HttpResponse:
        asked.append(request.url)
        good = request.url.startswith("https://api.eu.pagerduty.com/")
        return HttpResponse(status=200 if good else 401, headers={}, body=body)

    account = replace(pagerduty(server), base_url="https://api.pagerduty.com")
    assert lines(pagerduty_checkup(account, ask, now))[-1] == (Health.PROBLEM, says)
    assert len(asked) == 2


# -- incident.io


def test_a_good_incident_io_account_is_well(server: SandboxServer) -> None:
    account = IncidentIo(account="pd", token="sandbox", base_url=server.incident_io_url)
    found = lines(incident_io_checkup(account, Http().send, now))
    assert {health for health, _ in found} == {Health.OK}
    assert found[-1][1].endswith("may create, edit and view")


def test_a_role_that_is_missing_is_named(server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(seed.IO_KEY, "roles", ["viewer"])
    account = IncidentIo(account="pd", token="sandbox", base_url=server.incident_io_url)
    health, sentence = lines(incident_io_checkup(account, Http().send, now))[-1]
    assert health is Health.PROBLEM
    assert "lacks the roles incident_creator, incident_editor" in sentence


# -- clocks


@pytest.mark.parametrize(
    ("by", "says"),
    [
        (timedelta(seconds=95), "this machine's clock is 95 s ahead of the upstream's"),
        (timedelta(seconds=-95), "this machine's clock is 95 s behind the upstream's"),
        (timedelta(seconds=5), None),
    ],
)
def test_a_clock_that_is_wrong_is_noticed(by: timedelta, says: str | None) -> None:
    answer = HttpResponse(status=200, headers={"date": "Mon, 05 Jan 2026 12:00:00 GMT"}, body=b"")
    found = lines(noticed(PART, answer, datetime(2026, 1, 5, 12, 0, tzinfo=UTC) + by))
    assert found == ([] if says is None else [(Health.WARNING, says)])


@pytest.mark.parametrize(
    ("ahead", "says"),
    [
        (timedelta(minutes=-10), "this machine's clock is 600 s ahead of the ledger's"),
        (timedelta(minutes=10), "this machine's clock is 600 s behind the ledger's"),
        (timedelta(seconds=5), None),
    ],
)
def test_a_clock_that_is_not_the_ledgers_is_noticed(ahead: timedelta, says: str | None) -> None:
    found = [(one.health, one.sentence) for one in clocks(ahead)]
    assert found == ([] if says is None else [(Health.WARNING, says)])


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Mon, 99 Jan 2026 12:00:00 GMT", f"Mon, 05 Jan {'9' * 20} 12:00:00 GMT"]
)
def test_a_date_that_is_none_is_passed_over(date: str) -> None:
    assert noticed(PART, HttpResponse(status=200, headers={"date": date}, body=b""), now()) == ()


# -- the command


@contextmanager
def redis(folder: Path, policy: str, *more: str) -> Iterator[str]:
    """Somebody's Redis."""
    port = free_port()
    settings = ["--port", str(port), "--maxmemory-policy", policy, "--save", "", "--dir", str(folder), *more]
    program = [str(server_program()), *settings]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"redis://127.0.0.1:{port}/0"
            eventually(lambda: _answers(url))
            yield url
        finally:
            process.kill()


def _answers(url: str) -> bool:
    import redis as client

    try:
        return bool(client.Redis.from_url(url).ping())
    except client.RedisError:
        return False


def doctor(folder: Path, server: SandboxServer) -> Ran:
    return run(folder, "doctor", BRIDGE_SANDBOX_URL=server.base_url)


def test_a_bridge_that_does_not_run_misses_its_processes_and_everything_else_is_well(
    tmp_path: Path, server: SandboxServer
) -> None:
    write_configuration(tmp_path, alarms={"url": "https://chat.example.com/hook"})
    assert run(tmp_path, "db", "upgrade").code == FINE
    ran = doctor(tmp_path, server)
    assert ran.code == PROBLEMS
    assert ran.err == "2 problems\n"
    assert "PROBLEM  processes: no worker is running: nothing is delivered\n" in ran.out
    assert "           start 'incident-bridge worker'\n" in ran.out
    assert "ok       ledger: takes writes (SQLite, " in ran.out
    assert "ok       account pd: the key is taken\n" in ran.out
    assert "ok       redis: embedded: " in ran.out
    told = run(tmp_path, "doctor", "--json", BRIDGE_SANDBOX_URL=server.base_url).json
    assert told["ok"] is False
    assert {"part": "account io", "health": "ok", "sentence": "the key is taken", "advice": ""} in told["findings"]


def test_a_redis_of_our_own_needs_a_program(tmp_path: Path, server: SandboxServer) -> None:
    write_configuration(tmp_path)
    path = with_shadow(tmp_path)
    said = spawn(tmp_path, "doctor", PYTHONPATH=path, PATH=str(tmp_path), BRIDGE_SANDBOX_URL=server.base_url).out
    assert "PROBLEM  redis: {}\n           {}\n".format(*NO_VALKEY.split("; ")) in said


def test_a_database_that_cannot_keep_every_letter_is_a_problem(
    tmp_path: Path, server: SandboxServer, postgres: str
) -> None:
    with psycopg.connect(postgres, autocommit=True) as administrator:
        administrator.execute("CREATE DATABASE odd ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
        try:
            write_configuration(tmp_path, ledger=make_url(postgres).set(database="odd").render_as_string())
            out = doctor(tmp_path, server).out
        finally:
            administrator.execute("DROP DATABASE odd WITH (FORCE)")
    assert "PROBLEM  ledger: the ledger's database keeps text as LATIN1, " in out


@pytest.mark.parametrize(("policy", "mark"), [("allkeys-lru", "PROBLEM"), ("noeviction", "ok     ")])
def test_somebody_s_redis_may_not_evict(tmp_path: Path, server: SandboxServer, policy: str, mark: str) -> None:
    with redis(tmp_path, policy) as url:
        write_configuration(tmp_path, redis=url)
        out = doctor(tmp_path, server).out
    assert f"{mark}  redis: " in out
    assert ("evicts keys when it is full (maxmemory-policy allkeys-lru)" in out) == (policy == "allkeys-lru")


def test_a_redis_that_is_full_is_a_problem(tmp_path: Path, server: SandboxServer) -> None:
    with redis(tmp_path, "noeviction", "--maxmemory", "1") as url:
        write_configuration(tmp_path, redis=url)
        out = doctor(tmp_path, server).out
    assert "PROBLEM  redis: takes no jobs (command not allowed when used memory > 'maxmemory'.)\n" in out


def test_a_user_of_redis_with_the_rights_that_the_bridge_needs_is_no_problem(
    tmp_path: Path, server: SandboxServer
) -> None:
    rights = ["bridge", "on", ">word", "~rq:*", "~ib:*", "+@read", "+@write", "+@transaction", "+@connection"]
    with redis(tmp_path, "noeviction", "--user", *rights) as url:
        write_configuration(tmp_path, redis=url.replace("://", "://bridge:word@"))
        out = doctor(tmp_path, server).out
    assert "warning  redis: takes jobs, and does not tell whether it evicts keys (" in out
    assert "PROBLEM  redis" not in out


def test_where_criticals_go_when_an_account_stands_still_is_said(tmp_path: Path, server: SandboxServer) -> None:
    accounts = {
        "pd": {**PAGERDUTY, "plan_b": "io"},
        "pd2": {**PAGERDUTY, "plan_b": "pd3", "plan_b_after": "90s"},
        "pd3": PAGERDUTY,
        "io": INCIDENT_IO,
    }
    write_configuration(tmp_path, accounts=accounts)
    assert run(tmp_path, "db", "upgrade").code == FINE
    out = doctor(tmp_path, server).out
    assert "ok       account pd: criticals that wait longer than 5 min open at 'io' as well\n" in out
    assert "warning  account pd2: its plan B 'pd3' is a pagerduty account as well: both stand still together\n" in out
    assert run(tmp_path, "lanes", "--pause", "pd").code == FINE
    assert "resume it to go on; criticals open at 'io' as well" in run(tmp_path, "lanes").out


def test_a_lane_that_somebody_paused_is_said(tmp_path: Path, server: SandboxServer) -> None:
    write_configuration(tmp_path, accounts={"pd": PAGERDUTY, "io": INCIDENT_IO})
    assert run(tmp_path, "db", "upgrade").code == FINE
    assert run(tmp_path, "lanes", "--pause", "pd").code == FINE
    out = doctor(tmp_path, server).out
    assert "warning  account pd: is paused by an operator: nothing is sent\n" in out
    assert "           'incident-bridge lanes --resume pd' lets it go on\n" in out
    assert "io: is paused" not in out
    with closing(ledger_of(Database(f"sqlite:///{tmp_path / 'var' / 'bridge.db'}"), pd=route("pd"))) as ledger:
        settle(ledger, fires("a"))
    waiting = "warning  account pd: is paused by an operator, with 1 to be told there: nothing is sent\n"
    assert waiting in doctor(tmp_path, server).out


def test_a_source_that_refuses_every_webhook_is_said(tmp_path: Path, server: SandboxServer) -> None:
    write_configuration(tmp_path, accounts={"pd": PAGERDUTY})
    assert run(tmp_path, "db", "upgrade").code == FINE
    with closing(ledger_of(Database(f"sqlite:///{tmp_path / 'var' / 'bridge.db'}"), pd=route("pd"))) as ledger:
        ledger.tallied_more(tallies.REFUSED, {("lab", tallies.UNAUTHORIZED): 14})
    said = "warning  source lab: 14 webhooks refused (401) in this hour and the last, and none taken\n"
    assert said in doctor(tmp_path, server).out


def test_what_is_bound_to_a_renamed_account_or_source_is_said(tmp_path: Path, server: SandboxServer) -> None:
    config = write_configuration(tmp_path, accounts={"pd": PAGERDUTY})
    ledger = ledger_of(Database(f"sqlite:///{tmp_path / 'var' / 'bridge.db'}"), pd=route("pd"))
    settle(ledger, fires("open", account="pd"), fires("waits", account="pd"))
    record(ledger, claim(ledger, "pd"), delivered("P1"))
    ledger.close()
    settings = json.loads(config.read_text())
    settings["accounts"] = {"renamed": PAGERDUTY}
    config.write_text(json.dumps(settings))
    rules = tmp_path / "rules" / "rules.yaml"
    rules.write_text(rules.read_text().replace('"account": "pd"', '"account": "renamed"'))
    ran = doctor(tmp_path, server)
    assert ran.code == PROBLEMS
    said = "is not configured, with 1 incident open there and 1 to be told there: nothing is sent\n"
    assert f"PROBLEM  account pd: {said}" in ran.out
    assert "warning  source s: is not configured, and 2 open incidents would end by its reports\n" in ran.out
    lanes = run(tmp_path, "lanes")
    assert (lanes.code, "renamed" in lanes.out) == (FINE, True)
    assert lanes.err == "not configured, with incidents open or waiting: pd; see 'incident-bridge doctor'\n"


def test_what_is_away_is_said_with_what_to_do(tmp_path: Path, server: SandboxServer) -> None:
    write_configuration(tmp_path, redis=f"redis://127.0.0.1:{free_port()}/0")
    server.stop()
    out = doctor(tmp_path, server).out
    assert "PROBLEM  redis: does not answer (Connection refused)\n" in out
    assert "warning  account pd: and the sandbox does not run now\n" in out
    assert "warning  ledger: " in out
    assert "does not exist yet" in out


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("rediss://{}/0?ssl_ca_cert=ca.pem", "the address of 'redis:' has option 'ssl_ca_cert' that cannot be\n"),
        ("rediss://{}/0?ssl_ca_certs=nowhere.pem", "does not answer (a file that its address names is not there)\n"),
        ("rediss://{}/0", "does not answer (no answer in time)\n"),
    ],
)
def test_a_redis_that_is_asked_for_tls_in_a_way_that_cannot_be_is_a_sentence(
    tmp_path: Path, server: SandboxServer, address: str, said: str
) -> None:
    with redis(tmp_path, "noeviction") as url:  # which speaks none: it waits for the end of a line
        write_configuration(tmp_path, redis=address.format(url.split("/")[2]))
        ran = doctor(tmp_path, server)
    assert (ran.code, "Traceback" in ran.err) == (PROBLEMS, False)
    assert f"PROBLEM  redis: {said}" in ran.out


def test_a_broken_configuration_is_all_there_is_to_say(tmp_path: Path, server: SandboxServer) -> None:
    (tmp_path / "bridge.yaml").write_text("sources: {}\naccounts: 7\n")
    ran = doctor(tmp_path, server)
    assert ran.code == PROBLEMS
    assert all(line.startswith(("PROBLEM  config: bridge.yaml:", "    ")) for line in ran.out.splitlines())
