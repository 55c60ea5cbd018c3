"""Our `open` is a belief: checks, what follows when a person closed an incident, and the sweep."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import event

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.engine import Database
from bridge.domain.decision import KeyRule, OnResolve, Policy
from bridge.domain.delivery import Action, Delivered, KeyIsOpen, PermanentFailure, Reason, Reference
from bridge.domain.incident import Incident
from bridge.domain.truth import LOOK_BACK_AFTER, LOOK_EVERY, Trust, looks_per_round
from tests.ledgers import (
    ACCOUNT,
    MovedDatabase,
    claim,
    delivered,
    ends,
    fires,
    ledger_of,
    pace,
    record,
    route,
    settle,
    states,
    told,
)

HOUR = timedelta(hours=1)
TRUST = Trust(confirm_open=HOUR, respect_human_close=HOUR)


class Moved:
    """A ledger whose clock a test moves."""

    def __init__(self, url: str) -> None:
        self.database = MovedDatabase(url)
        self.ledger = ledger_of(self.database, **{ACCOUNT: route(trust=TRUST)})

    def later(self, by: timedelta) -> Ledger:
        self.database.ahead += by
        return self.ledger

    def now(self) -> datetime:
        return self.ledger.time()


def opened(ledger: Ledger, *names: str, upstream_id: str = "P1", **changes: object) -> None:
    """An incident that is open upstream, with these problems."""
    for name in names:
        settle(ledger, fires(name, parts=("x",), **changes))
    record(ledger, claim(ledger), delivered(upstream_id))


def there(closed_at: datetime | None = None, *, closed: bool = True, upstream_id: str = "P1") -> Delivered:
    return Delivered(reference=Reference(id=upstream_id, closed=closed, changed_at=closed_at))


def checks(ledger: Ledger) -> int:
    return sum(action == "check" for action, _ in told(ledger))


# -- when it is asked


def test_a_report_on_an_incident_that_was_seen_open_lately_asks_nothing(moved: Moved) -> None:
    opened(moved.ledger, "a")
    assert settle(moved.later(timedelta(minutes=59)), fires("a", parts=("x",))) == ["duplicate"]
    assert checks(moved.ledger) == 0


@pytest.mark.parametrize("again", ["a", "b"], ids=["repeated", "joining"])
def test_reports_on_a_doubtful_incident_ask_once(moved: Moved, again: str) -> None:
    opened(moved.ledger, "a")
    moved.later(2 * HOUR)
    for _ in range(3):
        settle(moved.ledger, fires(again, parts=("x",)))
    assert checks(moved.ledger) == 1
    check = claim(moved.ledger)
    assert (check.delivery.action, check.delivery.upstream_id) == (Action.CHECK, "P1")


def test_seen_open_it_is_believed_for_another_while(moved: Moved) -> None:
    opened(moved.ledger, "a")
    settle(moved.later(2 * HOUR), fires("a", parts=("x",)))
    record(moved.ledger, claim(moved.ledger), there(closed=False))
    settle(moved.later(timedelta(minutes=59)), fires("a", parts=("x",)))
    assert (checks(moved.ledger), states(moved.ledger)) == (1, ["open"])
    settle(moved.later(timedelta(minutes=2)), fires("a", parts=("x",)))
    assert checks(moved.ledger) == 2


def test_a_check_holds_up_no_resolve_and_is_not_made_after_it(moved: Moved) -> None:
    opened(moved.ledger, "a")
    settle(moved.later(2 * HOUR), fires("a", parts=("x",)))
    settle(moved.ledger, ends("a"))
    first, second = claim(moved.ledger), None
    record(moved.ledger, first, there(closed=False))
    second = claim(moved.ledger)
    record(moved.ledger, second, delivered())
    assert [first.delivery.action, second.delivery.action] == [Action.CHECK, Action.RESOLVE]
    assert states(moved.ledger) == ["resolved"]


def test_a_check_that_is_refused_is_no_letter_and_not_asked_again_by_every_report(moved: Moved) -> None:
    opened(moved.ledger, "a")
    settle(moved.later(2 * HOUR), fires("a", parts=("x",)))
    refused = PermanentFailure(reason=Reason.PAYMENT_REQUIRED, detail="no")
    assert record(moved.ledger, claim(moved.ledger), refused).state == "cancelled"
    settle(moved.later(2 * HOUR), fires("a", parts=("x",)))
    assert checks(moved.ledger) == 1
    moved.later(LOOK_EVERY)
    assert moved.ledger.swept() == 1


# -- closed there


def test_closed_long_ago_it_ends_and_the_report_opens_the_next_at_once(moved: Moved) -> None:
    opened(moved.ledger, "a")
    moved.later(3 * HOUR)
    settle(moved.ledger, fires("a", parts=("x",), fields={"title": "a is down, still", "service": "S"}))
    record(moved.ledger, claim(moved.ledger), there(moved.now() - 2 * HOUR))
    assert states(moved.ledger) == ["resolved", "pending"]
    old = moved.ledger.incidents(limit=9).items[1]
    assert old["reason"] == "closed_upstream"
    create = claim(moved.ledger)
    assert create.delivery.fields["title"] == "a is down, still"
    record(moved.ledger, create, delivered("P2"))
    settle(moved.ledger, ends("a"))
    assert claim(moved.ledger).delivery.upstream_id == "P2"


def test_closed_lately_nobody_is_paged_again_until_the_window_ends(moved: Moved) -> None:
    opened(moved.ledger, "a")
    moved.later(3 * HOUR)
    settle(moved.ledger, fires("a", parts=("x",)))
    record(moved.ledger, claim(moved.ledger), there(moved.now() - timedelta(minutes=20)))
    assert states(moved.ledger) == ["resolved"]
    assert settle(moved.ledger, fires("a", parts=("x",)), fires("b", parts=("x",))) == ["duplicate", "joined"]
    assert moved.later(timedelta(minutes=39)).renewals_opened() == 0
    (closed,) = moved.ledger.incidents(limit=9).items
    told: list[Incident] = []
    assert moved.later(timedelta(minutes=2)).renewals_opened(told.append) == 1
    assert moved.ledger.renewals_opened(told.append) == 0
    assert [(one.account, one.id) for one in told] == [("pd", closed["id"])]
    assert states(moved.ledger) == ["resolved", "pending"]
    fresh = moved.ledger.incident(moved.ledger.incidents(limit=1).items[0]["id"])
    assert fresh is not None
    assert {one["fingerprint"]: one["status"] for one in fresh["members"]} == {"a": "firing", "b": "firing"}
    record(moved.ledger, claim(moved.ledger), delivered("P2"))
    settle(moved.ledger, ends("a"))
    assert states(moved.ledger) == ["resolved", "open"]
    settle(moved.ledger, ends("b"))
    assert states(moved.ledger) == ["resolved", "resolving"]


def test_over_before_the_window_ends_nobody_is_paged_again(moved: Moved) -> None:
    opened(moved.ledger, "a")
    settle(moved.later(3 * HOUR), fires("a", parts=("x",)))
    record(moved.ledger, claim(moved.ledger), there())
    assert settle(moved.ledger, ends("a")) == ["resolving"]
    assert moved.later(2 * HOUR).renewals_opened() == 0
    assert states(moved.ledger) == ["resolved"]
    assert settle(moved.ledger, fires("a", parts=("x",))) == ["opened"], "the same problem, later, is a new one"


def test_two_clocks_and_a_restart_open_one_new_episode(moved: Moved, ledger_url: str) -> None:
    opened(moved.ledger, "a")
    settle(moved.later(3 * HOUR), fires("a", parts=("x",)))
    record(moved.ledger, claim(moved.ledger), there())
    moved.later(2 * HOUR)
    other = MovedDatabase(ledger_url)
    other.ahead = moved.database.ahead
    second = ledger_of(other, **{ACCOUNT: route(trust=TRUST)})
    assert [second.renewals_opened(), moved.ledger.renewals_opened()] == [1, 0]
    assert states(moved.ledger) == ["resolved", "pending"]
    second.close()


def test_where_keys_are_spent_the_next_episode_has_its_own(moved: Moved) -> None:
    opened(moved.ledger, "a", key_rule=KeyRule.FOR_EVER, episode="e1")
    moved.later(3 * HOUR)
    settle(moved.ledger, fires("a", parts=("x",), key_rule=KeyRule.FOR_EVER, episode="e1"))
    record(moved.ledger, claim(moved.ledger), there(moved.now() - 2 * HOUR))
    first, second = (one["key"] for one in moved.ledger.incidents(limit=9).items)
    assert first != second


def test_what_was_to_be_told_to_a_closed_incident_is_not(moved: Moved) -> None:
    policy = Policy(hold_resolve=timedelta(minutes=10))
    opened(moved.ledger, "a", policy=policy)
    settle(moved.later(2 * HOUR), fires("a", parts=("x",)))
    check = claim(moved.ledger)
    settle(moved.ledger, ends("a"))
    record(moved.ledger, check, there())
    assert told(moved.ledger) == [("create", "delivered"), ("check", "delivered"), ("resolve", "cancelled")]
    assert states(moved.ledger) == ["resolved"]


def test_left_to_people_it_ends_when_people_end_it(moved: Moved) -> None:
    opened(moved.ledger, "a", policy=Policy(on_resolve=OnResolve.IGNORE))
    settle(moved.ledger, ends("a"))
    assert moved.later(LOOK_EVERY).swept() == 1
    record(moved.ledger, claim(moved.ledger), there(moved.now()))
    assert states(moved.ledger) == ["resolved"]
    assert moved.later(2 * HOUR).renewals_opened() == 0


def test_a_clock_that_jumped_back_does_not_prolong_the_peace(moved: Moved) -> None:
    moved.later(48 * HOUR)
    opened(moved.ledger, "a")
    settle(moved.later(3 * HOUR), fires("a", parts=("x",)))
    record(moved.ledger, claim(moved.ledger), there())
    assert moved.later(-24 * HOUR).renewals_opened() == 1


# -- the sweep


def test_each_open_incident_is_looked_at_once_in_some_hours(moved: Moved) -> None:
    opened(moved.ledger, "a")
    assert moved.ledger.swept() == 0
    assert moved.later(LOOK_EVERY).swept() == 1
    assert moved.later(timedelta(minutes=2)).swept() == 0, "it is asked already"
    record(moved.ledger, claim(moved.ledger), there(closed=False))
    assert moved.later(LOOK_EVERY - timedelta(minutes=5)).swept() == 0
    assert moved.later(timedelta(minutes=6)).swept() == 1


def test_a_report_does_not_ask_what_the_sweep_asks_already(moved: Moved) -> None:
    opened(moved.ledger, "a")
    moved.later(LOOK_EVERY).swept()
    settle(moved.ledger, fires("a", parts=("x",)))
    assert checks(moved.ledger) == 1


def test_closed_while_it_fires_it_opens_again_as_it_was_though_nobody_reports(moved: Moved) -> None:
    opened(moved.ledger, "a")
    moved.later(LOOK_EVERY).swept()
    record(moved.ledger, claim(moved.ledger), there(moved.now() - 2 * HOUR))
    assert claim(moved.ledger).delivery.fields["title"] == "a is down"


def test_a_look_waits_behind_everything_else_of_its_class(moved: Moved) -> None:
    opened(moved.ledger, "a")
    settle(moved.ledger, fires("b"))
    record(moved.ledger, claim(moved.ledger), delivered("P2"))
    moved.later(LOOK_EVERY).swept()
    settle(moved.later(timedelta(seconds=5)), ends("b"))
    assert claim(moved.ledger).delivery.action is Action.RESOLVE


def test_one_round_takes_a_small_share_of_the_updates_and_two_clocks_take_it_once(ledger_url: str) -> None:
    database = MovedDatabase(ledger_url)
    slow = pace(update_interval=timedelta(seconds=1))
    ledger = ledger_of(database, **{ACCOUNT: route(of=slow, trust=TRUST)})
    for name in "abcdefgh":
        settle(ledger, fires(name))
        record(ledger, claim(ledger), delivered(f"P-{name}"))
    database.ahead = LOOK_EVERY + HOUR
    assert looks_per_round(slow.update_interval) == 3
    assert [ledger.swept(), ledger.swept()] == [3, 0]
    database.ahead += timedelta(seconds=61)
    assert ledger.swept() == 3
    ledger.close()


def test_a_round_over_accounts_with_nothing_to_look_at_is_one_write_however_many_they_are(ledger_url: str) -> None:
    sent: list[list[str]] = []
    for number in (1, 200):
        ledger = ledger_of(Database(ledger_url), **{f"of-{number}-{n}": route(trust=TRUST) for n in range(number)})
        statements: list[str] = []
        event.listen(ledger.database.engine, "before_cursor_execute", lambda *given, to=statements: to.append(given[2]))
        assert ledger.swept() == 0
        first = len(statements)
        assert ledger.swept() == 0
        sent.append(statements[:first])
        assert [sql.split()[0] for sql in statements[first:] if "sweeps" in sql] == ["SELECT"]  # their round was now
        ledger.close()
    assert len(sent[0]) == len(sent[1])
    assert sum(sql.startswith("INSERT") for sql in sent[1]) == 1


def test_resolved_here_and_still_open_there_it_is_told_once_more(moved: Moved) -> None:
    opened(moved.ledger, "a")
    before = moved.now()
    settle(moved.later(timedelta(minutes=6)), ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered())
    assert moved.later(LOOK_BACK_AFTER + timedelta(seconds=5)).swept() == 1
    record(moved.ledger, claim(moved.ledger), there(before, closed=False))
    again = claim(moved.ledger)
    assert again.delivery.action is Action.RESOLVE
    record(moved.ledger, again, delivered())
    moved.later(LOOK_BACK_AFTER + timedelta(minutes=2)).swept()
    record(moved.ledger, claim(moved.ledger), there(before, closed=False))
    assert moved.ledger.claim(ACCOUNT) is None
    assert moved.ledger.incidents(limit=1).items[0]["reason"] == "reopened_upstream"


def test_what_the_next_episode_found_open_and_goes_on_in_is_not_resolved_once_more(moved: Moved) -> None:
    opened(moved.ledger, "a")
    before = moved.now()
    settle(moved.later(timedelta(minutes=6)), ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered())
    moved.later(LOOK_BACK_AFTER + timedelta(seconds=5)).swept()
    look = claim(moved.ledger)
    assert settle(moved.ledger, fires("a", parts=("x",))) == ["opened"]
    record(moved.ledger, look, there(before, closed=False))  # is told once more, behind the create
    assert told(moved.ledger)[-2:] == [("create", "pending"), ("resolve", "pending")]
    record(moved.ledger, claim(moved.ledger), KeyIsOpen(detail=""))
    record(moved.ledger, claim(moved.ledger), delivered("P1", adopted=True))
    assert states(moved.ledger) == ["resolved", "open"]
    assert moved.ledger.claim(ACCOUNT) is None, "its problem fires in what would be resolved"
    (resolve,) = [one for one in moved.ledger.deliveries(limit=9).items if one["state"] == "cancelled"]
    assert (resolve["action"], resolve["reason"]) == ("resolve", "superseded")


def test_resolved_here_and_opened_again_by_a_person_it_is_left_to_people(moved: Moved) -> None:
    opened(moved.ledger, "a")
    settle(moved.ledger, ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered())
    moved.later(LOOK_BACK_AFTER + timedelta(seconds=5)).swept()
    record(moved.ledger, claim(moved.ledger), there(moved.now(), closed=False))
    assert moved.ledger.claim(ACCOUNT) is None
    item = moved.ledger.incidents(limit=1).items[0]
    assert (item["state"], item["reason"]) == ("resolved", "reopened_upstream")
    assert moved.later(LOOK_EVERY).swept() == 0


def test_resolved_on_both_sides_it_is_looked_at_once(moved: Moved) -> None:
    opened(moved.ledger, "a")
    settle(moved.ledger, ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered())
    assert moved.later(timedelta(minutes=9)).swept() == 0, "what is shown there may lag behind"
    assert moved.later(timedelta(minutes=1, seconds=5)).swept() == 1
    record(moved.ledger, claim(moved.ledger), there(moved.now()))
    assert moved.later(LOOK_BACK_AFTER).swept() == 0
    assert states(moved.ledger) == ["resolved"]


def test_the_rows_say_who_was_asked_and_no_setting_is_needed_for_it(ledger_url: str) -> None:
    ledger = ledger_of(Database(ledger_url), pd=route())
    settle(ledger, fires("a"))
    assert ledger.swept() == 0
    ledger.close()
