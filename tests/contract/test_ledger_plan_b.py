"""Plan B: a critical incident that its account cannot take is at another one as well, once, and both end together."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.schema import series
from bridge.domain import keys
from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import Action, PermanentFailure, Reason, TransientFailure, UnknownOutcome
from bridge.domain.incident import Incident
from bridge.domain.plan_b import PlanB
from tests.e2e.processes import eventually
from tests.ledgers import (
    MovedDatabase,
    claim,
    delivered,
    ends,
    fires,
    ledger_of,
    record,
    route,
    settle,
    states,
    waits_for_a_lock,
)

AFTER = timedelta(minutes=5)
OTHER = "other"
PLAN = PlanB(
    account=OTHER,
    after=AFTER,
    key_rule=KeyRule.WHILE_OPEN,
    title_field="title",
    body_field="body",
    scope_field="service",
    reads_body="body",
    defaults={"service": "Catch-all"},
)


class Pair:
    """A ledger with two accounts, one of which steps in for the other, and a clock that a test moves."""

    def __init__(self, url: str) -> None:
        self.database = MovedDatabase(url)
        self.routes = {"pd": route("pd", plan_b=PLAN), OTHER: route(OTHER)}
        self.ledger = ledger_of(self.database, **self.routes)

    def later(self, by: timedelta) -> Ledger:
        self.database.ahead += by
        return self.ledger


def critical(name: str, **changes: Any) -> Any:
    fields = {"title": f"{name} is down", "service": "S", "body": "all the details"}
    return fires(name, severity=Severity.CRITICAL, fields=fields, **changes)


def accounts(ledger: Ledger) -> list[tuple[str, str]]:
    """(account, state) of every incident, oldest first."""
    return [(one["account"], one["state"]) for one in reversed(ledger.incidents(limit=99).items)]


def test_a_critical_that_waits_too_long_is_at_plan_b_once(pair: Pair) -> None:
    settle(pair.ledger, critical("a"), fires("b"))
    assert pair.later(AFTER - timedelta(seconds=5)).plan_b_opened() == 0
    told: list[Incident] = []
    assert pair.later(timedelta(seconds=10)).plan_b_opened(told.append) == 1
    assert pair.ledger.plan_b_opened(told.append) == 0
    create = claim(pair.ledger, OTHER)
    (fresh,) = told
    assert (fresh.account, fresh.id) == (create.delivery.account, create.delivery.incident)
    assert pair.ledger.incident(fresh.stands_for or "") is not None
    assert create.delivery.action is Action.CREATE
    assert create.delivery.fields["title"] == "a is down"
    assert create.delivery.fields["service"] == "Catch-all"
    text = create.delivery.fields["body"]
    assert text.startswith("Sent here because account 'pd' has not taken it for 5 min.")
    assert "Severity: critical" in text
    assert text.endswith("all the details")


def test_the_two_name_each_other(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    pair.later(AFTER).plan_b_opened()
    other, own = pair.ledger.incidents(limit=9).items
    assert other["stands_for"] == own["id"]
    assert own["plan_b"] == {"incident": other["id"], "account": OTHER}
    assert (own["stands_for"], other["plan_b"]) == (None, None)
    shown = pair.ledger.incident(own["id"])
    assert shown is not None
    assert shown["plan_b"] == own["plan_b"]


@pytest.mark.parametrize("delivered_late", [False, True])
def test_both_are_resolved_when_the_problem_is_over(pair: Pair, delivered_late: bool) -> None:
    settle(pair.ledger, critical("a"))
    pair.later(AFTER).plan_b_opened()
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    if delivered_late:
        record(pair.ledger, claim(pair.ledger), delivered("A1"))
        assert pair.ledger.plan_b_opened() == 0
    settle(pair.ledger, ends("a"))
    resolve = claim(pair.ledger, OTHER)
    assert (resolve.delivery.action, resolve.delivery.upstream_id) == (Action.RESOLVE, "B1")
    assert accounts(pair.ledger) == [("pd", "resolving" if delivered_late else "cancelled"), (OTHER, "resolving")]


def test_over_before_plan_b_was_told_nobody_is(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    pair.later(AFTER).plan_b_opened()
    settle(pair.ledger, ends("a"))
    assert states(pair.ledger) == ["cancelled", "cancelled"]


def test_a_problem_that_joins_later_keeps_both_open(pair: Pair) -> None:
    settle(pair.ledger, critical("a", parts=("x",)))
    pair.later(AFTER).plan_b_opened()
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    settle(pair.ledger, critical("b", parts=("x",)))
    pair.ledger.plan_b_opened()
    settle(pair.ledger, ends("a"))
    assert accounts(pair.ledger) == [("pd", "pending"), (OTHER, "open")]
    settle(pair.ledger, ends("b"))
    assert accounts(pair.ledger) == [("pd", "cancelled"), (OTHER, "resolving")]


def test_a_paused_lane_does_not_let_a_critical_wait(pair: Pair) -> None:
    settle(pair.ledger, critical("a"), fires("b"))
    pair.ledger.paused("pd")
    assert pair.ledger.plan_b_opened() == 1
    assert "is paused by an operator" in claim(pair.ledger, OTHER).delivery.fields["body"]


@pytest.mark.parametrize(("reason", "opened"), [(Reason.AUTH, 1), (Reason.FORBIDDEN, 1), (Reason.RATE_LIMITED, 0)])
def test_a_lane_that_needs_a_person_goes_at_once_and_one_that_waits_a_while_does_not(
    pair: Pair, reason: Reason, opened: int
) -> None:
    settle(pair.ledger, critical("a"))
    record(pair.ledger, claim(pair.ledger), TransientFailure(reason=reason, detail="no"))
    assert pair.ledger.plan_b_opened() == opened


def test_what_is_known_to_wait_longer_than_allowed_goes_at_once(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    record(
        pair.ledger, claim(pair.ledger), TransientFailure(reason=Reason.RATE_LIMITED, detail="no", retry_after_s=600)
    )
    assert pair.ledger.plan_b_opened() == 1


def test_a_failing_upstream_goes_at_once(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    for _ in range(3):
        record(pair.ledger, claim(pair.ledger), TransientFailure(reason=Reason.NOT_CONNECTED, detail="no route"))
        pair.later(timedelta(seconds=1))
    assert pair.ledger.plan_b_opened() == 1


def test_a_critical_that_was_refused_for_good_goes_to_plan_b(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    record(pair.ledger, claim(pair.ledger), PermanentFailure(reason=Reason.REFUSED, detail="no"))
    assert pair.ledger.plan_b_opened() == 1
    assert settle(pair.ledger, critical("a")) == ["opened"], "the dead one is superseded"
    assert pair.later(AFTER).plan_b_opened() == 0, "plan B has it still"


def test_neither_two_clocks_nor_the_same_look_twice_make_two(pair: Pair, ledger_url: str) -> None:
    for name in "abcdef":
        settle(pair.ledger, critical(name))
    pair.later(AFTER)
    others = []
    for _ in range(3):
        database = MovedDatabase(ledger_url)
        database.ahead = pair.database.ahead
        others.append(ledger_of(database, **pair.routes))
    with ThreadPoolExecutor(4) as pool:
        opened = sum(pool.map(lambda one: one.plan_b_opened(), [pair.ledger, *others]))
    assert opened == 6
    assert sum(account == OTHER for account, _ in accounts(pair.ledger)) == 6
    for one in others:
        one.close()


def test_a_series_that_is_pruned_in_that_moment_is_made_anew(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    pair.later(AFTER)
    (incident,) = pair.ledger.incidents(limit=9).items
    known = {
        "id": keys.series(OTHER, PLAN.scope, ["plan_b", incident["series"]]),
        "account": OTHER,
        "scope": PLAN.scope,
    }
    with pair.database.writing() as transaction:
        transaction.connection.execute(insert(series).values(known | {"next_no": 7}))
    with ThreadPoolExecutor() as pool, ExitStack() as pruning:
        transaction = pruning.enter_context(pair.database.writing())
        of_it = series.c.id == known["id"]
        assert transaction.connection.execute(select(series.c.id).where(of_it).with_for_update()).scalar_one()
        opened = pool.submit(pair.ledger.plan_b_opened)
        if not pair.database.is_sqlite:
            eventually(lambda: waits_for_a_lock(pair.ledger), 5.0)
        transaction.connection.execute(delete(series).where(of_it))
        pruning.close()
        assert opened.result(10.0) == 1
    assert (OTHER, "pending") in accounts(pair.ledger)


def test_one_that_a_person_closed_at_plan_b_is_not_opened_there_again(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    pair.later(AFTER).plan_b_opened()
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    pair.later(timedelta(hours=7)).swept()
    check = claim(pair.ledger, OTHER)
    closed = delivered("B1")
    assert closed.reference is not None
    record(pair.ledger, check, type(closed)(reference=type(closed.reference)(id="B1", closed=True)))
    pair.later(timedelta(hours=2)).renewals_opened()
    assert pair.ledger.plan_b_opened() == 0
    assert accounts(pair.ledger)[1:] == [(OTHER, "resolved")]
    settle(pair.ledger, ends("a"))
    assert pair.ledger.claim(OTHER) is None


def test_the_second_that_stands_for_one_incident_has_a_key_of_its_own(pair: Pair) -> None:
    pair.ledger.routes["pd"] = replace(pair.ledger.routes["pd"], plan_b=replace(PLAN, key_rule=KeyRule.FOR_EVER))
    settle(pair.ledger, critical("a"))
    record(pair.ledger, claim(pair.ledger), UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer"))
    pair.later(AFTER).plan_b_opened()
    first = claim(pair.ledger, OTHER)
    record(pair.ledger, first, delivered("B1"))
    settle(pair.ledger, ends("a"))
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    settle(pair.ledger, critical("a"))
    assert pair.ledger.plan_b_opened() == 1
    second = claim(pair.ledger, OTHER)
    own = next(one["id"] for one in pair.ledger.incidents(limit=9).items if one["account"] == "pd")
    stem = first.delivery.key.rsplit("-", 1)[0]
    assert first.delivery.key == f"{stem}-{keys.episode(own, own, 0)}"
    assert second.delivery.key == f"{stem}-{keys.episode(own, own, 1)}"


def test_a_dead_letter_at_plan_b_is_not_in_the_way_of_the_next_episode(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    pair.later(AFTER).plan_b_opened()
    record(pair.ledger, claim(pair.ledger, OTHER), PermanentFailure(reason=Reason.REFUSED, detail="no"))
    assert pair.ledger.plan_b_opened() == 0, "it has been tried for this one"
    settle(pair.ledger, ends("a"))
    settle(pair.later(timedelta(hours=1)), critical("a"))
    assert pair.later(AFTER).plan_b_opened() == 1
    assert accounts(pair.ledger) == [("pd", "cancelled"), (OTHER, "dead"), ("pd", "pending"), (OTHER, "pending")]
    assert claim(pair.ledger, OTHER).delivery.action is Action.CREATE
    settle(pair.ledger, ends("a"))
    assert ("dead", "superseded by a new episode") in [
        (one["state"], one["reason"]) for one in pair.ledger.incidents(limit=9).items
    ]


def test_what_still_fires_in_a_dead_letter_at_plan_b_moves_to_the_one_in_its_place(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    record(pair.ledger, claim(pair.ledger), PermanentFailure(reason=Reason.REFUSED, detail="no"))
    pair.ledger.plan_b_opened()
    record(pair.ledger, claim(pair.ledger, OTHER), PermanentFailure(reason=Reason.REFUSED, detail="no"))
    assert settle(pair.ledger, critical("a")) == ["opened"], "the dead one is superseded"
    assert pair.later(AFTER).plan_b_opened() == 1
    inside = [one["members"] for one in pair.ledger.incidents(limit=9).items if one["account"] == OTHER]
    assert [[member["status"] for member in one] for one in inside] == [["firing"], ["resolved"]]


@pytest.mark.parametrize("when", ["waiting", "being sent", "not sent", "open"])
def test_one_that_a_person_resolved_at_plan_b_is_not_opened_there_again(pair: Pair, when: str) -> None:
    settle(pair.ledger, critical("a"))
    record(pair.ledger, claim(pair.ledger), UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer"))
    pair.later(AFTER).plan_b_opened()
    stands_in = next(one["id"] for one in pair.ledger.incidents(limit=9).items if one["account"] == OTHER)
    create = None if when == "waiting" else claim(pair.ledger, OTHER)
    if create is not None and when == "open":
        record(pair.ledger, create, delivered("B1"))
    pair.ledger.incident_resolved(stands_in)
    assert pair.ledger.plan_b_opened() == 0
    if create is not None and when == "being sent":
        record(pair.ledger, create, delivered("B1"))
    if create is not None and when == "not sent":
        record(pair.ledger, create, TransientFailure(reason=Reason.NOT_CONNECTED, detail="no route"))
    if when in ("being sent", "open"):
        resolve = claim(pair.ledger, OTHER)
        assert resolve.delivery.action is Action.RESOLVE
        record(pair.ledger, resolve, delivered("B1"))
    assert pair.later(timedelta(minutes=5)).plan_b_opened() == 0
    assert pair.ledger.claim(OTHER) is None
    (found,) = [one for one in pair.ledger.incidents(limit=9).items if one["account"] == OTHER]
    assert found["reason"] == "resolved_by_hand"


def test_one_that_ended_with_its_incident_by_hand_does_not_keep_what_fires_again_from_plan_b(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    create = claim(pair.ledger)
    pair.later(AFTER).plan_b_opened()
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    pair.ledger.incident_resolved(create.delivery.incident)
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    settle(pair.ledger, critical("a"))
    record(pair.ledger, create, UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer"))
    assert pair.ledger.plan_b_opened() == 1


def test_an_account_without_plan_b_is_asked_nothing(ledger: Ledger) -> None:
    settle(ledger, critical("a"))
    ledger.paused("pd")
    assert ledger.plan_b_opened() == 0


def test_an_alarm_of_the_account_names_its_plan_b(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    record(pair.ledger, claim(pair.ledger), TransientFailure(reason=Reason.AUTH, detail="no"))
    waits = {"pd": timedelta(minutes=2), OTHER: timedelta(minutes=2)}
    (parked,) = [cause for cause in pair.ledger.alarms_standing(waits) if cause.about == "pd"]
    assert parked.sentence.endswith(f"; critical incidents go to '{OTHER}' as well")
