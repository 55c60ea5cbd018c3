"""What people do to incidents by hand: the upstream hears of it once, and nothing that fires is forgotten."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from bridge.adapters.ledger import Ledger, read_incidents
from bridge.adapters.ledger.hands import IncidentError, NoSuchIncident
from bridge.adapters.ledger.schema import deliveries
from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, OnResolve, Policy
from bridge.domain.delivery import (
    Action,
    Delivered,
    PermanentFailure,
    Reason,
    Reference,
    TransientFailure,
    UnknownOutcome,
)
from bridge.domain.folding import FoldForm
from bridge.entrypoints.cli import reading
from tests.ledgers import (
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
from tests.web_apps import Browser, web_app

REFUSED = PermanentFailure(reason=Reason.BAD_REQUEST, detail="no")
LEFT_TO_PEOPLE = Policy(on_resolve=OnResolve.IGNORE, hold_resolve=timedelta(hours=1))


def newest(ledger: Ledger) -> str:
    return str(ledger.incidents(limit=1).items[0]["id"])


def opened(ledger: Ledger, *decided: object, upstream: str = "P1") -> str:
    """An incident that is open upstream."""
    settle(ledger, *(decided or (fires("a"),)))  # type: ignore[arg-type]
    record(ledger, claim(ledger), delivered(upstream))
    return newest(ledger)


def test_resolving_tells_the_upstream_once_and_ends_it(ledger: Ledger) -> None:
    incident = opened(ledger)
    assert ledger.incident_resolved(incident).state == "resolving"
    with pytest.raises(IncidentError, match="its resolve is on its way"):
        ledger.incident_resolved(incident)
    resolve = claim(ledger)
    assert (resolve.delivery.action, resolve.delivery.upstream_id) == (Action.RESOLVE, "P1")
    record(ledger, resolve, delivered())
    assert (states(ledger), ledger.claim("pd")) == (["resolved"], None)
    found = ledger.incident(incident)
    assert found is not None
    assert [member["status"] for member in found["members"]] == ["resolved"]


def test_a_person_may_resolve_what_the_rule_leaves_to_people_and_at_once(ledger: Ledger) -> None:
    incident = opened(ledger, fires("a", policy=LEFT_TO_PEOPLE))
    settle(ledger, ends("a"))
    assert states(ledger) == ["open"]
    ledger.incident_resolved(incident)
    record(ledger, claim(ledger), delivered())
    assert states(ledger) == ["resolved"]


def test_what_was_never_sent_is_resolved_by_never_sending_it(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    assert ledger.incident_resolved(newest(ledger)).state == "cancelled"
    assert (told(ledger), ledger.claim("pd")) == ([("create", "cancelled")], None)


def test_a_resolve_under_the_create_waits_for_it(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    create = claim(ledger)
    ledger.incident_resolved(newest(ledger))
    assert ledger.claim("pd") is None
    record(ledger, create, delivered())
    assert claim(ledger).delivery.action is Action.RESOLVE


def test_what_fires_after_a_resolve_by_hand_opens_a_new_one(ledger: Ledger) -> None:
    incident = opened(ledger)
    ledger.incident_resolved(incident)
    record(ledger, claim(ledger), delivered())
    assert settle(ledger, fires("a")) == ["opened"]
    assert states(ledger) == ["resolved", "pending"]


def test_a_detached_incident_is_told_nothing_more(ledger: Ledger) -> None:
    incident = opened(ledger)
    assert ledger.incident_detached(incident).state == "resolved"
    assert ledger.claim("pd") is None
    found = ledger.incident(incident)
    assert found is not None
    assert (found["reason"], found["upstream"]["id"]) == ("detached", "P1")
    assert settle(ledger, ends("a")) == ["ignored"]
    assert settle(ledger, fires("a")) == ["opened"]


def test_what_is_not_upstream_cannot_be_detached(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    with pytest.raises(IncidentError, match="nothing of it is upstream yet"):
        ledger.incident_detached(newest(ledger))
    claim(ledger)
    with pytest.raises(IncidentError, match="try again in a few seconds"):
        ledger.incident_detached(newest(ledger))


@pytest.mark.parametrize("tried", [Action.CREATE, Action.RESOLVE])
def test_what_was_tried_at_an_account_that_is_not_configured_any_more_can_be_let_go_of(
    ledger: Ledger, tried: Action
) -> None:
    """No worker goes on with it, so that nothing else would ever end it."""
    if tried is Action.RESOLVE:
        opened(ledger)
        settle(ledger, ends("a"))
    else:
        settle(ledger, fires("a"))
    incident, held = newest(ledger), claim(ledger)
    assert held.delivery.action is tried
    renamed = ledger_of(ledger.database, new=route("new"))
    with pytest.raises(IncidentError, match="a worker still tells it; try again in half a minute"):
        renamed.incident_detached(incident)
    record(ledger, held, UnknownOutcome(reason=Reason.SERVER_ERROR, detail="503"))
    assert _offered(renamed, incident) == {"detach"}
    assert renamed.incident_detached(incident).state == "resolved"
    assert renamed.unconfigured(["new"]) == []
    assert told(ledger)[-1] == (tried, "cancelled")
    found = ledger.incident(incident)
    assert found is not None
    assert found["reason"] == "detached"
    assert ledger.claim("pd") is None, "nor is it told when the account comes back"
    assert settle(ledger, fires("a")) == ["opened"]


def test_what_a_killed_worker_held_at_an_account_that_is_not_configured_any_more_can_be_let_go_of(
    moved: MovedDatabase,
) -> None:
    ledger = ledger_of(moved, pd=route())
    settle(ledger, fires("a"))
    claim(ledger)
    renamed = ledger_of(moved, new=route("new"))
    moved.ahead = timedelta(seconds=31)
    assert renamed.incident_detached(newest(ledger)).state == "resolved"
    assert (renamed.unconfigured(["new"]), told(ledger)) == ([], [("create", "cancelled")])
    ledger.close()


def test_the_page_of_an_incident_offers_nothing_that_would_wait_for_an_account_that_is_gone(ledger: Ledger) -> None:
    settle(ledger, fires("never sent"))
    waits, gone = newest(ledger), ledger_of(ledger.database, new=route("new"))
    assert (_offered(ledger, waits), _offered(gone, waits)) == ({"resolve"}, {"resolve"})
    record(ledger, claim(ledger), delivered())
    assert _offered(ledger, waits) == {"resolve", "resend", "detach", "note"}
    assert _offered(gone, waits) == {"detach"}


def test_an_incident_that_was_sent_again_as_its_account_went_away_leaves_nothing_behind(ledger: Ledger) -> None:
    old = opened(ledger)
    new = ledger.incident_resent(old).incident
    record(ledger, claim(ledger), UnknownOutcome(reason=Reason.SERVER_ERROR, detail="503"))
    renamed = ledger_of(ledger.database, new=route("new"))
    renamed.incident_resolved(new)
    renamed.incident_detached(old)
    assert renamed.unconfigured(["new"]) == []


def _offered(ledger: Ledger, incident: str) -> set[str]:
    """What the incident's page has forms for."""
    page = Browser(web_app(ledger)).get(f"/incidents/{incident}").text
    return {*re.findall(f'action="/incidents/{incident}/([a-z]+)"', page)}


def test_an_open_incident_sent_again_is_resolved_first_and_opened_anew(ledger: Ledger) -> None:
    old = opened(ledger, fires("a"), fires("b", parts=("s", "a")))
    done = ledger.incident_resent(old)
    assert done.incident != old
    resolve = claim(ledger)
    assert (resolve.delivery.action, resolve.delivery.incident) == (Action.RESOLVE, old)
    assert ledger.claim("pd") is None, "the new one waits until the old one is over"
    record(ledger, resolve, delivered())
    create = claim(ledger)
    assert (create.delivery.action, create.delivery.incident) == (Action.CREATE, done.incident)
    record(ledger, create, delivered("P2"))
    assert states(ledger) == ["resolved", "open"]
    fresh = ledger.incident(done.incident)
    assert fresh is not None
    assert sorted(one["fingerprint"] for one in fresh["members"] if one["status"] == "firing") == ["a", "b"]


def test_sending_again_survives_an_upstream_that_takes_the_resolve_only_later(ledger: Ledger) -> None:
    old = opened(ledger)
    done = ledger.incident_resent(old)
    record(ledger, claim(ledger), TransientFailure(reason=Reason.RATE_LIMITED, detail="429", retry_after_s=0.0))
    waiting = [(one["action"], one["state"]) for one in ledger.deliveries(limit=10, incident=old).items]
    assert waiting[0] == ("resolve", "pending")
    assert [one["state"] for one in ledger.deliveries(limit=10, incident=done.incident).items] == ["pending"]


def test_a_dead_letter_is_sent_again_under_its_key(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    letter = claim(ledger)
    record(ledger, letter, REFUSED)
    done = ledger.incident_resent(newest(ledger))
    assert claim(ledger).delivery.key == letter.delivery.key
    assert done.lanes == {"pd"}


def test_of_several_dead_letters_an_incidents_own_is_sent_again(ledger: Ledger) -> None:
    dead = []
    for name in ("a", "b"):
        settle(ledger, fires(name))
        record(ledger, claim(ledger), REFUSED)
        dead.append(newest(ledger))
    for incident in dead:
        ledger.incident_resent(incident)
        again = claim(ledger)
        assert again.delivery.incident == incident
        record(ledger, again, REFUSED)


def test_a_dead_letter_of_an_account_that_is_gone_is_not_sent_again_and_says_why(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), REFUSED)
    later = ledger_of(ledger.database, other=route("other"))
    with pytest.raises(IncidentError, match="its account 'pd' is not configured"):
        later.incident_resent(newest(later))
    assert states(later) == ["dead"]


@pytest.mark.parametrize("action", ["resolved", "detached", "resent"])
def test_what_is_over_stays_over(ledger: Ledger, action: str) -> None:
    incident = opened(ledger)
    settle(ledger, ends("a"))
    record(ledger, claim(ledger), delivered())
    with pytest.raises(IncidentError, match="it is over; what fires again opens a new one"):
        getattr(ledger, f"incident_{action}")(incident)


@pytest.mark.parametrize("action", ["resolved", "detached", "resent"])
def test_an_incident_that_is_not_there_is_said_so(ledger: Ledger, action: str) -> None:
    with pytest.raises(NoSuchIncident, match="there is no incident nothing"):
        getattr(ledger, f"incident_{action}")("nothing")


def test_a_note_is_said_in_an_open_incident(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    with pytest.raises(IncidentError, match="a note goes to an open incident, and it is pending"):
        ledger.incident_noted(newest(ledger), "hello")
    record(ledger, claim(ledger), delivered())
    with pytest.raises(IncidentError, match="a note needs a text"):
        ledger.incident_noted(newest(ledger), " \n")
    ledger.incident_noted(newest(ledger), "the database team has it\x00")
    (note,) = [one for one in ledger.deliveries(limit=10).items if one["action"] == "note"]
    whole = ledger.delivery(note["id"])
    assert whole is not None
    assert whole["request"]["fields"] == {"note": "the database team has it\ufffd"}


@pytest.fixture
def moved(ledger_url: str) -> MovedDatabase:
    return MovedDatabase(ledger_url)


def test_a_note_nobody_heard_goes_to_the_incident_that_is_sent_again(moved: MovedDatabase) -> None:
    ledger = ledger_of(moved, pd=route())
    old = opened(ledger)
    ledger.incident_noted(old, "the database team has it")
    fresh = ledger.incident_resent(old).incident
    waits = [("resolve", "pending"), ("create", "pending"), ("note", "pending")]
    assert told(ledger) == [("create", "delivered"), ("note", "cancelled"), *waits]
    (left,) = [one for one in ledger.deliveries(limit=10, incident=old).items if one["action"] == "note"]
    assert left["reason"] == "taken_along"
    record(ledger, claim(ledger), delivered())
    record(ledger, claim(ledger), delivered("P2"))
    moved.ahead = timedelta(minutes=1)
    note = claim(ledger)
    assert (note.delivery.action, note.delivery.incident) == (Action.NOTE, fresh)
    assert (note.delivery.upstream_id, note.delivery.fields) == ("P2", {"note": "the database team has it"})
    links = {one: ledger.incident(one) or {} for one in (old, fresh)}
    assert (links[old]["next"], links[old]["previous"]) == (fresh, None)
    assert (links[fresh]["next"], links[fresh]["previous"]) == (None, old)
    ledger.close()


def test_a_note_that_a_person_put_aside_is_not_said_in_the_incident_that_is_sent_again(moved: MovedDatabase) -> None:
    ledger = ledger_of(moved, pd=route())
    old = opened(ledger)
    ledger.incident_noted(old, "seen")
    moved.ahead = timedelta(minutes=1)
    letter = claim(ledger)
    record(ledger, letter, REFUSED)
    ledger.discarded(letter.delivery.id, "told them by telephone")
    fresh = ledger.incident_resent(old).incident
    assert [one["action"] for one in ledger.deliveries(incident=fresh, limit=9).items] == ["create"]
    ledger.close()


def test_a_note_that_is_taken_along_is_added_to_the_new_summary(moved: MovedDatabase) -> None:
    ledger = ledger_of(
        moved, io=route("io", fold=replace(FORM, body_field="summary", written=lambda one: str(one.fields["summary"])))
    )
    settle(ledger, fires("a", account="io", key_rule=KeyRule.FOR_EVER, fields={"summary": "It is down."}))
    record(ledger, claim(ledger, "io"), Delivered(reference=Reference(id="I1", summary="It is down.")))
    ledger.incident_noted(newest(ledger), "seen")
    ledger.incident_resent(newest(ledger))
    record(ledger, claim(ledger, "io"), delivered())
    record(ledger, claim(ledger, "io"), delivered("I2"))
    moved.ahead = timedelta(minutes=1)
    assert claim(ledger, "io").delivery.fields == {"note": "seen", "summary": "It is down."}
    ledger.close()


def test_what_is_being_noted_is_sent_again_once_that_is_known(moved: MovedDatabase) -> None:
    ledger = ledger_of(moved, pd=route())
    incident = opened(ledger)
    ledger.incident_noted(incident, "seen")
    moved.ahead = timedelta(minutes=1)
    claim(ledger)
    with pytest.raises(IncidentError, match="a note is being told in it"):
        ledger.incident_resent(incident)
    ledger.close()


def test_a_note_that_a_worker_takes_at_that_moment_is_said_once(ledger: Ledger) -> None:
    incident = opened(ledger)
    ledger.incident_noted(incident, "seen")
    note = deliveries.c.action == Action.NOTE.value
    with ThreadPoolExecutor(1) as apart:
        with ledger.database.writing() as transaction:
            taken = {"state": "sending", "lease_until": transaction.now, "lease_token": "t"}
            transaction.connection.execute(update(deliveries).where(note).values(taken))
            resending = apart.submit(ledger.incident_resent, incident)
            wait([resending], timeout=0.5)  # it waits: on SQLite for the ledger, on PostgreSQL for the note's row
        with suppress(IncidentError):  # where it waited for the ledger it sees that the note is being told
            resending.result(10.0)
    assert [one for one in told(ledger) if one[0] == "note"] == [("note", "sending")]


def test_a_note_is_added_to_what_the_summary_says_and_one_at_a_time(ledger: Ledger) -> None:
    settle(ledger, fires("a", key_rule=KeyRule.FOR_EVER))
    reference = Reference(id="I1", summary="It is down.")
    record(ledger, claim(ledger), Delivered(reference=reference))
    ledger.incident_noted(newest(ledger), "seen")
    (note,) = [one for one in ledger.deliveries(limit=10).items if one["action"] == "note"]
    whole = ledger.delivery(note["id"])
    assert whole is not None
    assert whole["request"]["fields"] == {"note": "seen", "summary": "It is down."}
    with pytest.raises(IncidentError, match="another note waits"):
        ledger.incident_noted(newest(ledger), "seen, too")


# -- storms

FORM = FoldForm(title_field="title", body_field="body", title_max_chars=1024, body_max_chars=65_536)


@pytest.fixture
def storm(ledger_url: str) -> Iterator[Ledger]:
    """A lane far behind, whose first create carries the other nineteen incidents."""
    database = MovedDatabase(ledger_url)
    slow = pace(interval=timedelta(seconds=10), burst=2, max_wait=timedelta(seconds=60))
    ledger = ledger_of(database, pd=route(of=slow, fold=FORM))
    settle(ledger, *(fires(f"x{n}") for n in range(20)))
    record(ledger, claim(ledger), delivered("P1"))
    yield ledger
    ledger.close()


def in_state(ledger: Ledger, state: str) -> list[str]:
    return [str(one["id"]) for one in ledger.incidents(state=state, limit=500).items]


def test_resolving_what_speaks_for_a_storm_ends_the_whole_storm(storm: Ledger) -> None:
    (carrier,) = in_state(storm, "open")
    assert len(in_state(storm, "folded")) == 19
    storm.incident_resolved(carrier)
    record(storm, claim(storm), delivered())
    assert set(states(storm)) == {"resolved"}
    assert settle(storm, fires("x7")) == ["opened"]


def test_of_a_storm_the_most_severe_are_shown_and_how_many_there_are(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_incidents, "LIMIT_MAX", 5)
    slow = pace(interval=timedelta(seconds=10), burst=2, max_wait=timedelta(seconds=60))
    ledger = ledger_of(MovedDatabase(ledger_url), pd=route(of=slow, fold=FORM))
    low, high = Severity.WARNING, Severity.ERROR
    settle(ledger, *(fires(f"x{n}", severity=high if n in (0, 18) else low) for n in range(20)))
    record(ledger, claim(ledger), delivered("P1"))
    (carrier,) = (one for one in ledger.incidents(state="open", limit=9).items)
    found = ledger.incident(carrier["id"])
    assert found is not None
    assert found["folded"] == 19
    assert [one["title"] for one in found["folded_incidents"]] == [f"x{n} is down" for n in (18, 1, 2, 3, 4)]
    text = Browser(web_app(ledger)).get(f"/incidents/{carrier['id']}").text
    assert "The first 5 of 19 incidents, most severe first" in text
    ledger.close()


def test_a_lane_says_that_it_is_far_behind_only_while_something_waits(storm: Ledger) -> None:
    settings = SimpleNamespace(accounts={})
    for waiting in (False, True):
        (lane,) = storm.lanes({"pd": ("pagerduty", "6/min")})
        assert (lane["folding"], lane["waiting"] > 0) == (True, waiting)
        assert ("far behind" in Browser(web_app(storm)).get("/").text) is waiting
        assert (reading._held_back(lane, settings) is not None) is waiting
        settle(storm, fires("later"))


def test_a_detached_one_of_a_storm_pages_by_itself(storm: Ledger) -> None:
    (carrier,) = in_state(storm, "open")
    one = in_state(storm, "folded")[0]
    with pytest.raises(IncidentError, match="another incident speaks for it"):
        storm.incident_resolved(one)
    assert storm.incident_detached(one).state == "pending"
    create = claim(storm)
    assert (create.delivery.action, create.delivery.incident) == (Action.CREATE, one)
    record(storm, create, delivered("P2"))
    found = storm.incident(carrier)
    assert found is not None
    assert found["folded"] == 18
    storm.incident_resolved(carrier)
    record(storm, claim(storm), delivered())
    assert in_state(storm, "open") == [one], "what left the carrier does not end with it"


def test_a_detached_one_that_becomes_worse_still_goes_by_itself(storm: Ledger) -> None:
    one = in_state(storm, "folded")[0]
    storm.incident_detached(one)
    found = storm.incident(one)
    assert found is not None
    name = found["members"][0]["fingerprint"]
    severe = {"severity": Severity.CRITICAL}
    assert settle(storm, fires(name, **severe), *(fires(f"c{n}", **severe) for n in range(20)))[0] == "joined"
    create = claim(storm)
    assert (create.delivery.incident, create.delivery.fields["title"]) == (one, f"{name} is down")
    assert len(in_state(storm, "folded")) == 18


def test_detaching_everything_that_keeps_a_carrier_open_resolves_it(storm: Ledger) -> None:
    (carrier,) = in_state(storm, "open")
    found = storm.incident(carrier)
    assert found is not None
    settle(storm, *(ends(one["fingerprint"]) for one in found["members"]))
    for one in in_state(storm, "folded"):
        storm.incident_detached(one)
    assert in_state(storm, "resolving") == [carrier]
    assert len(in_state(storm, "pending")) == 19


def test_sending_a_storm_again_is_refused(storm: Ledger) -> None:
    (carrier,) = in_state(storm, "open")
    with pytest.raises(IncidentError, match="it speaks for other incidents"):
        storm.incident_resent(carrier)
