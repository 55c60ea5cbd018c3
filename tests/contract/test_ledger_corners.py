"""Corners where two features meet: folding, rises, plan B, checks, time. Nobody is lost there, nor told twice."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from bridge.adapters.ledger import Claimed, Ledger, pruning, world
from bridge.adapters.ledger.engine import WRITE
from bridge.adapters.ledger.schema import deliveries, series
from bridge.domain.alert import Severity, Status
from bridge.domain.decision import Change, Decided, OnResolve, Policy
from bridge.domain.delivery import (
    Action,
    Delivered,
    Delivery,
    KeyIsOpen,
    PermanentFailure,
    Reason,
    Reference,
    TransientFailure,
    UnknownOutcome,
)
from tests.contract.test_ledger_folding import DOWN, FORM, REFUSED, SLOT, Lane, behind, closed_by_a_person
from tests.contract.test_ledger_plan_b import AFTER, OTHER, PLAN, Pair, accounts, critical
from tests.contract.test_ledger_truth import Moved, checks, opened, there
from tests.ledgers import (
    ACCOUNT,
    MovedDatabase,
    alert,
    claim,
    decision,
    delivered,
    ends,
    fires,
    ledger_of,
    open_ledger,
    pace,
    record,
    route,
    settle,
    states,
    told,
)

LOST = UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer")
LIMITED = TransientFailure(reason=Reason.RATE_LIMITED, detail="429", retry_after_s=5)
FORBIDDEN = TransientFailure(reason=Reason.FORBIDDEN, detail="403")
RISE = Change(fields={"urgency": "high"}, names=(), notes=())


@pytest.fixture
def rising(moved: Moved) -> Moved:
    """An account whose incidents are told when they become more severe."""
    moved.ledger.routes[ACCOUNT] = replace(moved.ledger.routes[ACCOUNT], rises=frozenset({"urgency"}))
    return moved


class FoldingPair(Pair):
    """Two accounts, of which one folds and the other steps in for it."""

    def __init__(self, url: str) -> None:
        self.database = MovedDatabase(url)
        slow = pace(interval=SLOT, burst=2, reserve=0, max_wait=timedelta(seconds=60))
        self.routes = {ACCOUNT: route(ACCOUNT, slow, fold=FORM, plan_b=PLAN), OTHER: route(OTHER)}
        self.ledger = ledger_of(self.database, **self.routes)


def urgent(name: str, severity: Severity, **more: Any) -> Decided:
    fields = {"title": f"{name} is down", "service": "S", "urgency": "high" if severity is Severity.CRITICAL else "low"}
    return fires(name, severity=severity, parts=("x",), fields=fields, **more)


# -- severity


def test_a_folded_problem_that_becomes_critical_is_told_in_its_carrier(lane: Lane) -> None:
    behind(lane)
    settle(lane.ledger, fires("x7", severity=Severity.CRITICAL, rise=RISE))
    lane.later(timedelta(minutes=10))
    update = claim(lane.ledger)
    assert (update.delivery.action, update.delivery.fields) == (Action.UPDATE, {"urgency": "high"})


@pytest.mark.parametrize("name", ["x0", "x7"])
def test_a_carrier_that_was_put_back_goes_first_once_it_holds_a_critical(lane: Lane, name: str) -> None:
    lane.storm(20)
    carrier = lane.sends(LIMITED).delivery.incident
    settle(lane.ledger, fires(name, severity=Severity.CRITICAL, rise=RISE))
    with lane.database.reading() as transaction:
        of_carrier = deliveries.c.incident_id == carrier
        keys = select(deliveries.c.order_key).where(of_carrier, deliveries.c.action == Action.CREATE.value)
        assert transaction.connection.execute(keys).scalar_one() < 0
    lane.later(timedelta(minutes=10))
    assert lane.sends().delivery.fields["title"].startswith("20 alerts: ")
    assert claim(lane.ledger).delivery.action is Action.UPDATE


def test_a_folded_problem_that_became_critical_goes_out_so_when_it_goes_by_itself(lane: Lane) -> None:
    low = {"title": "t", "service": "S", "urgency": "low"}
    lane.storm(20, fields=low, severity=Severity.WARNING)
    lane.sends(LIMITED)
    settle(lane.ledger, fires("x7", severity=Severity.CRITICAL, fields={**low, "urgency": "high"}))
    lane.later(timedelta(seconds=70))
    lane.sends(REFUSED)
    assert claim(lane.ledger).delivery.fields["urgency"] == "high"


def test_a_new_episode_has_the_words_of_the_most_severe_that_fires(moved: Moved) -> None:
    settle(moved.ledger, urgent("crit", Severity.CRITICAL))
    record(moved.ledger, claim(moved.ledger), delivered("P1"))
    settle(moved.ledger, urgent("info", Severity.INFO))
    while (note := moved.later(timedelta(seconds=30)).claim(ACCOUNT)) is not None:
        record(moved.ledger, note, delivered("P1"))
    moved.later(timedelta(hours=5))
    settle(moved.ledger, urgent("info", Severity.INFO))
    record(moved.ledger, claim(moved.ledger), there(moved.now() - timedelta(hours=3)))
    assert claim(moved.ledger).delivery.fields["urgency"] == "high"


def test_what_a_person_closed_comes_back_as_severe_as_it_was(moved: Moved) -> None:
    settle(moved.ledger, urgent("crit", Severity.CRITICAL))
    closed = Delivered(reference=Reference(id="P1", closed=True))
    record(moved.ledger, claim(moved.ledger), closed)
    settle(moved.ledger, urgent("info", Severity.INFO))
    moved.later(timedelta(hours=2)).renewals_opened()
    assert claim(moved.ledger).delivery.fields["urgency"] == "high"


def test_what_fires_under_a_resolve_is_told_by_its_most_severe(moved: Moved) -> None:
    settle(moved.ledger, urgent("crit", Severity.CRITICAL))
    record(moved.ledger, claim(moved.ledger), delivered("P1"))
    settle(moved.ledger, Decided(reading=alert("crit", Status.RESOLVED), matched=("r",)))
    resolve = claim(moved.ledger)
    settle(moved.ledger, urgent("crit", Severity.CRITICAL))
    settle(moved.ledger, urgent("info", Severity.INFO))
    record(moved.ledger, resolve, delivered("P1"))
    assert claim(moved.ledger).delivery.fields["urgency"] == "high"


@pytest.mark.parametrize("how", ["sweep", "resend", "report"])
def test_what_was_told_to_be_more_severe_comes_back_so(rising: Moved, how: str) -> None:
    settle(rising.ledger, urgent("p", Severity.WARNING))
    record(rising.ledger, claim(rising.ledger), delivered("P1"))
    settle(rising.ledger, urgent("p", Severity.CRITICAL))
    update = claim(rising.ledger)
    record(rising.ledger, update, delivered("P1"))
    if how == "resend":
        rising.ledger.incident_resent(update.delivery.incident)
        record(rising.ledger, claim(rising.ledger), delivered("P1"))
    else:
        rising.later(timedelta(hours=6, minutes=1))
        rising.ledger.swept() if how == "sweep" else settle(rising.ledger, urgent("q", Severity.INFO))
        _looked_at(rising, there(rising.now() - timedelta(hours=3)))
    create = claim(rising.ledger)
    assert (create.delivery.action, create.delivery.fields["urgency"]) == (Action.CREATE, "high")


def test_what_was_refused_as_a_rise_is_not_said_again_in_a_new_episode(rising: Moved) -> None:
    settle(rising.ledger, urgent("p", Severity.WARNING))
    record(rising.ledger, claim(rising.ledger), delivered("P1"))
    settle(rising.ledger, urgent("p", Severity.CRITICAL))
    record(rising.ledger, claim(rising.ledger), PermanentFailure(reason=Reason.BAD_REQUEST, detail="no"))
    rising.later(timedelta(hours=6, minutes=1)).swept()
    _looked_at(rising, there(rising.now() - timedelta(hours=3)))
    assert claim(rising.ledger).delivery.fields["urgency"] == "low"


@pytest.mark.parametrize("reopens", [None, frozenset({"urgency"})], ids=["new episode", "reopened"])
def test_a_critical_that_follows_a_lesser_one_under_a_resolve_is_a_rise(
    rising: Moved, reopens: frozenset[str] | None
) -> None:
    rising.ledger.routes[ACCOUNT] = replace(rising.ledger.routes[ACCOUNT], reopens=reopens)
    settle(rising.ledger, urgent("crit", Severity.CRITICAL))
    record(rising.ledger, claim(rising.ledger), delivered("P1"))
    settle(rising.ledger, ends("crit"))
    resolve = claim(rising.ledger)
    settle(rising.ledger, urgent("info", Severity.INFO))
    record(rising.ledger, resolve, delivered("P1"))
    again = claim(rising.ledger)
    assert again.delivery.fields["urgency"] == "low"
    record(rising.ledger, again, delivered("P2"))
    settle(rising.ledger, urgent("crit", Severity.CRITICAL))
    update = claim(rising.ledger)
    assert (update.delivery.action, update.delivery.fields) == (Action.UPDATE, {"urgency": "high"})


def test_a_critical_that_comes_back_to_a_lesser_episode_is_a_rise(rising: Moved) -> None:
    settle(rising.ledger, urgent("crit", Severity.CRITICAL))
    record(rising.ledger, claim(rising.ledger), delivered("P1"))
    settle(rising.ledger, urgent("info", Severity.INFO), ends("crit"))
    settle(rising.later(timedelta(hours=5)), urgent("info", Severity.INFO))
    _looked_at(rising, there(rising.now() - timedelta(hours=3)))
    create = claim(rising.ledger)
    assert create.delivery.fields["urgency"] == "low"
    record(rising.ledger, create, delivered("P2"))
    settle(rising.ledger, urgent("crit", Severity.CRITICAL))
    assert claim(rising.ledger).delivery.fields == {"urgency": "high"}


def test_an_incident_that_was_reopened_lower_rises_again(rising: Moved) -> None:
    rising.ledger.routes[ACCOUNT] = replace(rising.ledger.routes[ACCOUNT], reopens=frozenset({"urgency"}))
    policy = Policy(reopen_within=timedelta(minutes=15))
    settle(rising.ledger, urgent("a", Severity.CRITICAL, policy=policy))
    record(rising.ledger, claim(rising.ledger), delivered("P1"))
    settle(rising.ledger, ends("a"))
    record(rising.ledger, claim(rising.ledger), delivered("P1"))
    settle(rising.later(timedelta(minutes=5)), urgent("a", Severity.WARNING, policy=policy))
    reopen = claim(rising.ledger)
    assert (reopen.delivery.action, reopen.delivery.fields) == (Action.REOPEN, {"urgency": "low"})
    record(rising.ledger, reopen, delivered("P1"))
    settle(rising.later(timedelta(minutes=5)), urgent("a", Severity.CRITICAL, policy=policy))
    assert claim(rising.ledger).delivery.fields == {"urgency": "high"}


@pytest.mark.parametrize("at_once", [True, False], ids=["in one webhook", "in the next"])
def test_a_critical_that_joins_while_the_upstream_is_asked_comes_back_critical(rising: Moved, at_once: bool) -> None:
    opened(rising.ledger, "a", severity=Severity.WARNING)
    rising.later(timedelta(hours=2))
    reports = urgent("b", Severity.WARNING), urgent("c", Severity.CRITICAL), urgent("d", Severity.INFO)
    for batch in [reports] if at_once else [[one] for one in reports]:
        settle(rising.ledger, *batch)
    _looked_at(rising, there(rising.now() - timedelta(hours=1, minutes=30)))
    create = claim(rising.ledger)
    assert (create.delivery.action, create.delivery.fields["urgency"]) == (Action.CREATE, "high")


def test_what_fires_in_a_folded_incident_under_its_carriers_resolve_is_told_by_its_most_severe(lane: Lane) -> None:
    carrier = _carrier_being_resolved(lane)
    of_x7 = {"parts": ("s", "x7"), "fields": {"title": "t", "service": "S", "urgency": "low"}}
    settle(lane.ledger, fires("x7", severity=Severity.CRITICAL, fields={**of_x7["fields"], "urgency": "high"}))
    settle(lane.ledger, fires("y7", severity=Severity.INFO, **of_x7))
    record(lane.ledger, carrier, delivered("P1"))
    lane.later(timedelta(minutes=1))
    assert claim(lane.ledger).delivery.fields["urgency"] == "high"


def test_a_critical_that_follows_a_lesser_one_under_its_carriers_resolve_is_a_rise(lane: Lane) -> None:
    carrier = _carrier_being_resolved(lane)
    settle(lane.ledger, fires("x7", severity=Severity.INFO))
    record(lane.ledger, carrier, delivered("P1"))
    lane.later(timedelta(minutes=1))
    lane.sends()
    settle(lane.ledger, fires("x7", severity=Severity.CRITICAL, rise=RISE))
    assert claim(lane.ledger).delivery.action is Action.UPDATE


def test_a_carrier_that_is_reopened_speaks_for_the_most_severe_that_it_carries(lane: Lane) -> None:
    of_lane = replace(lane.ledger.routes[ACCOUNT], rises=frozenset({"urgency"}), reopens=frozenset({"urgency"}))
    lane.ledger.routes[ACCOUNT] = of_lane
    carrier = _carrier_being_resolved(lane)
    fields = {"title": "t", "service": "S"}
    settle(lane.ledger, fires("x0", severity=Severity.INFO, fields={**fields, "urgency": "low"}))
    settle(lane.ledger, fires("x7", severity=Severity.CRITICAL, fields={**fields, "urgency": "high"}))
    record(lane.ledger, carrier, delivered("P1"))
    said = []
    while (found := lane.ledger.claim(ACCOUNT)) is not None:
        assert isinstance(found, Claimed)
        record(lane.ledger, found, delivered("P1"))
        said.append((found.delivery.action, found.delivery.fields.get("urgency")))
        lane.later(timedelta(minutes=1))
    assert said[-1][1] == "high", said


def _carrier_being_resolved(lane: Lane) -> Claimed:
    """The resolve of a carrier of criticals, on its way."""
    behind(lane, severity=Severity.CRITICAL)
    settle(lane.ledger, *(ends(f"x{n}") for n in range(20)))
    found = claim(lane.ledger)
    assert found.delivery.action is Action.RESOLVE
    return found


def _looked_at(moved: Moved, answer: Delivered) -> None:
    """Everything up to the check is delivered, and the check is answered so."""
    while (found := claim(moved.ledger)).delivery.action is not Action.CHECK:
        record(moved.ledger, found, delivered("P1"))
    record(moved.ledger, found, answer)


# -- what waits, and for how long


def test_what_goes_by_itself_after_a_day_in_another_incident_is_not_too_old(lane: Lane) -> None:
    behind(lane, 20)
    lane.later(timedelta(hours=30))
    lane.ledger.swept()
    closed_at = lane.ledger.time() - timedelta(hours=2)
    record(lane.ledger, claim(lane.ledger), Delivered(reference=Reference(id="P", closed=True, changed_at=closed_at)))
    lane.ledger.given_up()
    assert "dead" not in lane.states()
    assert claim(lane.ledger).delivery.action is Action.CREATE


def test_an_update_behind_a_create_that_is_replayed_is_not_too_old(ledger_url: str) -> None:
    database = MovedDatabase(ledger_url)
    ledger = ledger_of(database, **{ACCOUNT: route(rises=frozenset({"urgency"}))})
    settle(ledger, fires("a", parts=("x",)))
    create = claim(ledger)
    record(ledger, create, LOST)
    settle(ledger, fires("b", parts=("x",), severity=Severity.CRITICAL, rise=RISE))
    database.ahead += timedelta(hours=25)
    ledger.given_up()
    ledger.replayed(create.delivery.id)
    ledger.given_up()
    assert ("update", "pending") in told(ledger)
    ledger.close()


def test_one_forbidden_page_holds_up_no_other(moved: Moved) -> None:
    settle(moved.ledger, fires("a"))
    settle(moved.ledger, fires("b"))
    sent: list[str] = []
    for _ in range(12):
        found = moved.ledger.claim(ACCOUNT)
        if found is None:
            moved.later(timedelta(seconds=30))
            continue
        sent.append(found.delivery.fields["title"][0])
        record(moved.ledger, found, FORBIDDEN if sent[-1] == "a" else delivered("PB"))
    assert sent[:2] == ["a", "b"]
    assert sent.count("b") == 1
    assert sent.count("a") > 1


def test_many_forbidden_pages_hold_up_no_other(moved: Moved) -> None:
    settle(moved.ledger, *(fires(f"a{n}", severity=Severity.CRITICAL) for n in range(8)))
    sent = [_answered(moved, lambda one: one.action is Action.CREATE) for _ in range(20)]
    assert len(set(filter(None, sent))) == 8  # every one of them was tried
    settle(moved.ledger, fires("b", severity=Severity.WARNING))
    moved.later(timedelta(minutes=1))
    found = claim(moved.ledger)
    assert found.delivery.fields["title"] == "b is down"


def test_many_forbidden_notes_hold_up_no_resolve(moved: Moved) -> None:
    for n in range(8):
        settle(moved.ledger, fires(f"a{n}", parts=("x", n)))
        record(moved.ledger, claim(moved.ledger), delivered(f"P{n}"))
        settle(moved.ledger, fires(f"b{n}", parts=("x", n)))  # joins: a note
    opened(moved.ledger, "z")
    for _ in range(20):
        _answered(moved, lambda one: one.action is Action.NOTE)
    settle(moved.ledger, ends("z"))
    moved.later(timedelta(minutes=1))
    assert claim(moved.ledger).delivery.action is Action.RESOLVE


def test_a_forbidden_page_that_is_replayed_has_its_place_again(moved: Moved) -> None:
    settle(moved.ledger, fires("a"))
    for hours in (0, 23):
        record(moved.ledger, claim(moved.later(timedelta(hours=hours))), FORBIDDEN)
    moved.later(timedelta(hours=2)).given_up()
    (letter,) = moved.ledger.deliveries(state="dead", limit=9).items
    settle(moved.later(timedelta(minutes=2)), fires("b"))
    moved.ledger.replayed(letter["id"])
    assert claim(moved.ledger).delivery.id == letter["id"]


def _answered(moved: Moved, forbids: Callable[[Delivery], bool]) -> str | None:
    """A minute later the next one goes; answers which it was, if it was forbidden."""
    found = moved.later(timedelta(minutes=1)).claim(ACCOUNT)
    if found is None:
        return None
    assert isinstance(found, Claimed)
    forbidden = forbids(found.delivery)
    record(moved.ledger, found, FORBIDDEN if forbidden else delivered("P"))
    return found.delivery.id if forbidden else None


def test_what_was_forbidden_is_tried_again_at_once_when_somebody_may_have_mended_it(moved: Moved) -> None:
    settle(moved.ledger, fires("a"))
    for _ in range(3):
        record(moved.ledger, claim(moved.ledger), FORBIDDEN)
        moved.later(timedelta(minutes=6))
    record(moved.ledger, claim(moved.ledger), FORBIDDEN)
    moved.later(timedelta(seconds=70))  # its lane is free again, and it waits by itself
    assert moved.ledger.claim(ACCOUNT) is None
    assert moved.ledger.parked_probed() == {ACCOUNT}
    assert claim(moved.ledger).delivery.action is Action.CREATE


def test_an_incident_sent_again_waits_for_no_hold(moved: Moved) -> None:
    opened(moved.ledger, "a", policy=Policy(hold_resolve=timedelta(minutes=30)))
    moved.ledger.incident_resent(moved.ledger.incidents(limit=9).items[0]["id"])
    assert claim(moved.ledger).delivery.action is Action.RESOLVE


def test_what_is_sent_again_keeps_the_hold_of_its_rule(moved: Moved) -> None:
    opened(moved.ledger, "a", policy=Policy(hold_resolve=timedelta(minutes=30)))
    moved.ledger.incident_resent(moved.ledger.incidents(limit=9).items[0]["id"])
    for upstream_id in ("P1", "P2"):
        record(moved.ledger, claim(moved.ledger), delivered(upstream_id))
    settle(moved.ledger, ends("a"))
    assert moved.ledger.claim(ACCOUNT) is None
    assert claim(moved.later(timedelta(minutes=31))).delivery.action is Action.RESOLVE


def test_a_resolve_that_is_held_on_purpose_does_not_wait(moved: Moved) -> None:
    opened(moved.ledger, "a", policy=Policy(hold_resolve=timedelta(minutes=5)))
    settle(moved.ledger, ends("a"))

    def lane() -> tuple[int, float | None]:
        (item,) = moved.later(timedelta(minutes=3)).lanes({ACCOUNT: ("pagerduty", "12/min")})
        return item["waiting"], item["oldest_wait_s"]

    assert lane() == (0, None)
    waiting, oldest_s = lane()
    assert waiting == 1
    assert oldest_s is not None
    assert 50 < oldest_s < 70


# -- who is still there


def test_reports_of_folded_problems_ask_whether_the_carrier_is_open(lane: Lane) -> None:
    behind(lane)
    settle(lane.ledger, ends("x0"))
    for _ in range(4):
        lane.later(timedelta(minutes=30))
        settle(lane.ledger, *(fires(f"x{n}") for n in range(1, 20)))
    assert told(lane.ledger).count(("check", "pending")) == 1


def test_a_clock_that_was_ahead_ends_no_checks(moved: Moved) -> None:
    moved.database.ahead = timedelta(days=3)
    opened(moved.ledger, "a")
    moved.database.ahead = timedelta(0)
    settle(moved.later(timedelta(hours=2)), fires("a", parts=("x",)))
    assert checks(moved.ledger) == 1


def test_the_sweep_leaves_what_a_later_episode_took_over(moved: Moved) -> None:
    opened(moved.ledger, "a")
    settle(moved.later(timedelta(hours=1)), ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered("P1"))  # answered, and nothing changed
    settle(moved.later(timedelta(minutes=1)), fires("a", parts=("x",)))
    record(moved.ledger, claim(moved.ledger), KeyIsOpen(detail="open"))
    record(moved.ledger, claim(moved.later(timedelta(seconds=20))), delivered("P1", adopted=True))
    note = claim(moved.later(timedelta(minutes=15)))
    record(moved.ledger, note, delivered("P1"))
    assert note.delivery.action is Action.NOTE
    moved.ledger.swept()
    assert moved.ledger.claim(ACCOUNT) is None
    assert sorted(states(moved.ledger)) == ["open", "resolved"]


@pytest.mark.parametrize("how", [OnResolve.IGNORE, OnResolve.NOTE])
def test_what_fires_after_a_resolve_by_hand_cancels_that(moved: Moved, how: OnResolve) -> None:
    policy = Policy(on_resolve=how)
    settle(moved.ledger, fires("a", parts=("x",), policy=policy))
    create = claim(moved.ledger)
    moved.ledger.incident_resolved(create.delivery.incident)
    record(moved.ledger, create, delivered("P1"))
    assert settle(moved.ledger, fires("b", parts=("x",), policy=policy)) == ["joined"]
    assert ("resolve", "cancelled") in told(moved.ledger)
    settle(moved.ledger, ends("b"))
    assert states(moved.ledger) == ["open"]  # by the rule again


def test_a_carrier_that_comes_back_alone_lists_nobody_else(lane: Lane) -> None:
    closed_by_a_person(lane)
    settle(lane.ledger, *(ends(f"x{n}") for n in range(1, 20)))
    lane.later(timedelta(minutes=61))
    assert lane.ledger.renewals_opened() == 1
    assert lane.sends().delivery.fields["title"] == "x0 is down"


# -- plan B


def test_plan_b_of_a_carrier_is_open_for_all_it_carries(folding_pair: FoldingPair) -> None:
    ledger = folding_pair.ledger
    settle(ledger, *(critical(f"x{n}") for n in range(20)))
    record(ledger, claim(ledger), DOWN)
    folding_pair.later(AFTER)
    assert ledger.plan_b_opened() == 1
    record(ledger, claim(ledger, OTHER), delivered("B1"))
    settle(ledger, ends("x0"))
    assert ledger.claim(OTHER) is None
    settle(ledger, *(ends(f"x{n}") for n in range(1, 20)))
    assert claim(ledger, OTHER).delivery.action is Action.RESOLVE


def test_what_fires_again_is_at_plan_b_again(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    record(pair.ledger, claim(pair.ledger), LOST)
    assert pair.later(AFTER).plan_b_opened() == 1
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    settle(pair.ledger, ends("a"))
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    settle(pair.ledger, critical("a"))
    assert pair.later(AFTER).plan_b_opened() == 1
    assert pair.ledger.plan_b_opened() == 0
    assert claim(pair.ledger, OTHER).delivery.action is Action.CREATE


def test_plan_b_counts_who_left_and_came_back(pair: Pair) -> None:
    settle(pair.ledger, critical("a", parts=("x",)), critical("b", parts=("x",)))
    record(pair.ledger, claim(pair.ledger), LOST)
    pair.later(AFTER).plan_b_opened()
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    settle(pair.ledger, ends("a"))
    settle(pair.ledger, critical("a", parts=("x",)))
    pair.ledger.plan_b_opened()
    settle(pair.ledger, ends("b"))
    assert pair.ledger.claim(OTHER) is None
    settle(pair.ledger, ends("a"))
    assert claim(pair.ledger, OTHER).delivery.action is Action.RESOLVE


def test_who_resolves_an_incident_by_hand_resolves_its_plan_b(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    pair.later(AFTER).plan_b_opened()
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    own = next(one for one in pair.ledger.incidents(limit=9).items if one["account"] == ACCOUNT)
    assert OTHER in pair.ledger.incident_resolved(own["id"]).lanes
    assert accounts(pair.ledger) == [(ACCOUNT, "cancelled"), (OTHER, "resolving")]
    assert claim(pair.ledger, OTHER).delivery.action is Action.RESOLVE


def test_who_resolves_an_incident_by_hand_resolves_its_plan_b_at_the_same_time(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the process dies: after each transaction of its own there is nothing left to be done."""
    settle(pair.ledger, critical("a"))
    pair.later(AFTER).plan_b_opened()
    record(pair.ledger, claim(pair.ledger, OTHER), delivered("B1"))
    own = next(one for one in pair.ledger.incidents(limit=9).items if one["account"] == ACCOUNT)
    seen: list[list[tuple[str, str]]] = []
    written = pair.ledger._written

    def and_looks(work: Callable[[Any], Any]) -> Any:
        done = written(work)
        seen.append(accounts(pair.ledger))
        return done

    monkeypatch.setattr(pair.ledger, "_written", and_looks)
    pair.ledger.incident_resolved(own["id"])
    assert seen == [[(ACCOUNT, "cancelled"), (OTHER, "resolving")]]


def test_a_plan_b_that_is_resolved_already_is_in_nobodys_way(pair: Pair) -> None:
    settle(pair.ledger, critical("a"))
    pair.later(AFTER).plan_b_opened()
    create = claim(pair.ledger, OTHER)
    record(pair.ledger, create, delivered("B1"))
    pair.ledger.incident_resolved(create.delivery.incident)
    own = next(one for one in pair.ledger.incidents(limit=9).items if one["account"] == ACCOUNT)
    assert pair.ledger.incident_resolved(own["id"]).state == "cancelled"


def test_who_joins_plan_b_while_it_is_sent_keeps_it_open(pair: Pair) -> None:
    settle(pair.ledger, critical("a", parts=("x",)))
    record(pair.ledger, claim(pair.ledger), LOST)
    pair.later(AFTER).plan_b_opened()
    create = claim(pair.ledger, OTHER)
    settle(pair.ledger, ends("a"))
    settle(pair.ledger, critical("b", parts=("x",)))
    pair.ledger.plan_b_opened()
    record(pair.ledger, create, delivered("B1"))
    assert pair.ledger.claim(OTHER) is None
    assert accounts(pair.ledger)[1] == (OTHER, "open")


def test_a_recovery_and_plan_b_at_once_leave_nothing_open(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recovery has read what it ends, and is about to lock its series, when the clock opens another one."""
    pair, database = Pair(postgres_url), MovedDatabase(postgres_url)
    web = ledger_of(database, **pair.routes)
    settle(pair.ledger, critical("a"))
    pair.later(AFTER)
    database.ahead = pair.database.ahead
    reached, go = threading.Event(), threading.Event()
    original = world.lock_series

    def waits(*args: Any) -> None:
        reached.set()
        assert go.wait(20)
        original(*args)

    monkeypatch.setattr(world, "lock_series", waits)
    with ThreadPoolExecutor(2) as pool:
        recovery = pool.submit(settle, web, ends("a"))
        assert reached.wait(20)
        clock = pool.submit(pair.ledger.plan_b_opened)
        wait([clock], timeout=1)  # it waits for the problem that is recovering, or it has done its worst
        go.set()
        recovery.result(20)
        clock.result(20)
    monkeypatch.undo()
    while (found := pair.ledger.claim(OTHER)) is not None:
        record(pair.ledger, found, delivered("B1"))
    assert {state for _, state in accounts(pair.ledger)} <= {"cancelled", "resolved"}
    pair.ledger.close()
    web.close()


# -- what is kept


def test_an_incident_is_kept_for_its_time_after_its_end(moved: Moved) -> None:
    opened(moved.ledger, "a")
    settle(moved.later(timedelta(days=91)), ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered("P1"))
    moved.later(timedelta(seconds=20)).pruned(timedelta(days=7), timedelta(days=90))
    assert states(moved.ledger) == ["resolved"]
    moved.later(timedelta(days=91)).pruned(timedelta(days=7), timedelta(days=90))
    assert states(moved.ledger) == []


def _rows(ledger: Ledger, table: str) -> int:
    with ledger.database.reading() as transaction:
        return int(transaction.connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_nothing_is_left_of_a_problem_whose_history_is_over(moved: Moved) -> None:
    for number in range(3):
        settle(moved.ledger, fires(f"a {number}"))
        record(moved.ledger, claim(moved.ledger), delivered(f"P{number}"))
    moved.later(timedelta(days=91)).pruned(timedelta(days=7), timedelta(days=90))
    assert _rows(moved.ledger, "problems") == _rows(moved.ledger, "series") == 3, "they fire"
    settle(moved.ledger, ends("a 0"))
    for one in moved.ledger.incidents(limit=2).items:
        moved.ledger.incident_resolved(one["id"])
    while (found := moved.ledger.claim(ACCOUNT)) is not None:
        record(moved.ledger, found, delivered())
    moved.later(timedelta(days=91)).pruned(timedelta(days=7), timedelta(days=90))
    assert states(moved.ledger) == []
    left = {table: _rows(moved.ledger, table) for table in ("events", "problems", "series", "members", "deliveries")}
    assert set(left.values()) == {0}, left
    assert settle(moved.ledger, fires("a 0")) == ["opened"]


def test_old_looks_at_an_incident_that_stays_open_are_let_go(moved: Moved) -> None:
    opened(moved.ledger, "a")
    for _ in range(3):
        assert moved.later(timedelta(days=40)).swept() == 1
        record(moved.ledger, claim(moved.ledger), there(closed=False))
    moved.ledger.pruned(timedelta(days=7), timedelta(days=90))
    assert told(moved.ledger) == [("create", "delivered")] + 3 * [("check", "delivered")]
    moved.later(timedelta(days=40)).swept()
    moved.ledger.pruned(timedelta(days=7), timedelta(days=90))
    assert told(moved.ledger) == [("create", "delivered")] + 2 * [("check", "delivered")] + [("check", "pending")]
    assert _rows(moved.ledger, "attempts") == 3
    assert states(moved.ledger) == ["open"]


def test_old_looks_are_looked_for_while_others_write(moved: Moved) -> None:
    looked: list[bool] = []  # whether under the lock that everybody writes by

    def sent(connection: Connection, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("SELECT deliveries.id") and "deliveries.done_at <" in statement:
            looked.append(connection.get_execution_options().get(WRITE, False))

    opened(moved.ledger, "a")
    ledger = moved.later(timedelta(days=91))
    event.listen(ledger.database.engine, "before_cursor_execute", sent)
    ledger.pruned(timedelta(days=7), timedelta(days=90))
    event.remove(ledger.database.engine, "before_cursor_execute", sent)
    assert looked == [False]


def test_incidents_past_their_time_are_looked_for_while_others_write(moved: Moved) -> None:
    looked: list[bool] = []  # whether under the lock that everybody writes by

    def sent(connection: Connection, _cursor: Any, statement: str, *_more: Any) -> None:
        if "incidents.live IS" in statement and "incidents.id IN" not in statement:
            looked.append(connection.get_execution_options().get(WRITE, False))

    opened(moved.ledger, "a")
    settle(moved.ledger, ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered("P1"))
    ledger = moved.later(timedelta(days=98))
    event.listen(ledger.database.engine, "before_cursor_execute", sent)
    ledger.pruned(timedelta(days=7), timedelta(days=90))
    event.remove(ledger.database.engine, "before_cursor_execute", sent)
    assert looked == [False]
    assert states(ledger) == []


def test_between_two_steps_of_a_pruning_others_are_let_in(moved: Moved, ledger_url: str) -> None:
    for number in range(pruning.STEP_EVENTS + 1):
        settle(moved.ledger, fires(f"a {number}"))
    other = open_ledger(ledger_url)
    rests: list[list[str]] = []

    def rest(_seconds: float) -> None:
        rests.append(settle(other, fires(f"b {len(rests)}")))

    ledger = moved.later(timedelta(days=98))
    assert ledger.pruned(timedelta(days=7), timedelta(days=90), rest) > pruning.STEP_EVENTS
    other.close()
    assert len(rests) > 2
    assert all(outcome == ["opened"] for outcome in rests)


def test_what_an_incident_still_owes_is_looked_for_by_its_own_key(moved: Moved) -> None:
    on_sqlite = moved.ledger.database.is_sqlite
    ask, asks_each = ("EXPLAIN QUERY PLAN", "CORRELATED") if on_sqlite else ("EXPLAIN", "SubPlan")
    plans: list[str] = []

    def sent(connection: Connection, _cursor: Any, statement: str, given: Any, *_more: Any) -> None:
        if statement.startswith("SELECT incidents.id") and "incidents.live IS" in statement:
            with closing(connection.connection.driver_connection.cursor()) as cursor:
                plans.extend(row[-1] for row in cursor.execute(f"{ask} {statement}", given))

    engine = moved.ledger.database.engine
    event.listen(engine, "before_cursor_execute", sent)
    moved.ledger.pruned(timedelta(days=7), timedelta(days=90))
    event.remove(engine, "before_cursor_execute", sent)
    assert any(asks_each in step for step in plans), plans
    assert not any("Join" in step or "SCAN deliveries" in step for step in plans), plans


def test_a_series_is_kept_while_it_has_an_incident_or_somebody_opens_one(moved: Moved) -> None:
    for name in ("again", "locked"):
        settle(moved.ledger, fires(name))
        record(moved.ledger, claim(moved.ledger), delivered())
        settle(moved.ledger, ends(name))
        record(moved.ledger, claim(moved.ledger), delivered())
    later = moved.later(timedelta(days=98))
    settle(later, fires("again"))
    with ExitStack() as stack:
        if not later.database.is_sqlite:  # where nobody prunes while somebody writes
            webhook = stack.enter_context(later.database.writing())
            lock = select(series.c.id).where(series.c.id == decision("locked").series).with_for_update()
            assert webhook.connection.execute(lock).scalar_one()
        later.pruned(timedelta(days=7), timedelta(days=90))
        assert states(later) == ["pending"]
        kept = {"again"} if later.database.is_sqlite else {"again", "locked"}
        with later.database.reading() as transaction:
            found = set(transaction.connection.execute(select(series.c.id)).scalars())
        assert found == {decision(name).series for name in kept}


def test_a_dead_letter_is_kept_until_a_person_has_seen_it(moved: Moved) -> None:
    opened(moved.ledger, "a")
    settle(moved.ledger, fires("a", parts=("x",), severity=Severity.CRITICAL, rise=RISE))
    record(moved.ledger, claim(moved.ledger), PermanentFailure(reason=Reason.BAD_REQUEST, detail="no"))
    settle(moved.ledger, ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered("P1"))
    moved.later(timedelta(days=91)).pruned(timedelta(days=7), timedelta(days=90))
    assert ("update", "dead") in told(moved.ledger)
