"""Ingest and workers at once, in processes of their own, while incidents fold, end and go by themselves again."""

import multiprocessing
import random
import time
from datetime import timedelta
from typing import Any

from bridge.adapters.ledger import Claimed, Ledger
from bridge.domain.alert import Severity
from bridge.domain.delivery import PermanentFailure, Reason
from bridge.domain.errors import LedgerUnavailable
from tests.contract.test_ledger_folding import FORM
from tests.ledgers import ACCOUNT, MovedDatabase, delivered, ends, finished, fires, ledger_of, pace, route, settle

SPAWN = multiprocessing.get_context("spawn")
ROUNDS = 40
PROBLEMS = 40


def opened(database: MovedDatabase) -> Ledger:
    quick = pace(interval=timedelta(milliseconds=50), burst=2, max_wait=timedelta(milliseconds=200))
    return ledger_of(database, **{ACCOUNT: route(of=quick, fold=FORM)})


def ingests(url: str, seed: int, failures: Any) -> None:
    chance = random.Random(seed)
    ledger = opened(MovedDatabase(url))
    try:
        for _ in range(ROUNDS):
            names = chance.sample(range(PROBLEMS), 10)
            severity = chance.choice(tuple(Severity))
            report = [fires(f"x{n}", severity=severity) if chance.random() < 0.6 else ends(f"x{n}") for n in names]
            settle(ledger, *report)
        failures.put(None)
    except LedgerUnavailable as busy:
        failures.put(repr(busy))
    finally:
        ledger.close()


def works(url: str, stop: Any, failures: Any) -> None:
    ledger = opened(MovedDatabase(url))
    number = 0
    try:
        while not stop.is_set():
            found = ledger.claim(ACCOUNT)
            if not isinstance(found, Claimed):
                time.sleep(0.005)
                continue
            number += 1
            refused = PermanentFailure(reason=Reason.REFUSED, detail="HTTP 418")
            result = refused if number % 7 == 0 else delivered(f"P-{found.delivery.id}")
            ledger.record(finished(found, result), claim_next=False)
        failures.put(None)
    finally:
        ledger.close()


def test_ingest_and_workers_fold_at_once_and_lose_nobody(ledger_url: str) -> None:
    database = MovedDatabase(ledger_url)
    ledger = opened(database)
    failures: Any = SPAWN.Queue()
    stop = SPAWN.Event()
    senders = [SPAWN.Process(target=ingests, args=(ledger_url, seed, failures)) for seed in range(2)]
    workers = [SPAWN.Process(target=works, args=(ledger_url, stop, failures)) for _ in range(2)]
    for one in (*senders, *workers):
        one.start()
    for one in senders:
        one.join(timeout=120)
    stop.set()
    for one in workers:
        one.join(timeout=60)
    assert [failures.get(timeout=5) for _ in range(4)] == [None] * 4
    assert folded_ever(ledger) > 0, "the storm was too small"

    settle(ledger, *(ends(f"x{number}") for number in range(PROBLEMS)))
    quiet = 0
    while quiet < 10:
        found = ledger.claim(ACCOUNT)
        quiet = 0 if isinstance(found, Claimed) else quiet + 1
        if isinstance(found, Claimed):
            ledger.record(finished(found, delivered(f"P-{found.delivery.id}")), claim_next=False)
        else:
            database.ahead += timedelta(seconds=1)  # a note gathers for five
    left = [one for one in every_incident(ledger) if one["state"] not in ("resolved", "cancelled", "dead")]
    assert [(one["id"], one["state"], one["carrier"]) for one in left] == []
    ledger.close()


def every_incident(ledger: Ledger) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    before = None
    while True:
        page = ledger.incidents(limit=500, before=before)
        found += [dict(one) for one in page.items]
        if page.next is None:
            return found
        before = page.next


def folded_ever(ledger: Ledger) -> int:
    return sum(one["carrier"] is not None for one in every_incident(ledger))
