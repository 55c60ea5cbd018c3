"""Ledgers for tests: real databases, both kinds, and short words for the values that go in."""

import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from bridge.adapters.ledger import Claimed, Finished, Heartbeat, Ledger, Receipt, Recorded, Route, receipt
from bridge.adapters.ledger.engine import Database
from bridge.adapters.ledger.upgrade import upgrade
from bridge.domain import keys
from bridge.domain.alert import Alert, Severity, Status
from bridge.domain.decision import Decided, Decision, KeyRule, Mode, Policy
from bridge.domain.delivery import AttemptResult, Delivered, NameRef, Reference
from bridge.domain.lane import Pace

ACCOUNT = "pd"


def pace(**changes: Any) -> Pace:
    """A pace nothing waits for, unless changed."""
    plain: dict[str, Any] = {
        "interval": timedelta(microseconds=1),
        "burst": 100,
        "reserve": 0,
        "update_interval": timedelta(microseconds=1),
        "promote_after": timedelta(seconds=60),
        "give_up_after": timedelta(hours=24),
    }
    return Pace(**{**plain, **changes})


class MovedDatabase(Database):
    """A database whose clock is as far ahead as a test says."""

    ahead = timedelta(0)

    def now(self, connection: Connection) -> datetime:
        return super().now(connection) + self.ahead


def open_ledger(url: str, **paces: Pace) -> Ledger:
    """A ledger with one account per pace (default: `pd`)."""
    chosen = paces or {ACCOUNT: pace()}
    return ledger_of(Database(url), **{name: route(name, one) for name, one in chosen.items()})


def ledger_of(database: Database, **routes: Route) -> Ledger:
    """A ledger with these accounts: what a process with another configuration would open."""
    upgrade(database)
    ledger = Ledger(database, routes)
    ledger.lanes_ensured()
    return ledger


def route(lane: str = ACCOUNT, of: Pace | None = None, **more: Any) -> Route:
    """An account's way into a lane."""
    return Route(lane=lane, pace=of or pace(), required=frozenset({"title", "service"}), **more)


def decision(fingerprint: str, **changes: Any) -> Decision:
    """What a rule would say of a firing alert."""
    account = changes.get("account", ACCOUNT)
    parts = changes.pop("parts", ("s", fingerprint))
    plain: dict[str, Any] = {
        "rule": "r",
        "account": account,
        "mode": Mode.LIVE,
        "severity": Severity.ERROR,
        "title": f"{fingerprint} is down",
        "series": keys.series(account, "S", parts),
        "scope": "S",
        "parts": parts,
        "marked": False,
        "key_text": None,
        "key_rule": KeyRule.WHILE_OPEN,
        "fields": {"title": f"{fingerprint} is down", "service": "S"},
        "names": (),
        "notes": (),
        "fold_key": "r",
        "fold_target": "t",
        "policy": Policy(),
    }
    return Decision(**{**plain, **changes})


def alert(fingerprint: str, status: Status = Status.FIRING, **changes: Any) -> Alert:
    plain: dict[str, Any] = {
        "source": "s",
        "source_type": "generic",
        "fingerprint": fingerprint,
        "status": status,
        "title": f"{fingerprint} is down",
        "payload": {"what": fingerprint},
    }
    return Alert(**{**plain, **changes})


def fires(fingerprint: str, *, episode: str | None = None, **changes: Any) -> Decided:
    """A firing report one rule decided."""
    reading = alert(fingerprint, episode=episode, severity=changes.get("severity"))
    return Decided(reading=reading, decisions=(decision(fingerprint, **changes),), matched=("r",))


def ends(fingerprint: str, status: Status = Status.RESOLVED) -> Decided:
    return Decided(reading=alert(fingerprint, status), matched=("r",))


def webhook(ledger: Ledger, *decided: Decided, delivery_id: str | None = None) -> Receipt:
    body = b'{"title": "x"}'
    return receipt(
        event_id=ledger.new_id(),
        source="s",
        received_at=datetime.now(UTC),
        headers={"content-type": "application/json"},
        body=body,
        packed_body=zlib.compress(body),
        delivery_id=delivery_id,
        decided=decided,
        book="h",
    )


def settle(ledger: Ledger, *decided: Decided) -> list[str]:
    """Settle one webhook; the outcome of each of its alerts."""
    results, _ = ledger.settle([webhook(ledger, *decided)])
    event = ledger.event(results[0].event_id)
    assert event is not None
    return [one["outcome"] for one in event["alerts"]]


def claim(ledger: Ledger, lane: str = ACCOUNT) -> Claimed:
    claimed = ledger.claim(lane)
    assert isinstance(claimed, Claimed), claimed
    return claimed


def record(ledger: Ledger, claimed: Claimed, result: AttemptResult) -> Recorded:
    recorded, _ = ledger.record(finished(claimed, result), claim_next=False)
    return recorded


def finished(claimed: Claimed, result: AttemptResult, jitter: float = 0.0) -> Finished:
    return Finished(
        claimed=claimed,
        call="POST /incidents",
        status=200,
        request_id=None,
        response="{}",
        duration_s=0.01,
        result=result,
        jitter=jitter,
    )


def delivered(upstream_id: str = "P1", **changes: Any) -> Delivered:
    return Delivered(reference=Reference(id=upstream_id, url=f"https://upstream.example/{upstream_id}"), **changes)


def states(ledger: Ledger) -> list[str]:
    """States of all incidents, oldest first."""
    return [one["state"] for one in reversed(ledger.incidents(limit=500).items)]


def told(ledger: Ledger) -> list[tuple[str, str]]:
    """(action, state) of every delivery, oldest first."""
    return [(one["action"], one["state"]) for one in reversed(ledger.deliveries(limit=500).items)]


def heartbeat(kind: str, number: int = 1) -> Heartbeat:
    """One of a process, as it gives it; the instant that counts is the ledger's."""
    now = datetime.now(UTC)
    return Heartbeat(process=f"{kind}@h:{number}", kind=kind, host="h", pid=number, started_at=now, beat_at=now)


def waits_for_a_lock(ledger: Ledger) -> bool:
    """Whether somebody waits for a row that another transaction has (PostgreSQL)."""
    with ledger.database.reading() as transaction:
        return bool(transaction.connection.exec_driver_sql("SELECT 1 FROM pg_locks WHERE NOT granted").scalar())


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder}/bridge.db"


def services(name: str = "S") -> NameRef:
    return NameRef(field="service", kind="service", text=name)
