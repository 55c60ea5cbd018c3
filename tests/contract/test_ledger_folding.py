"""Folding over a real ledger: a lane that is far behind sends few incidents, every alert in exactly one of them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from bridge.adapters.ledger import Claimed, EventQuery, Ledger, Route, claiming
from bridge.adapters.ledger.lanes import LaneWork
from bridge.adapters.ledger.schema import incidents, members
from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, Policy
from bridge.domain.delivery import Action, Delivery, PermanentFailure, Reason, TransientFailure, UnknownOutcome
from bridge.domain.folding import FoldForm
from tests.ledgers import ACCOUNT, MovedDatabase, claim, delivered, ends, fires, ledger_of, pace, record, route, settle

FORM = FoldForm(title_field="title", body_field="body", title_max_chars=1024, body_max_chars=65_536)
SLOT = timedelta(seconds=10)
DOWN = TransientFailure(reason=Reason.NOT_CONNECTED, detail="connection refused")
REFUSED = PermanentFailure(reason=Reason.REFUSED, detail="HTTP 418")


def written(delivery: Delivery) -> str:
    note = [delivery.fields["note"], f"[ib {delivery.id}]"] if delivery.action is Action.NOTE else []
    return "\n\n".join([delivery.fields["summary"], *note])


class Killed(Exception):
    """The process is gone."""


class Lane:
    """A ledger with a slow lane: one create every ten seconds, two at once, and no more than a minute to wait."""

    def __init__(self, url: str, **changes: Any) -> None:
        self.database = MovedDatabase(url)
        slow = pace(interval=SLOT, burst=2, reserve=0, max_wait=timedelta(seconds=60), **changes)
        self.way: Route = route(of=slow, fold=FORM)
        self.ledger: Ledger = ledger_of(self.database, **{ACCOUNT: self.way})

    def later(self, by: timedelta = SLOT) -> None:
        self.database.ahead += by

    def storm(self, number: int, name: str = "x", **changes: Any) -> None:
        settle(self.ledger, *(fires(f"{name}{n}", **changes) for n in range(number)))

    def sends(self, result: Any = None) -> Claimed:
        claimed = claim(self.ledger)
        record(self.ledger, claimed, result or delivered(f"P-{claimed.delivery.id}"))
        return claimed

    def killed_in_its_claim(self) -> None:
        """A claim whose transaction never ends."""
        with self.database.writing() as transaction:
            work = LaneWork(
                transaction,
                ACCOUNT,
                pace=self.way.pace,
                routes=self.ledger.routes,
                names=self.ledger.names,
                new_id=self.ledger.new_id,
            )
            assert isinstance(claiming.claim(work), Claimed)
            work.save()
            raise Killed

    def incidents(self, state: str | None = None) -> list[dict[str, Any]]:
        return [dict(one) for one in reversed(self.ledger.incidents(state=state, limit=500).items)]

    def states(self) -> dict[str, int]:
        found = [one["state"] for one in self.incidents()]
        return {state: found.count(state) for state in sorted(set(found))}

    def creates(self, state: str) -> list[dict[str, Any]]:
        found = self.ledger.deliveries(state=state, limit=500).items
        return [dict(one) for one in found if one["action"] == "create"]

    def rows(self) -> list[dict[str, Any]]:
        """Every incident's row."""
        with self.database.reading() as transaction:
            return [dict(one) for one in transaction.connection.execute(select(incidents)).mappings()]

    def firing_members(self) -> dict[str, int]:
        """How many problems fire, by incident."""
        with self.database.reading() as transaction:
            rows = transaction.connection.execute(select(members.c.incident_id).where(members.c.firing)).scalars().all()
        return {one: rows.count(one) for one in rows}

    def live_members(self) -> list[str]:
        """The problems that fire in live incidents."""
        with self.database.reading() as transaction:
            found = select(members.c.fingerprint).join_from(members, incidents, members.c.incident_id == incidents.c.id)
            return list(transaction.connection.execute(found.where(members.c.firing, incidents.c.live)).scalars())

    def is_in(self, name: str, ids: set[str]) -> bool:
        """Whether a problem fires in one of these incidents."""
        with self.database.reading() as transaction:
            found = select(members.c.incident_id).where(members.c.firing, members.c.fingerprint == name)
            return bool(ids.intersection(transaction.connection.execute(found).scalars()))

    def represented(self) -> dict[str, list[str]]:
        """Firing problem -> upstream ids of the incidents that stand for it: by the rows alone."""
        with self.database.reading() as transaction:
            rows = transaction.connection.execute(select(incidents)).mappings().all()
            fire = transaction.connection.execute(select(members).where(members.c.firing)).mappings().all()
        by_id = {row["id"]: row for row in rows}
        found: dict[str, list[str]] = {row["fingerprint"]: [] for row in fire}
        for row in fire:
            own = by_id[row["incident_id"]]
            stands = own if own["carrier"] is None else by_id[own["carrier"]]
            if own["live"] and stands["upstream_id"]:
                found[row["fingerprint"]].append(stands["upstream_id"])
        return found


def behind(lane: Lane, number: int = 20, **changes: Any) -> Claimed:
    """A storm of one kind; its first create, which takes the others along."""
    lane.storm(number, **changes)
    return lane.sends()


# -- who folds


def test_a_lane_that_keeps_up_folds_nothing(lane: Lane) -> None:
    lane.storm(8)  # two at once and six in a minute
    lane.sends()
    lane.sends()
    assert lane.ledger.claim(ACCOUNT) is None
    assert lane.states() == {"open": 2, "pending": 6}


def test_what_would_wait_too_long_goes_out_as_one_incident(lane: Lane) -> None:
    lane.storm(19)
    lane.storm(1, "worst", severity=Severity.ERROR, fields={"title": "disk full", "service": "S", "urgency": "high"})
    sent = lane.sends().delivery
    assert lane.states() == {"folded": 19, "open": 1}
    assert sent.fields["title"] == "20 alerts: x0 is down"
    assert "- error: worst0 is down" in sent.fields["body"]
    assert all(titles == ["P-" + sent.id] for titles in lane.represented().values())
    assert len(lane.represented()) == 20
    kinds = lane.ledger.day().by_account[ACCOUNT]
    assert {kind: sum(numbers) for kind, numbers in kinds.items()} == {"created": 1, "folded": 19, "failed": 0}


def test_the_words_and_fields_are_those_of_the_most_severe(lane: Lane) -> None:
    lane.storm(10, "w", severity=Severity.WARNING)
    lane.later(timedelta(minutes=3))  # they are promoted, and go first
    lane.storm(10, "e", severity=Severity.ERROR, fields={"title": "disk full", "service": "S", "urgency": "high"})
    sent = lane.sends().delivery
    assert sent.key == lane.incidents("open")[0]["key"]
    assert (sent.fields["title"], sent.fields["urgency"]) == ("20 alerts: disk full", "high")
    assert sent.fields["body"].index("- error: e0") < sent.fields["body"].index("- warning: w0")
    assert lane.incidents("open")[0]["severity"] == "error"
    assert lane.incidents("open")[0]["title"] == "w0 is down"


def test_other_targets_and_other_keys_go_by_themselves(lane: Lane) -> None:
    lane.storm(10)
    lane.storm(10, "policy", fold_target="another policy")
    lane.storm(10, "rule", fold_key="another rule")
    lane.sends()
    lane.sends()
    lane.later()
    lane.sends()
    assert lane.states() == {"folded": 27, "open": 3}
    assert {len(ids) for ids in lane.represented().values()} == {1}


def test_a_critical_leads_and_is_followed_by_the_others_of_its_kind(lane: Lane) -> None:
    lane.storm(20)
    lane.storm(2, "c", severity=Severity.CRITICAL)
    sent = lane.sends().delivery
    assert sent.fields["title"] == "22 alerts: c0 is down"
    assert lane.incidents("open")[0]["severity"] == "critical"


def test_criticals_of_too_many_kinds_fold_by_target_alone(lane: Lane) -> None:
    for number in range(9):
        lane.storm(1, f"c{number}-", severity=Severity.CRITICAL, fold_key=f"rule {number}")
    lane.storm(1, "elsewhere", severity=Severity.CRITICAL, fold_target="another")
    lane.storm(3, "e", fold_key="rule 0")
    sent = lane.sends().delivery
    assert sent.fields["title"].startswith("12 alerts: ")
    lane.sends()
    assert lane.states() == {"folded": 11, "open": 2}


def test_criticals_of_few_kinds_keep_their_own_incidents(lane: Lane) -> None:
    for number in range(3):
        lane.storm(1, f"c{number}-", severity=Severity.CRITICAL, fold_key=f"rule {number}")
    lane.storm(20, "e")
    assert lane.sends().delivery.fields["title"] == "c0-0 is down"
    assert lane.sends().delivery.fields["title"] == "c1-0 is down"


@pytest.mark.parametrize("limit", [None, timedelta(days=1)])
def test_a_lane_without_a_limit_or_far_below_it_never_folds(ledger_url: str, limit: timedelta | None) -> None:
    ledger = ledger_of(MovedDatabase(ledger_url), **{ACCOUNT: route(of=pace(interval=SLOT, max_wait=limit), fold=FORM)})
    settle(ledger, *(fires(f"x{number}") for number in range(130)))
    claim(ledger)
    assert {one["state"] for one in ledger.incidents(limit=500).items} == {"sending", "pending"}
    ledger.close()


# -- what comes later


def test_while_the_lane_is_behind_more_of_the_same_become_one_note(lane: Lane) -> None:
    carrier = behind(lane)
    lane.storm(3, "late")
    assert lane.ledger.claim(ACCOUNT) is None
    lane.storm(2, "later")
    assert lane.ledger.claim(ACCOUNT) is None
    assert lane.states() == {"folded": 24, "open": 1}
    lane.later(timedelta(seconds=5))
    note = lane.sends().delivery
    assert (note.action, note.upstream_id) == (Action.NOTE, "P-" + carrier.delivery.id)
    assert note.fields["note"].startswith("5 more alerts of this kind:\n- error: late0 is down")
    assert "later1 is down" in note.fields["note"]
    assert {len(ids) for ids in lane.represented().values()} == {1}


def test_a_note_is_no_page_so_what_is_more_severe_goes_by_itself(lane: Lane) -> None:
    behind(lane)
    lane.storm(2, "c", severity=Severity.CRITICAL)
    assert lane.sends().delivery.fields["title"] == "2 alerts: c0 is down"
    assert lane.states() == {"folded": 20, "open": 2}


def test_a_lane_that_caught_up_pages_one_by_one_again(lane: Lane) -> None:
    behind(lane)
    lane.later(SLOT * 5)
    lane.storm(2, "new")
    assert lane.sends().delivery.fields["title"] == "new0 is down"


def test_a_note_at_an_upstream_without_notes_knows_the_text_it_is_added_to(ledger_url: str) -> None:
    lane = Lane(ledger_url)
    form = FoldForm(
        title_field="name", body_field="summary", title_max_chars=50, body_max_chars=65_536, written=written
    )
    lane.ledger.routes[ACCOUNT] = route(of=lane.way.pace, fold=form)
    kind = {"key_rule": KeyRule.FOR_EVER, "fields": {"name": "it", "summary": "Details."}}
    sent = behind(lane, **kind).delivery
    for name in ("late", "later"):
        lane.storm(1, name, **kind)
        assert lane.ledger.claim(ACCOUNT) is None
        lane.later(timedelta(seconds=5))
        note = lane.sends().delivery
        assert note.fields["summary"].startswith(sent.fields["summary"])
    assert "1 more alert of this kind:\n- error: late0 is down" in note.fields["summary"]
    lane.ledger.close()


# -- what folded and carrier do to each other


def test_the_carrier_resolves_with_its_last_member_wherever_that_is(lane: Lane) -> None:
    behind(lane)
    for number in range(20):
        assert [one["action"] for one in lane.ledger.deliveries(state="pending", limit=9).items] == []
        settle(lane.ledger, ends(f"x{number}"))
    resolve = lane.sends().delivery
    assert resolve.action is Action.RESOLVE
    assert lane.states() == {"resolved": 20}
    assert settle(lane.ledger, fires("x3")) == ["opened"]


def test_a_folded_problem_that_fires_again_changes_nothing_and_keeps_the_carrier_open(lane: Lane) -> None:
    behind(lane)
    assert settle(lane.ledger, fires("x3")) == ["duplicate"]
    settle(lane.ledger, *(ends(f"x{number}") for number in range(20)))
    assert lane.states() == {"folded": 19, "resolving": 1}
    assert settle(lane.ledger, fires("x3")) == ["joined"]
    assert lane.states() == {"folded": 19, "open": 1}
    assert lane.ledger.claim(ACCOUNT) is None
    settle(lane.ledger, ends("x3"))
    lane.sends()
    assert lane.states() == {"resolved": 20}


def test_nothing_folds_into_a_carrier_whose_problems_are_over(lane: Lane) -> None:
    """Its create may have worked, so that its resolve waits behind it: what fires anew would end with the old."""
    lane.storm(20)
    lane.sends(UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer"))
    settle(lane.ledger, *(ends(f"x{number}") for number in range(20)))
    lane.storm(20, "new")
    lane.later()
    fresh = lane.sends().delivery
    assert (fresh.action, fresh.fields["title"]) == (Action.CREATE, "20 alerts: new0 is down")
    for action in (Action.CREATE, Action.RESOLVE):  # looked up, and over
        assert lane.sends().delivery.action is action
    assert lane.states() == {"folded": 19, "open": 1, "resolved": 20}
    assert sorted(lane.live_members()) == sorted(f"new{number}" for number in range(20))


def test_what_fires_again_under_the_carriers_resolve_pages_by_itself(lane: Lane) -> None:
    behind(lane)
    settle(lane.ledger, *(ends(f"x{number}") for number in range(20)))
    lane.later(SLOT * 6)
    resolve = claim(lane.ledger)
    assert settle(lane.ledger, fires("x3"), fires("x0")) == ["joined", "joined"]
    settle(lane.ledger, ends("x0"))
    record(lane.ledger, resolve, delivered("P1"))
    assert lane.states() == {"pending": 1, "resolved": 19}
    assert lane.sends().delivery.fields["title"] == "x3 is down"
    assert lane.represented().keys() == {"x3"}


def test_a_carrier_whose_problems_are_over_before_it_is_sent_is_cancelled_with_them(lane: Lane) -> None:
    lane.storm(20)
    lane.sends(DOWN)
    assert lane.states() == {"folded": 19, "pending": 1}
    settle(lane.ledger, *(ends(f"x{number}") for number in range(20)), fires("x7"))
    assert lane.states() == {"cancelled": 20, "pending": 1}
    assert lane.ledger.deliveries(state="pending", limit=9).items[0]["action"] == "create"


def test_a_dead_carrier_lets_its_folded_go_by_themselves(lane: Lane) -> None:
    lane.storm(20)
    settle(lane.ledger, ends("x5"))
    sent = lane.sends(REFUSED)
    assert lane.states() == {"cancelled": 1, "dead": 1, "pending": 18}
    assert {one["reason"] for one in lane.creates("pending")} == {None}
    lane.later()
    again = lane.sends().delivery
    assert again.fields["title"] == "18 alerts: x1 is down"
    letter = lane.ledger.delivery(sent.delivery.id)
    assert letter is not None
    assert letter["request"]["fields"]["title"] == "x0 is down", "replayed, it speaks for itself alone"
    lane.ledger.replayed(sent.delivery.id)
    lane.later()
    assert lane.sends().delivery.fields["title"] == "x0 is down"
    assert {len(ids) for ids in lane.represented().values()} == {1}


def closed_by_a_person(lane: Lane) -> None:
    lane.storm(20)
    claimed = claim(lane.ledger)
    answer = delivered("P1")
    record(lane.ledger, claimed, type(answer)(reference=type(answer.reference)(id="P1", closed=True)))
    assert lane.states() == {"folded": 19, "resolved": 1}


def test_a_carrier_that_a_person_closed_keeps_all_of_its_problems_quiet_for_a_while(lane: Lane) -> None:
    closed_by_a_person(lane)
    assert settle(lane.ledger, fires("x4")) == ["duplicate"]
    settle(lane.ledger, *(ends(f"x{n}") for n in range(20)))
    assert lane.states() == {"resolved": 20}
    assert settle(lane.ledger, fires("x4")) == ["opened"]


def test_what_fires_on_after_that_while_pages_again_whoever_carried_it_and_though_nobody_reports(lane: Lane) -> None:
    closed_by_a_person(lane)
    settle(lane.ledger, *(ends(f"x{n}") for n in range(3, 20)))
    lane.later(timedelta(minutes=61))
    assert lane.ledger.renewals_opened() == 1
    lane.sends()
    lane.later(timedelta(minutes=5))
    lane.sends()
    lane.later(timedelta(minutes=5))
    lane.sends()
    assert {name: len(ids) for name, ids in lane.represented().items()} == {"x0": 1, "x1": 1, "x2": 1}
    assert sorted(lane.live_members()) == ["x0", "x1", "x2"]


def test_a_carrier_and_its_folded_page_again_together_when_the_lane_is_behind_still(lane: Lane) -> None:
    closed_by_a_person(lane)
    lane.later(timedelta(minutes=61))
    assert lane.ledger.renewals_opened() == 1
    sent = lane.sends()
    assert sent.delivery.fields["title"].startswith("20 alerts: ")
    assert len(lane.represented()) == 20
    assert {len(ids) for ids in lane.represented().values()} == {1}


def test_after_a_first_claim_the_body_never_changes(lane: Lane) -> None:
    lane.storm(20)
    first = lane.sends(DOWN).delivery
    lane.storm(5, "more")
    settle(lane.ledger, fires("x0", severity=Severity.CRITICAL, fields={"title": "worse", "service": "S"}))
    lane.later()
    again = claim(lane.ledger).delivery
    assert (again.id, again.key, again.fields) == (first.id, first.key, first.fields)


def test_a_claim_that_ends_in_the_middle_leaves_everything_as_it_was(lane: Lane) -> None:
    lane.storm(20)

    with pytest.raises(Killed):
        lane.killed_in_its_claim()
    assert lane.states() == {"pending": 20}
    assert len(lane.creates("pending")) == 20
    assert lane.sends().delivery.fields["title"] == "20 alerts: x0 is down"


# -- what people see


def test_a_folded_incident_names_its_carrier_and_the_event_says_folded(lane: Lane) -> None:
    lane.storm(20)
    lane.sends()
    carrier = lane.incidents("open")[0]
    one = lane.incidents("folded")[0]
    assert (carrier["folded"], one["carrier"]) == (19, carrier["id"])
    whole = lane.ledger.incident(carrier["id"])
    assert whole is not None
    assert [inner["id"] for inner in whole["folded_incidents"]] == [i["id"] for i in lane.incidents("folded")]
    event = lane.ledger.events(EventQuery(outcome="folded")).items[0]
    alerts = lane.ledger.event(event["id"])
    assert alerts is not None
    assert [a["outcome"] for a in alerts["alerts"]] == ["opened"] + ["folded"] * 19
    assert alerts["alerts"][3]["decisions"][0]["outcome"] == "folded"
    assert carrier["id"] in alerts["alerts"][3]["decisions"][0]["reason"]
    cancelled = lane.creates("cancelled")
    assert {(d["reason"], d["detail"]) for d in cancelled} == {("folded", f"folded into incident {carrier['id']}")}


@pytest.mark.parametrize("by", ["its carrier's death", "a person"])
def test_what_was_folded_is_opened_again_and_its_repeats_stay_repeats(lane: Lane, by: str) -> None:
    lane.storm(20)
    carrier = claim(lane.ledger)
    assert settle(lane.ledger, fires("x7")) == ["duplicate"]
    if by == "a person":
        record(lane.ledger, carrier, delivered("P1"))
        (folded,) = (one for one in lane.incidents("folded") if one["title"] == "x7 is down")
        lane.ledger.incident_detached(folded["id"])
    else:
        record(lane.ledger, carrier, REFUSED)
    (repeat, storm) = lane.ledger.events(EventQuery()).items
    alerts = [(lane.ledger.event(one["id"]) or {})["alerts"] for one in (storm, repeat)]
    assert (alerts[0][7]["outcome"], alerts[1][0]["outcome"]) == ("opened", "duplicate")


def test_what_comes_back_is_reopened_though_a_folded_problem_is_in_the_same_webhook(lane: Lane) -> None:
    again = Policy(reopen_within=timedelta(minutes=10))
    lane.ledger.routes[ACCOUNT] = replace(lane.way, reopens=frozenset({"title"}))
    lane.storm(1, "back", policy=again)
    lane.sends()
    settle(lane.ledger, ends("back0"))
    lane.sends()
    lane.later()
    behind(lane)
    settle(lane.ledger, fires("x7", severity=Severity.CRITICAL), fires("back0", policy=again))
    assert [one["state"] for one in lane.incidents() if one["title"] == "back0 is down"] == ["pending"]
    assert lane.sends().delivery.action is Action.REOPEN
