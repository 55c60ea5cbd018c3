"""A ledger with a month of traffic in SQLite, written straight into its tables: what bench.pages looks through."""

import itertools
import json
import random
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger.engine import Database
from bridge.adapters.ledger.rows import policy_json
from bridge.adapters.ledger.schema import metadata
from bridge.adapters.ledger.upgrade import upgrade
from bridge.domain import keys
from bridge.domain.decision import Policy

SOURCES = ("datadog", "zendesk", "lab", "grafana", "sentry", "am")
WEIGHTS = (40, 5, 10, 20, 15, 10)
ACCOUNTS = ("pagerduty-prod", "incident-io")
RULES = tuple(f"rule-{number:02d}" for number in range(40))
OUTCOMES = ("opened", "joined", "duplicate", "resolving", "unmatched", "ignored")
OUTCOME_WEIGHTS = (20, 12, 40, 18, 6, 4)
SPAN = timedelta(days=30)
ROWS_AT_ONCE = 5_000
DEAD = 300  # of the newest creates
WAITING = 200
OPEN = 2_000
PROBLEMS = 50_000
AUDIT = 5_000
DAY_US = 86_400_000_000
POLICY = policy_json(Policy())
WORDS = (
    *("checkout", "latency", "above", "threshold", "disk", "full", "payments", "queue", "depth", "growing"),
    *("replica", "lag", "postgres", "timeout", "errors", "5xx", "rate", "memory", "pod", "restarts"),
)


@dataclass(slots=True)
class _Rows:
    """Rows by table, written when there are enough of them."""

    connection: sqlite3.Connection
    held: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)

    def add(self, table: str, **row: Any) -> None:
        names = self.columns.setdefault(table, [column.name for column in metadata.tables[table].columns])
        rows = self.held.setdefault(table, [])
        rows.append(tuple([row.get(name) for name in names]))
        if len(rows) >= ROWS_AT_ONCE:
            self.flush(table)

    def flush(self, table: str) -> None:
        marks = ", ".join("?" * len(self.columns[table]))
        names = ", ".join(f'"{name}"' for name in self.columns[table])
        self.connection.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', self.held[table])
        self.held[table].clear()

    def close(self) -> None:
        for table in self.held:
            self.flush(table)
        self.connection.commit()


def build(file: Path, number: int) -> None:
    """Write a ledger with so many events, the newest a second ago; a handful are open, waiting or dead."""
    database = Database(f"sqlite:///{file}")
    upgrade(database)
    database.close()
    with closing(sqlite3.connect(file)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        rows = _Rows(connection)
        _fill(rows, number)
        rows.close()
        connection.execute("PRAGMA journal_mode=WAL")


def _fill(rows: _Rows, number: int) -> None:
    chance = random.Random(7)
    now = datetime.now(UTC)
    step = SPAN / number
    bodies = [_body(chance, n) for n in range(200)]
    traces = [_trace(n) for n in range(len(RULES))]
    opened = 0
    opens_at = [chance.choices(OUTCOMES, OUTCOME_WEIGHTS)[0] for _ in range(number)]
    total = sum(1 for n, outcome in enumerate(opens_at) if outcome == "opened" and n % 500 != 499)
    for n, outcome in enumerate(opens_at):
        at = now - SPAN + step * n - timedelta(seconds=1)
        us = int(at.timestamp() * 1_000_000)
        source = chance.choices(SOURCES, WEIGHTS)[0]
        problem = n if n < PROBLEMS else chance.randrange(PROBLEMS)
        rejected = n % 500 == 499
        event = _id(at, n)
        body, size = bodies[n % len(bodies)]
        rows.add(
            "events", id=event, source=source, received_at=us, state="rejected" if rejected else "accepted",
            reason=f"{source}: not JSON" if rejected else None, delivery_key=f"{source}\n{n}" if n % 3 else None,
            headers='{"content-type":"application/json","user-agent":"a sender/1.0"}',
            body=body if n > number * 3 // 4 else None, body_bytes=size, alerts=0 if rejected else 1, book="a" * 64,
        )  # fmt: skip
        if rejected:
            continue
        rule = None if outcome == "unmatched" else RULES[(problem * 7) % len(RULES)]
        title = " ".join(chance.choices(WORDS, k=5)) + f" on host-{problem:05d}"
        incident = None
        if outcome == "opened":
            incident = _id(at, n, "1")
            _incident(rows, incident, n, us, at, title, rule or "", problem, total - opened, chance)
            opened += 1
        fingerprint = f"{source}:{problem:05d}"
        decision = {"rule": rule, "account": ACCOUNTS[problem % 2], "outcome": outcome, "reason": None}
        rows.add(
            "alerts", event_id=event, position=0, source=source, fingerprint=fingerprint, status="firing",
            severity=("critical", "error", "warning")[problem % 3], title=title, outcome=outcome, rule=rule,
            incident_id=incident, decisions=json.dumps([{**decision, "incident": incident, "series": "s"}]),
            document=_document(source, fingerprint, title, traces[problem % len(traces)]),
        )  # fmt: skip
        if n < PROBLEMS:
            rows.add(
                "problems", id=keys.problem_id(source, fingerprint), source=source, fingerprint=fingerprint,
                status="firing", updated_at=us,
            )  # fmt: skip
    for n in range(AUDIT):
        at = now - SPAN + SPAN / AUDIT * n
        rows.add(
            "audit", id=_id(at, n, "9"), at=int(at.timestamp() * 1_000_000), actor=f"person-{n % 7}", role="operate",
            how="session", action=("login", "pause", "resume", "replay")[n % 4], object="account pagerduty-prod",
            detail="{}", address="192.0.2.7",
        )  # fmt: skip


def _incident(
    rows: _Rows,
    incident: str,
    n: int,
    us: int,
    at: datetime,
    title: str,
    rule: str,
    problem: int,
    left: int,
    chance: Any,
) -> None:
    """One incident with its member, its create and, when it is over, its resolve. `left`: how many follow."""
    account = ACCOUNTS[problem % 2]
    state = "open" if left <= OPEN else "resolved"
    delivery = "delivered"
    if left <= WAITING:
        state = delivery = "pending"
    elif left <= WAITING + DEAD:
        state = delivery = "dead"
    live = state != "resolved"
    series = f"{n:064x}" if live else f"{problem:064x}"
    rows.add(
        "incidents", id=incident, account=account, series=series, scope="S", rule=rule, key=f"ib1-{n:040x}",
        key_rule="while_open", episode_id=incident, episode_n=0, state=state, live=live, severity="error", title=title,
        policy=POLICY, firing=int(live), acknowledged=False, claimed=True, resolve_claimed=not live,
        upstream_id=None if state in ("pending", "dead") else f"P{n:07d}",
        upstream_url=None if state in ("pending", "dead") else f"https://example.pagerduty.com/incidents/P{n:07d}",
        opened_at=us, confirmed_at=us, resolved_at=None if live else us + 600_000_000, folded=0,
    )  # fmt: skip
    rows.add(
        "members", incident_id=incident, problem_id=f"p{problem}", source="lab", fingerprint=f"lab:{problem:05d}",
        firing=live, severity="error", title=title, joined_at=us, left_at=None if live else us + 600_000_000,
    )  # fmt: skip
    for number, action in enumerate(("create",) if live else ("create", "resolve")):
        begun = us + 600_000_000 * number
        done = None if delivery == "pending" else begun + chance.randrange(20_000, 60_000_000)
        identity = _id(at, n, "2" if number == 0 else "3")
        rows.add(
            "deliveries", id=identity, incident_id=incident, series=series if live else f"{n:064x}", no=number,
            lane=account, account=account, action=action, phase="send", state=delivery, order_key=begun,
            reason="bad_request" if delivery == "dead" else None,
            detail=f"Service is invalid (rule {rule})" if delivery == "dead" else None, next_at=begun, created_at=begun,
            give_up_at=begun + 90 * DAY_US, first_attempt_at=None if done is None else done - 10_000, done_at=done,
            attempts=0 if done is None else 1, sent=done is not None, strikes=0, key=f"ib1-{n:040x}",
            fields=json.dumps({"v": 1, "fields": {"title": title, "service": "S", "body": title * 4}}), names="[]",
            ids="{}", notes="[]", **{"class": "create" if number == 0 else "update"},
        )  # fmt: skip
        if done is not None:
            rows.add(
                "attempts", delivery_id=identity, no=1, at=done - 10_000, call="POST /incidents", status=201,
                reason="bad_request" if delivery == "dead" else None, duration_s=0.18, request_id=f"r{n}",
                response=json.dumps({"incident": {"id": f"P{n:07d}", "status": "triggered"}}),
            )  # fmt: skip


def _id(at: datetime, number: int, kind: str = "0") -> str:
    return f"{earliest_at(at)[:10]}{kind}{number:015d}"


def _body(chance: Any, number: int) -> tuple[bytes, int]:
    text = json.dumps(
        {"id": number, "title": " ".join(chance.choices(WORDS, k=300)), "value": chance.random()}
    ).encode()
    return zlib.compress(text, 1), len(text)


def _trace(number: int) -> list[dict[str, Any]]:
    failed = {"condition": "labels.team", "wanted": "db", "actual": "checkout"}
    tried = [{"rule": rule, "matched": False, "failed": failed} for rule in itertools.islice(RULES, number)]
    return [*tried[:12], {"rule": RULES[number], "matched": True, "failed": None}]


def _document(source: str, fingerprint: str, title: str, trace: list[dict[str, Any]]) -> str:
    alert: dict[str, Any] = {
        "source": source, "source_type": "generic", "fingerprint": fingerprint, "episode": None, "reported_at": None,
        "status": "firing", "severity": "error", "title": title, "description": title * 2,
        "labels": {"host": fingerprint, "env": "prod", "team": "checkout"}, "links": [], "starts_at": None,
        "ends_at": None,
    }  # fmt: skip
    return json.dumps({"alert": alert, "tried": trace}, separators=(",", ":"))


def sample(file: Path) -> Iterator[tuple[str, str]]:
    """Ids of things that pages are about: a name for the place they stand in a path, and the id."""
    with closing(sqlite3.connect(file)) as connection:
        for name, table, where in (
            ("event", "events", "alerts = 1"),
            ("incident", "incidents", "state = 'resolved'"),
            ("delivery", "deliveries", "state = 'dead'"),
        ):
            found = connection.execute(f"SELECT id FROM {table} WHERE {where} ORDER BY id DESC LIMIT 1").fetchone()
            yield name, found[0]
        middle = "SELECT id FROM events ORDER BY id LIMIT 1 OFFSET (SELECT count(*) / 2 FROM events)"
        yield "middle", connection.execute(middle).fetchone()[0]
        yield "key", connection.execute("SELECT key FROM incidents ORDER BY id LIMIT 1").fetchone()[0]
        yield "fingerprint", connection.execute("SELECT fingerprint FROM alerts LIMIT 1").fetchone()[0]
