"""Alarms in the ledger, on both databases: what stands, and that each cause is told by one process."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from bridge.adapters.ledger import Heartbeat, Ledger
from bridge.domain.alarms import CauseKind
from bridge.domain.alert import Severity
from bridge.domain.delivery import PermanentFailure, Reason, TransientFailure
from tests.ledgers import ACCOUNT, claim, fires, record, settle

WAITS = {ACCOUNT: timedelta(minutes=2)}
REFUSED = PermanentFailure(reason=Reason.BAD_REQUEST, detail="no")


def alive(ledger: Ledger) -> None:
    """A worker and a clock that beat."""
    now = datetime.now(UTC)
    for kind in ("worker", "clock"):
        ledger.heartbeat(Heartbeat(process=kind, kind=kind, host="h", pid=1, started_at=now, beat_at=now))


def keys(ledger: Ledger) -> list[str]:
    return [cause.key for cause in ledger.alarms_standing(WAITS)]


def later(ledger: Ledger, by: timedelta) -> None:
    """Every alarm was told that much earlier."""
    us = by // timedelta(microseconds=1)
    with ledger.database.writing() as transaction:
        transaction.connection.execute(text(f"UPDATE alarms SET told_at = told_at - {us}"))


def test_a_bridge_that_does_its_work_has_no_alarms(ledger: Ledger) -> None:
    alive(ledger)
    settle(ledger, fires("a"))
    assert keys(ledger) == []
    assert ledger.alarms_due(WAITS) == []


def test_a_ledger_where_nobody_beats_misses_both(ledger: Ledger) -> None:
    assert keys(ledger) == ["no_worker:", "no_clock:"]


def test_a_heartbeat_of_before_the_clock_jumped_back_hides_nobody_who_beats_now(ledger: Ledger) -> None:
    alive(ledger)
    with ledger.database.writing() as transaction:  # they were killed, and nobody took it back
        us = timedelta(days=8) // timedelta(microseconds=1)
        transaction.connection.execute(
            text(f"UPDATE heartbeats SET process = process || '.before', beat_at = beat_at + {us}")
        )
    assert keys(ledger) == ["no_worker:", "no_clock:"]
    alive(ledger)
    assert keys(ledger) == []
    with ledger.database.reading() as transaction:
        assert transaction.connection.execute(text("SELECT count(*) FROM heartbeats")).scalar() == 2, "and is forgotten"


def test_a_dead_critical_is_an_alarm_and_a_dead_error_is_none(ledger: Ledger) -> None:
    alive(ledger)
    for severity, expected in ((Severity.ERROR, []), (Severity.CRITICAL, [f"critical_dead:{ACCOUNT}"])):
        settle(ledger, fires(severity.value, severity=severity))
        while (claimed := ledger.claim(ACCOUNT)) is not None:
            record(ledger, claimed, REFUSED)  # type: ignore[arg-type]
        assert keys(ledger) == expected


def test_a_refused_key_parks_the_lane_and_is_an_alarm(ledger: Ledger) -> None:
    alive(ledger)
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), TransientFailure(reason=Reason.AUTH, detail="401"))
    assert keys(ledger) == [f"lane_parked:{ACCOUNT}"]


def test_what_waited_five_times_max_wait_is_an_alarm_and_what_is_held_back_on_purpose_is_none(ledger: Ledger) -> None:
    alive(ledger)
    settle(ledger, fires("a"))
    with ledger.database.writing() as transaction:
        us = timedelta(minutes=11) // timedelta(microseconds=1)
        transaction.connection.execute(text(f"UPDATE deliveries SET created_at = created_at - {us}"))
    assert keys(ledger) == [f"long_wait:{ACCOUNT}"]
    assert ledger.alarms_standing({ACCOUNT: timedelta(minutes=5)}) == ()


def test_each_cause_is_given_to_one_process_once_in_a_quarter_of_an_hour(ledger: Ledger) -> None:
    assert [cause.kind for cause in ledger.alarms_due(WAITS)] == [CauseKind.NO_WORKER, CauseKind.NO_CLOCK]
    assert ledger.alarms_due(WAITS) == []
    later(ledger, timedelta(minutes=14))
    assert ledger.alarms_due(WAITS) == []
    later(ledger, timedelta(minutes=1))
    assert len(ledger.alarms_due(WAITS)) == 2


def test_what_could_not_be_told_is_due_again_in_a_minute(ledger: Ledger) -> None:
    first, _ = ledger.alarms_due(WAITS)
    ledger.alarm_unsaid(first)
    assert ledger.alarms_due(WAITS) == []
    later(ledger, timedelta(minutes=1))
    assert ledger.alarms_due(WAITS) == [first]
