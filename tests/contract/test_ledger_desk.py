"""What the pages ask of a ledger, and the letters a person mends, on both databases."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest

from bridge.adapters.ledger import EventQuery, Ledger
from bridge.adapters.ledger.letters import LetterError
from bridge.domain.alert import Severity
from bridge.domain.decision import Decided
from bridge.domain.delivery import NothingFound, PermanentFailure, Reason, TransientFailure, UnknownOutcome
from bridge.entrypoints.web.ui.incident_pages import MEMBERS_SHOWN
from tests.ledgers import (
    MovedDatabase,
    alert,
    claim,
    decision,
    delivered,
    ends,
    finished,
    fires,
    ledger_of,
    pace,
    record,
    route,
    settle,
    told,
)
from tests.web_apps import Browser, web_app

REFUSED = PermanentFailure(reason=Reason.BAD_REQUEST, detail="the service is archived")
UNAUTHORIZED = TransientFailure(reason=Reason.AUTH, detail="401")


def dead(ledger: Ledger, *fingerprints: str, rule: str = "r") -> list[str]:
    """Creates that were refused; the ids of their letters."""
    found = []
    for fingerprint in fingerprints:
        settle(ledger, fires(fingerprint, rule=rule))
        letter = claim(ledger)
        record(ledger, letter, REFUSED)
        found.append(letter.delivery.id)
    return found


def test_one_bad_rule_is_one_row_with_its_count_and_the_newest_words(ledger: Ledger) -> None:
    dead(ledger, "a", "b", "c", rule="bad")
    dead(ledger, "d", rule="other")
    causes = [(one["rule"], one["number"], one["title"], one["detail"]) for one in ledger.dead_causes()]
    assert causes == [
        ("bad", 3, "c is down", "the service is archived"),
        ("other", 1, "d is down", "the service is archived"),
    ]


def test_the_letters_of_a_cause_come_page_by_page(ledger: Ledger) -> None:
    ids = dead(ledger, "a", "b", "c", rule="bad")
    dead(ledger, "d", rule="other")
    of = {"account": "pd", "rule": "bad", "reason": "bad_request"}
    first = ledger.dead_letters(**of, limit=2)
    rest = ledger.dead_letters(**of, limit=2, before=first.next)
    assert [one["id"] for one in (*first.items, *rest.items)] == ids[::-1]
    assert rest.next is None
    assert ledger.dead_letters(**{**of, "rule": "no such rule"}, limit=2).items == ()


def test_a_changed_letter_goes_out_changed_under_its_key(ledger: Ledger) -> None:
    (one,) = dead(ledger, "a")
    letter = ledger.letter(one)
    assert letter is not None
    assert letter.may_change
    body = replace(letter.body, fields=MappingProxyType({**letter.body.fields, "title": "mended"}), notes=())
    assert ledger.replayed_mended(one, body) == "pd"
    sent = claim(ledger)
    assert (sent.delivery.fields["title"], sent.delivery.key) == ("mended", letter.delivery.key)
    assert ledger.letter(one) is None, "it is none any more"


def test_what_may_have_arrived_goes_again_as_it_was_or_not_at_all(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer"))
    record(ledger, claim(ledger), NothingFound(detail="no incident has this key"))
    letter = claim(ledger)
    record(ledger, letter, REFUSED)
    held = ledger.letter(letter.delivery.id)
    assert held is not None
    assert not held.may_change
    with pytest.raises(LetterError, match="one body under one key"):
        ledger.replayed_mended(letter.delivery.id, held.body)
    assert told(ledger) == [("create", "dead")], "nothing was changed by trying"


def test_an_incident_knows_its_event_its_reports_and_its_place(ledger: Ledger) -> None:
    settle(ledger, fires("z"))
    settle(ledger, fires("a"))
    incident = ledger.incidents(limit=1).items[0]["id"]
    story = ledger.incident_story(incident)
    assert (story["place"]["action"], story["place"]["number"]) == ("create", 2)
    claim(ledger)
    settle(ledger, ends("z"), fires("a"))
    story = ledger.incident_story(incident)
    assert [(one["status"], one["outcome"]) for one in story["reports"]] == [
        ("firing", "opened"),
        ("firing", "duplicate"),
    ]
    assert story["place"]["number"] == 1
    assert story["telling"] == {"flaps": 0, "since": None}
    assert ledger.opening_event(incident) == (story["reports"][0]["event"], 0)
    assert ledger.opening_event("nothing") is None


def test_a_place_says_nothing_of_when_while_the_lane_is_paused(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    ledger.paused("pd")
    place = ledger.incident_story(ledger.incidents(limit=1).items[0]["id"])["place"]
    assert (place["number"], place["eta_s"]) == (1, None)
    assert ledger.finish_s("pd", 5) is None
    assert ledger.finish_s("nobody", 5) is None


@pytest.fixture
def slow(ledger_url: str) -> Iterator[tuple[Ledger, MovedDatabase]]:
    """A lane of one create a minute, and its clock."""
    database = MovedDatabase(ledger_url)
    ledger = ledger_of(database, pd=route(of=pace(interval=timedelta(minutes=1), burst=1)))
    yield ledger, database
    ledger.close()


def test_when_the_last_of_many_letters_goes_is_said_before(slow: tuple[Ledger, MovedDatabase]) -> None:
    ledger, _ = slow
    assert ledger.finish_s("pd", 1) == pytest.approx(0, abs=1)
    assert ledger.finish_s("pd", 4) == pytest.approx(180, abs=5)


def test_the_last_of_those_that_wait_goes_when_those_before_it_went(slow: tuple[Ledger, MovedDatabase]) -> None:
    ledger, _ = slow
    settle(ledger, *(fires(f"x{number}") for number in range(3)))
    assert ledger.finish_s("pd", 0) == pytest.approx(120, abs=5)
    assert ledger.finish_s("pd", 1) == pytest.approx(180, abs=5)


def test_what_an_incident_waits_for_is_what_the_list_of_deliveries_says_in_a_storm_too(ledger_url: str) -> None:
    one_a_minute = pace(interval=timedelta(minutes=1), burst=1, max_wait=timedelta(minutes=2))
    ledger = ledger_of(MovedDatabase(ledger_url), pd=route(of=one_a_minute))
    for number in range(10):
        settle(ledger, fires(f"x{number}"))
    newest = ledger.deliveries(limit=1).items[0]
    place = ledger.incident_story(newest["incident"])["place"]
    assert (place["number"], place["eta_s"]) == (10, pytest.approx(newest["eta_s"], abs=5))
    assert ledger.finish_s("pd", 0) == pytest.approx(newest["eta_s"], abs=5)
    assert newest["eta_s"] <= 60, "ten of one kind go out as one"
    ledger.close()


def test_a_refused_key_is_tried_again_at_once_when_a_person_says_so(slow: tuple[Ledger, MovedDatabase]) -> None:
    ledger, _ = slow
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), UNAUTHORIZED)
    (lane,) = ledger.lanes({"pd": ("pagerduty", "1/min")})
    assert lane["held_by"] == "auth"
    assert ledger.claim("pd") is None
    assert (ledger.probed("pd"), ledger.probed("nobody")) == ("pd", None)
    (lane,) = ledger.lanes({"pd": ("pagerduty", "1/min")})
    assert lane["held_by"] is None


@pytest.mark.parametrize("reason", [Reason.SERVER_ERROR, Reason.CONNECTION_LOST, Reason.NOT_CONNECTED])
def test_a_failing_upstream_is_asked_again_at_once_when_a_person_says_so(ledger: Ledger, reason: Reason) -> None:
    settle(ledger, fires("a"))
    for _ in range(3):
        failed = TransientFailure(reason=reason, detail="no")
        ledger.record(finished(claim(ledger), failed, jitter=1.0), claim_next=False)
        ledger.probed("pd")
    assert ledger.lanes({"pd": ("pagerduty", "1/min")})[0]["held_by"] == "failing"
    assert claim(ledger).attempt == 4


def test_a_429_is_respected_whoever_asks(slow: tuple[Ledger, MovedDatabase]) -> None:
    ledger, _ = slow
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), TransientFailure(reason=Reason.RATE_LIMITED, detail="429", retry_after_s=60.0))
    ledger.probed("pd")
    (lane,) = ledger.lanes({"pd": ("pagerduty", "1/min")})
    assert lane["held_by"] == "rate_limited"


def test_a_day_counts_what_came_what_went_and_what_failed(ledger: Ledger) -> None:
    dead(ledger, "a")
    settle(ledger, fires("b"), fires("c"))
    record(ledger, claim(ledger), delivered())
    day = ledger.day()
    # an event's hour is told by its id to 33 s: one of an hour's beginning may count for the hour before
    assert (sum(day.received[-2:]), sum(day.received), day.is_whole) == (2, 2, True)
    assert sum(day.by_rule["r"]) == 3
    kinds = {kind: sum(numbers) for kind, numbers in day.by_account["pd"].items()}
    assert kinds == {"created": 1, "folded": 0, "failed": 1}
    lately = ledger.lately()
    assert (lately.received, lately.outcomes, lately.per_minute) == (2, {"opened": 3}, pytest.approx(0.2))


def test_what_fires_in_a_letter_is_known_by_the_last_report_of_each_problem(ledger: Ledger) -> None:
    """Of one whose place another took as well: its problems moved on, their reports did not."""
    for fingerprint in ("a", "b", "c"):
        settle(ledger, fires(fingerprint, parts=("x",)))
    record(ledger, claim(ledger), REFUSED)
    settle(ledger, ends("c"))
    settle(ledger, fires("a", parts=("x",)))  # a new episode, which b moves on to
    record(ledger, claim(ledger), REFUSED)
    last_of_a, _, _, last_of_b, _ = [one["id"] for one in ledger.events(EventQuery()).items]
    incident = ledger.incidents(limit=1).items[0]
    assert {one["fingerprint"] for one in incident["members"]} == {"a", "b"}
    assert ledger.last_firing(incident["id"]) == [(last_of_b, 0), (last_of_a, 0)]
    settle(ledger, ends("a"))
    assert ledger.last_firing(incident["id"]) == [(last_of_b, 0)]
    assert ledger.last_firing("nothing") == []


def test_a_broken_template_is_known_by_its_rule(ledger: Ledger) -> None:
    settle(ledger, fires("a", rule="bad", notes=("title: its template failed: no such field",)), fires("b"))
    assert ledger.troubles("another book")["templates"] == [], "whoever mends the rule is left in peace"
    (one,) = ledger.troubles("h")["templates"]
    assert (one["event"], 0) == ledger.opening_event(one["incident"]), "what the playground opens"
    assert (one["rule"], one["number"], one["note"]) == ("bad", 1, "title: its template failed: no such field")


def test_events_are_found_by_account_label_and_time(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    settle(ledger, ends("nobody"))

    def found(**query: object) -> int:
        return len(ledger.events(EventQuery(**query)).items)  # type: ignore[arg-type]

    assert (found(account="pd"), found(account="other")) == (1, 0)
    assert (found(label="team=db"), found(label="team")) == (0, 0)
    assert (found(label="status=firing"), found(label="source"), found(label="title")) == (0, 0, 0), (
        "these are no labels"
    )
    labels = {"env": 'prod "eu"', "status": "red}"}
    settle(ledger, replace(fires("b"), reading=alert("b", labels=labels)))
    assert (found(label="status=red}"), found(label="status"), found(label='env=prod "eu"')) == (1, 1, 1)
    assert (found(label="env=prod"), found(label="env=red}")) == (0, 0)
    now = datetime.now(UTC)
    assert (found(until=now + timedelta(minutes=1)), found(until=now - timedelta(hours=1))) == (3, 0)
    assert (found(since=now - timedelta(minutes=1)), found(since=now + timedelta(hours=1))) == (3, 0)
    assert found(q="a") == 1


@pytest.mark.parametrize("words", ["Überlast in Škoda", "überlast", "ÜBERLAST IN ŠKODA IS", "škoda IS down"])
def test_a_title_is_found_in_capitals_and_in_small_letters_of_any_alphabet(ledger: Ledger, words: str) -> None:
    settle(ledger, fires("Überlast in Škoda"))
    settle(ledger, fires("Uberlast in Skoda"))
    (event,) = ledger.events(EventQuery(q=words)).items
    (line,) = ledger.event_lines([event["id"]])[event["id"]]
    assert line["title"] == "Überlast in Škoda is down"


def test_of_a_batch_those_alerts_are_listed_that_were_asked_for_or_tell_most(ledger: Ledger) -> None:
    settle(ledger, fires("again", severity=Severity.CRITICAL))
    batch = [
        *(fires("again", severity=Severity.CRITICAL), fires("warns", severity=Severity.WARNING), ends("nobody")),
        *(fires("unsaid", rule="rare"), fires("critical", severity=Severity.CRITICAL)),
    ]
    settle(ledger, *batch)
    event = ledger.events(EventQuery(limit=1)).items[0]["id"]

    def told(most: int | None, **query: str) -> list[str]:
        lines = ledger.event_lines([event], most, EventQuery(**query))[event]  # type: ignore[arg-type]
        return [line["fingerprint"] for line in lines]

    assert told(None) == ["again", "warns", "nobody", "unsaid", "critical"]
    assert told(9) == ["critical", "nobody", "unsaid", "warns", "again"]
    assert told(2) == ["critical", "nobody"]
    asked = ({"rule": "rare"}, {"outcome": "duplicate"}, {"q": "WARNS is"}, {"q": "nobody"}, {"account": "pd"})
    assert [told(1, **one) for one in asked] == [["unsaid"], ["again"], ["warns"], ["nobody"], ["critical"]]


def test_a_list_says_which_alerts_opened_what_could_not_be_sent(ledger: Ledger) -> None:
    dead(ledger, "unsent")
    settle(ledger, fires("waits"), fires("unsent-not"))
    ids = [event["id"] for event in ledger.events(EventQuery()).items]

    def states(most: int | None) -> dict[str, tuple[str, str]]:
        lines = [line for found in ledger.event_lines(ids, most).values() for line in found]
        return {line["fingerprint"]: (line["outcome"], line["incident_state"]) for line in lines}

    pending = ("opened", "pending")
    assert states(None) == states(9) == {"unsent": ("opened", "dead"), "waits": pending, "unsent-not": pending}
    rows = re.findall(r"<tr>.*?</tr>", Browser(web_app(ledger)).get("/events").text, re.DOTALL)
    (marked,) = (row for row in rows if '<span class="chip bad">dead</span>' in row)
    assert "unsent is down" in marked


def test_what_is_bound_to_an_account_that_is_not_configured_is_on_the_first_page(ledger: Ledger) -> None:
    pages = Browser(web_app(ledger))
    settle(ledger, fires("a"))
    assert "is not configured" not in pages.get("/").text
    settle(ledger, fires("b", account="renamed"))
    text = pages.get("/").text
    assert "renamed is not configured" in text
    assert "1 delivery waits: nobody sends anything there" in text
    (link,) = re.findall(r'href="(/incidents\?account=[^"]+)"', text)
    page = pages.get(link).text
    assert ("b is down" in page, "a is down" in page) == (True, False)
    assert "<option selected>renamed</option>" in page


def test_of_many_members_a_page_shows_those_that_fire_and_are_severe(ledger: Ledger) -> None:
    one = {"parts": ("one",)}
    settle(ledger, fires("over", severity=Severity.CRITICAL, **one))
    settle(ledger, *(fires(f"warns {number}", severity=Severity.WARNING, **one) for number in range(MEMBERS_SHOWN)))
    settle(ledger, fires("critical", severity=Severity.CRITICAL, **one), ends("over"))
    (incident,) = ledger.incidents(limit=5, before=None).items
    page = Browser(web_app(ledger)).get(f"/incidents/{incident['id']}").text
    members = page.partition("<h2>Members</h2>")[2].partition("</table>")[0]
    assert "201 of 202 members fire; here are 200, what fires and is severe first" in members
    first = members.partition("<tbody>")[2].partition("</tr>")[0]
    assert "critical is down" in first
    assert "over is down" not in members
    assert "warns 0 is down" in members


def test_a_filtered_page_says_where_it_stopped_and_the_next_goes_on_there(ledger: Ledger) -> None:
    settle(ledger, fires("rare", rule="rare"))
    for number in range(7):
        settle(ledger, fires(f"x{number}"))
    before, pages = None, 0
    items: list[object] = []
    while pages < 10:
        page = ledger.events(EventQuery(rule="rare", within=3, before=before))
        items += page.items
        pages += 1
        if page.next is None:
            break
        assert page.note is not None
        before = page.next
    assert (len(items), pages) == (1, 3)


def test_live_incidents_and_those_that_are_over_are_listed_apart(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    settle(ledger, fires("b"))
    settle(ledger, ends("a"))
    assert [one["state"] for one in ledger.incidents(live=True, limit=9).items] == ["pending"]
    assert [one["state"] for one in ledger.incidents(live=False, limit=9).items] == ["cancelled"]


@pytest.mark.parametrize("unseen", ["", "\u200b\u2060"])
def test_what_has_no_title_to_see_has_headings_that_can_be_seen(ledger: Ledger, unseen: str) -> None:
    decided = (decision("a", title=unseen),)
    settle(ledger, Decided(reading=alert("a", title=unseen), decisions=decided, matched=("r",)))
    letter = claim(ledger)
    record(ledger, letter, REFUSED)
    (incident,), (event,) = ledger.incidents(limit=9).items, ledger.events(EventQuery()).items
    browser = Browser(web_app(ledger))
    for path in (f"/incidents/{incident['id']}", f"/events/{event['id']}", f"/dead/{letter.delivery.id}"):
        page = browser.get(path).text
        headings = re.findall(r"<(?:title|h1|h2)\b[^>]*>(?:<span\b[^>]*>)?(.*?)[<·]", page)
        assert len(headings) > 2
        assert not any("\u200b" in heading or not heading.strip() for heading in headings), headings
