"""Alarms in the ledger, on both databases: what stands, and that each cause is told by one process."""

from datetime import timedelta

from sqlalchemy import text

from bridge.adapters.ledger import Claimed, Ledger
from bridge.domain.alarms import CauseKind
from bridge.domain.alert import Severity
from bridge.domain.delivery import PermanentFailure, Reason, TransientFailure
from tests.ledgers import ACCOUNT, claim, delivered, ends, fires, heartbeat, record, route, settle

WAITS = {ACCOUNT: timedelta(minutes=2)}
REFUSED = PermanentFailure(reason=Reason.BAD_REQUEST, detail="no")


def alive(ledger: Ledger) -> None:
    """A worker and a clock that beat."""
    for kind in ("worker", "clock"):
        ledger.heartbeat(heartbeat(kind))


def keys(ledger: Ledger) -> list[str]:
    return [cause.key for cause in ledger.alarms_standing(WAITS)]


def later(ledger: Ledger, by: timedelta) -> None:
    """Every alarm was told that much earlier."""
    us = by // timedelta(microseconds=1)
    with ledger.database.writing() as transaction:
        transaction.connection.execute(text(f"UPDATE alarms SET told_at = told_at - {us}"))


def waited(ledger: Ledger, by: timedelta) -> None:
    """Everything that waits has done so for that much longer."""
    us = by // timedelta(microseconds=1)
    with ledger.database.writing() as transaction:
        transaction.connection.execute(text(f"UPDATE deliveries SET created_at = created_at - {us}"))


def refuses(ledger: Ledger) -> None:
    """The upstream takes nothing of all that is due."""
    while isinstance(claimed := ledger.claim(ACCOUNT), Claimed):
        record(ledger, claimed, REFUSED)


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
        refuses(ledger)
        assert keys(ledger) == expected


def test_a_refused_key_parks_the_lane_and_is_an_alarm(ledger: Ledger) -> None:
    alive(ledger)
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), TransientFailure(reason=Reason.AUTH, detail="401"))
    assert keys(ledger) == [f"lane_parked:{ACCOUNT}"]


def test_what_waited_five_times_max_wait_is_an_alarm_and_what_is_held_back_on_purpose_is_none(ledger: Ledger) -> None:
    alive(ledger)
    settle(ledger, fires("a"))
    waited(ledger, timedelta(minutes=11))
    assert keys(ledger) == [f"long_wait:{ACCOUNT}"]
    assert ledger.alarms_standing({ACCOUNT: timedelta(minutes=5)}) == ()


def test_what_waits_for_an_account_that_is_not_configured_any_more_is_an_alarm(ledger: Ledger) -> None:
    alive(ledger)
    settle(ledger, fires("a"))
    renamed = {"new": timedelta(minutes=2)}
    reader = Ledger(ledger.database, {"new": route("new")})
    assert reader.alarms_standing(renamed) == ()
    waited(ledger, timedelta(minutes=11))
    (cause,) = reader.alarms_standing(renamed)
    assert (cause.key, "no account of that name" in cause.sentence) == (f"long_wait:{ACCOUNT}", True)


def test_a_dead_critical_of_an_account_that_is_not_configured_any_more_is_an_alarm(ledger: Ledger) -> None:
    alive(ledger)
    settle(ledger, fires("a", severity=Severity.CRITICAL))
    refuses(ledger)
    reader = Ledger(ledger.database, {"new": route("new")})
    assert [cause.key for cause in reader.alarms_standing({"new": timedelta(minutes=2)})] == [
        f"critical_dead:{ACCOUNT}"
    ]


def test_what_is_bound_to_names_that_are_not_configured_is_found(ledger: Ledger) -> None:
    settle(ledger, fires("open"))
    record(ledger, claim(ledger), delivered("P1"))
    settle(ledger, fires("waits"))
    assert (ledger.unconfigured([ACCOUNT]), ledger.unheard(["s"])) == ([], {})
    assert ledger.unconfigured(["new"]) == [{"account": ACCOUNT, "open": 1, "waiting": 1}]
    assert ledger.unheard(["renamed"]) == {"s": 2}
    settle(ledger, ends("open"), ends("waits"))
    (one,) = ledger.unconfigured(["new"])
    assert (one["open"], one["waiting"]) == (1, 1), "its resolve waits now, and the other was never sent"
    assert ledger.unheard(["renamed"]) == {}


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
