"""Silences in the ledger, on both databases: what they hide, what they never hide, and what is left of them."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from bridge.adapters.ledger import Ledger
from bridge.domain.alert import Alert, Severity, Status
from bridge.domain.decision import Decided, Mode
from bridge.domain.silences import Silence
from tests.ledgers import alert, ends, fires, settle, states, told, webhook

HOUR = timedelta(hours=1)


def silence(ledger: Ledger, **changes: Any) -> Silence:
    now = datetime.now(UTC)
    plain: dict[str, Any] = {
        "id": ledger.new_id(),
        "match": {"labels.env": "staging"},
        "starts_at": now - HOUR,
        "ends_at": now + HOUR,
        "author": "operations",
        "reason": "a planned test",
    }
    return Silence(**{**plain, **changes})


def silenced(ledger: Ledger, fingerprint: str, *silences: Silence, **changes: Any) -> dict[str, Any]:
    """The first decision about a firing alert that these silences match."""
    results, lanes = ledger.settle([webhook(ledger, fires(fingerprint, silences=silences, **changes))])
    event = ledger.event(results[0].event_id)
    assert event is not None
    decision: dict[str, Any] = event["alerts"][0]["decisions"][0]
    assert bool(lanes) == (decision["outcome"] == "opened")
    return decision


def test_what_a_silence_hides_is_on_record_with_its_id_and_opens_nothing(ledger: Ledger) -> None:
    held = silence(ledger)
    decision = silenced(ledger, "a", held)
    assert (decision["outcome"], decision["silence"]) == ("silenced", held.id)
    assert held.id in decision["reason"]
    assert "a planned test" in decision["reason"]
    assert (states(ledger), told(ledger)) == ([], [])


def test_a_silence_hides_no_critical_unless_it_was_asked_to(ledger: Ledger) -> None:
    assert silenced(ledger, "a", silence(ledger), severity=Severity.CRITICAL)["outcome"] == "opened"
    asked = silence(ledger, criticals=True)
    assert silenced(ledger, "b", asked, severity=Severity.CRITICAL)["outcome"] == "silenced"


def test_before_it_begins_and_after_its_end_a_silence_hides_nothing(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    over, later = silence(ledger, ends_at=now - HOUR / 2), silence(ledger, starts_at=now + HOUR / 2)
    assert silenced(ledger, "a", over, later)["outcome"] == "opened"
    holds = silence(ledger)
    assert silenced(ledger, "b", over, later, holds)["silence"] == holds.id


def test_a_second_click_is_no_second_silence(ledger: Ledger) -> None:
    added: list[str] = []
    both = [
        threading.Thread(target=lambda: added.append(ledger.silence_added(silence(ledger))["id"])) for _ in range(6)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert (len(added), len(set(added))) == (6, 1)
    ledger.silence_ended(added[0], "somebody")
    assert ledger.silences_standing() == (), "nothing goes on hiding after its end"
    again = ledger.silence_added(silence(ledger))
    assert (again["state"], again["id"] in added) == ("active", False), "what was ended may be silenced anew"


@pytest.mark.parametrize(
    "change",
    [
        {"match": {"labels.env": "dev"}},
        {"author": "another"},
        {"reason": "another"},
        {"criticals": True},
        {"ends_at": datetime.now(UTC) + 2 * HOUR},
        {"starts_at": datetime.now(UTC)},
    ],
)
def test_a_silence_that_differs_in_anything_is_another(ledger: Ledger, change: dict[str, Any]) -> None:
    first, second = (ledger.silence_added(silence(ledger, **more))["id"] for more in ({}, change))
    assert first != second


def test_a_silence_ended_by_hand_hides_nothing_more_whoever_does_not_know_it_yet(ledger: Ledger) -> None:
    held, other = silence(ledger), silence(ledger, reason="another test")
    for one in (held, other):
        ledger.silence_added(one)
    assert silenced(ledger, "a", held, other)["silence"] == held.id
    ledger.silence_ended(held.id, "somebody")
    assert silenced(ledger, "b", held, other)["silence"] == other.id
    assert silenced(ledger, "c", held)["outcome"] == "opened"


def test_when_a_silence_is_over_the_next_report_of_what_still_fires_pages(ledger: Ledger) -> None:
    assert silenced(ledger, "a", silence(ledger))["outcome"] == "silenced"
    assert settle(ledger, fires("a")) == ["opened"]


def test_the_end_of_a_problem_is_passed_on_whatever_is_silenced(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    assert silenced(ledger, "a", silence(ledger))["outcome"] == "silenced"
    assert settle(ledger, ends("a")) == ["cancelled"]
    assert states(ledger) == ["cancelled"]


def test_a_shadow_rule_stays_one_under_a_silence(ledger: Ledger) -> None:
    assert silenced(ledger, "a", silence(ledger), mode=Mode.SHADOW)["outcome"] == "shadow"


def test_of_two_rules_one_can_be_hidden_and_the_other_page(ledger: Ledger) -> None:
    quiet = fires("a", silences=(silence(ledger),)).decisions[0]
    loud = fires("a", parts=("other",), severity=Severity.CRITICAL, silences=(silence(ledger),)).decisions[0]
    results, _ = ledger.settle([webhook(ledger, Decided(reading=alert("a"), decisions=(quiet, loud), matched=("r",)))])
    event = ledger.event(results[0].event_id)
    assert event is not None
    assert [one["outcome"] for one in event["alerts"][0]["decisions"]] == ["silenced", "opened"]


def test_a_silence_is_listed_counted_ended_and_kept(ledger: Ledger) -> None:
    held = silence(ledger)
    made = ledger.silence_added(held)
    assert (made["state"], made["match"], made["hidden"]) == ("active", {"labels.env": "staging"}, 0)
    assert ledger.in_force().silences_no == 1
    assert ledger.silences_standing() == (held,)
    for fingerprint in ("a", "b"):
        silenced(ledger, fingerprint, held)
    (listed,) = ledger.silences().items
    assert listed["hidden"] == 2
    ended, _ = ledger.silence_ended(held.id, "somebody")
    assert ended is not None
    assert (ended["state"], ended["ended_by"], ended["hidden"]) == ("ended", "somebody", 2)
    assert ledger.in_force().silences_no == 2
    assert ledger.silences_standing() == ()
    again, was_ended_now = ledger.silence_ended(held.id, "somebody else")
    assert not was_ended_now
    assert again == ended
    assert ledger.silence(held.id) == ended


def test_an_unknown_silence_is_none(ledger: Ledger) -> None:
    assert ledger.silence("no") is None
    assert ledger.silence_ended("no", "somebody") == (None, False)


def test_those_that_hold_are_listed_before_those_that_are_over_page_by_page(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    holds, coming, newer = silence(ledger), silence(ledger, starts_at=now + HOUR / 2), silence(ledger, reason="newer")
    for one in (holds, coming, newer):
        ledger.silence_added(one)
    ledger.silence_ended(newer.id, "somebody")
    first = ledger.silences(limit=2)
    assert [one["state"] for one in first.items] == ["pending", "active"]
    rest = ledger.silences(limit=2, before=first.next)
    assert [one["id"] for one in rest.items] == [newer.id]
    assert rest.next is None


def test_page_by_page_every_silence_is_listed_once_and_no_page_reads_the_others(ledger: Ledger) -> None:
    ids = [ledger.silence_added(silence(ledger, reason=f"part {number}"))["id"] for number in range(9)]
    for number in (1, 4, 5, 8):
        ledger.silence_ended(ids[number], "somebody")
    asked: list[str] = []

    @event.listens_for(ledger.database.engine, "before_cursor_execute")
    def _noted(_connection: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        asked.append(sql)

    found: list[str] = []
    before: str | None = None
    while True:
        page = ledger.silences(limit=2, before=before)
        found += [one["id"] for one in page.items]
        before = page.next
        if before is None:
            break
    assert found == [ids[number] for number in (7, 6, 3, 2, 0, 8, 5, 4, 1)]
    of_pages = [sql for sql in asked if "silences.reason" in sql]
    assert len(of_pages) == 5
    assert all("LIMIT" in sql for sql in of_pages)


def test_silences_that_were_over_before_the_history_begins_are_let_go(ledger: Ledger) -> None:
    ledger.silence_added(silence(ledger))
    kept = silence(ledger, reason="kept")
    ledger.silence_added(kept)
    with ledger.database.writing() as transaction:
        transaction.connection.execute(
            text("UPDATE silences SET ends_at = :then WHERE id <> :kept"),
            {"then": int((datetime.now(UTC) - timedelta(days=91)).timestamp() * 1_000_000), "kept": kept.id},
        )
    ledger.pruned(timedelta(days=7), timedelta(days=90))
    assert [one["id"] for one in ledger.silences().items] == [kept.id]


def everything(_alert: Alert) -> bool:
    return True


def test_a_preview_counts_what_fired_lately_and_spares_criticals(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    settle(ledger, fires("a"))
    settle(ledger, fires("b", severity=Severity.CRITICAL))
    settle(ledger, ends("a"))
    found = ledger.silence_preview(everything, criticals=False, within=HOUR, reads_payload=False)
    assert (found.alerts, found.opened, found.criticals, found.note) == (2, 1, 1, None)
    assert [one["title"] for one in found.items] == ["a is down", "a is down"]
    asked = ledger.silence_preview(everything, criticals=True, within=HOUR, reads_payload=False)
    assert (asked.alerts, asked.opened, asked.criticals) == (3, 2, 0)


def test_a_preview_asks_about_the_alert_as_it_was_read(ledger: Ledger) -> None:
    whole = alert(
        "a",
        labels={"env": "staging"},
        severity=Severity.WARNING,
        episode="e",
        description="long",
        starts_at=datetime(2026, 1, 5, tzinfo=UTC),
    )
    settle(ledger, Decided(reading=whole))
    seen: list[Alert] = []

    def noted(one: Alert) -> bool:
        seen.append(one)
        return False

    assert ledger.silence_preview(noted, criticals=False, within=HOUR, reads_payload=False).alerts == 0
    (read,) = seen
    assert read.status is Status.FIRING
    for name in ("source", "fingerprint", "title", "labels", "severity", "episode", "description", "starts_at"):
        assert getattr(read, name) == getattr(whole, name), name


def test_a_preview_reads_the_payload_again_from_the_body(ledger: Ledger) -> None:
    opened = Ledger(ledger.database, ledger.routes, lambda source, headers, body: [{"said": body.decode()}])
    settle(opened, fires("a"))
    payloads: list[Any] = []

    def noted(one: Alert) -> bool:
        payloads.append(one.payload)
        return True

    assert opened.silence_preview(noted, criticals=False, within=HOUR, reads_payload=True).alerts == 1
    assert payloads == [{"said": '{"title": "x"}'}]


def test_the_report_on_shadow_rules_is_made_of_the_records(ledger: Ledger) -> None:
    settle(ledger, fires("a", mode=Mode.SHADOW))
    settle(ledger, fires("b", mode=Mode.SHADOW, parts=("s", "a")))
    settle(ledger, fires("c"))
    settle(ledger, ends("a"), ends("b"))
    settle(ledger, fires("d", mode=Mode.SHADOW))
    (found,), note = ledger.shadowed(HOUR, most=100)
    assert (found.rule, found.alerts, found.opened, found.joined, found.resolved) == ("r", 3, 2, 1, 1)
    assert note is None
    (newest,), note = ledger.shadowed(HOUR, most=1)
    assert (newest.alerts, note) == (1, "only the newest 1 alerts were looked at")
