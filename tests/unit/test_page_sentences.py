"""What the first page asks of a person: only what a person has to do, and how."""

from typing import Any

import pytest

from bridge.entrypoints.web.ui.incident_pages import ordinal, place_sentence
from bridge.entrypoints.web.ui.needs import Need, needs_of, of_turned_away, title_of, waits_for_others
from bridge.entrypoints.web.ui.words import body_text, json_text, link, titled, with_beats, with_links


def lane(**changes: Any) -> dict[str, Any]:
    plain = {"account": "pd", "held_by": None, "parked": None, "waiting": 3, "oldest_wait_s": 5.0}
    return {**plain, **changes}


def needed(**changes: Any) -> tuple[Need, ...]:
    return needs_of([lane(**changes)], (), (), {}, ())


@pytest.mark.parametrize("title", ["Disk full", "磁盘已满", "!", "डिस्क", "🔥", "\u200bx"])
def test_a_title_that_can_be_seen_stands_as_it_is(title: str) -> None:
    assert titled(title) == title


@pytest.mark.parametrize("title", [None, "", " \t\n", "\u200b\u200d\ufeff", "\u202e\u2066", "\u3164\u2800", "\ufe0f"])
def test_a_title_without_anything_to_see_is_said_to_be_none(title: str | None) -> None:
    assert titled(title) == "(no title)"
    assert titled(title, "CPU-7") == "CPU-7"


@pytest.mark.parametrize("held_by", [None, "rate_limited", "exhausted", "failing"])
def test_what_mends_itself_needs_nobody(held_by: str | None) -> None:
    assert needed(held_by=held_by) == ()


@pytest.mark.parametrize(
    ("changes", "what", "act"),
    [
        ({"held_by": "auth"}, "pd refuses our key (401)", "Probe now"),
        ({"held_by": "forbidden"}, "pd forbids this to our key (403)", "Probe now"),
        ({"held_by": "paused"}, "pd is held back by an operator", "Resume"),
        ({"held_by": "paused", "paused_by": "alice"}, "pd is held back by alice", "Resume"),
        ({"held_by": "failing", "oldest_wait_s": 200.0}, "pd brings no usable answer", "Probe now"),
    ],
)
def test_what_does_not_comes_with_its_remedy(changes: dict[str, Any], what: str, act: str) -> None:
    (need,) = needed(**changes)
    assert need.what == what
    assert need.mend
    assert need.act is not None
    assert need.act[1] == act


def test_a_lane_that_fails_says_what_it_heard_at_last() -> None:
    (need,) = needed(held_by="failing", oldest_wait_s=200.0, parked="3 calls", last_said="HTTP 200: <title>Log in")
    assert "3 calls; at last: HTTP 200: <title>Log in; " in need.more


def test_a_source_that_refuses_everybody_names_the_secret_and_what_came_before() -> None:
    (need,) = of_turned_away({"dd": 14})
    assert need.what == "dd refuses every webhook (401)"
    assert need.more.startswith("14 webhooks in this hour and the last")
    assert "sources.dd in bridge.yaml" in need.mend
    assert need.links == (("/events?source=dd", "See what came before"),)
    assert of_turned_away({}) == ()


def test_a_lane_far_behind_shows_what_waits() -> None:
    (need,) = needed(oldest_wait_s=700.0)
    assert need.what == "pd is far behind"
    assert need.links == (("/incidents?state=pending&account=pd", "See what waits"),)


@pytest.mark.parametrize(
    ("is_open", "waiting", "more"),
    [
        (1, 0, "1 incident is open there: nobody sends anything there"),
        (2, 1, "2 incidents are open there and 1 delivery waits: nobody sends anything there"),
        (0, 3, "3 deliveries wait: nobody sends anything there"),
    ],
)
def test_what_is_bound_to_an_account_that_is_not_configured_needs_a_person(
    is_open: int, waiting: int, more: str
) -> None:
    one = {"account": "old pd", "open": is_open, "waiting": waiting}
    (need,) = needs_of((), (), (), {}, (), [one])
    assert (need.what, need.more) == ("old pd is not configured", more)
    assert need.links == (("/incidents?account=old+pd", "See its incidents"),)


def test_a_dead_letter_names_the_line_of_its_rule_or_that_the_rule_is_gone() -> None:
    cause = {"account": "pd", "rule": "a b", "reason": "bad_request", "detail": "no such service", "number": 2}
    (need,) = needs_of((), [cause], (), {"a b": "rules/x.yaml:4"}, ())
    assert (need.what, need.more) == ("2 dead letters of pd: no such service", "rule a b (rules/x.yaml:4)")
    assert need.links[0][0] == "/dead?account=pd&rule=a+b&reason=bad_request"
    (need,) = needs_of((), [{**cause, "detail": None}], (), {}, ())
    assert need.more == "rule a b, which is not in force any more"


def test_a_dead_letter_that_no_rule_is_at_fault_for_sends_nobody_to_the_rule_alone() -> None:
    cause = {"account": "pd", "rule": "a", "reason": "refused", "detail": "'from' is no user there", "number": 2}
    (need,) = needs_of((), [cause], (), {"a": "rules/x.yaml:4"}, ())
    assert "the account in bridge.yaml (its from, its base_url; then start the bridge anew)" in need.mend
    (need,) = needs_of((), [{**cause, "reason": "bad_request"}], (), {"a": "rules/x.yaml:4"}, ())
    assert "bridge.yaml" not in need.mend


@pytest.mark.parametrize(
    ("held_by", "waits"),
    [("auth", True), ("forbidden", True), ("paused", True), ("rate_limited", False), ("failing", True), (None, False)],
)
def test_a_lane_that_waits_for_others_has_no_time_at_which_all_is_told(held_by: str | None, waits: bool) -> None:
    assert waits_for_others(lane(held_by=held_by)) == waits


def test_the_title_says_whether_anybody_is_needed() -> None:
    one = needed(held_by="auth")
    assert [title_of(found) for found in ((), one, one * 3)] == [
        "Nothing needs you", "One thing needs you", "3 things need you",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (101, "101st")]
)
def test_a_place_is_told_as_people_count(number: int, said: str) -> None:
    assert ordinal(number) == said


def test_a_place_in_the_lane_says_when() -> None:
    assert place_sentence(None) is None
    assert (
        place_sentence({"action": "create", "number": 3, "eta_s": 40.0}) == "its create is 3rd in the lane, about 40 s"
    )
    assert "just now" in str(place_sentence({"action": "create", "number": 0, "eta_s": 0.0}))
    assert "nobody can tell" in str(place_sentence({"action": "resolve", "number": 1, "eta_s": None}))


@pytest.mark.parametrize("href", [None, "", "javascript:alert(1)", "//evil.example", "data:text/html,x", " https://x"])
def test_only_web_addresses_are_linked_to(href: str | None) -> None:
    assert link(href) is None
    assert link("HTTPS://runbook.example/x") == "HTTPS://runbook.example/x"


def test_a_body_is_shown_with_its_lines_broken_when_it_is_json() -> None:
    assert body_text('{"a":1}') == '{\n  "a": 1\n}'
    assert body_text("a=1&b=2") == "a=1&b=2"
    assert body_text("[" * 100_000) == "[" * 100_000
    assert "no longer kept" in body_text(None)


def test_json_is_shown_in_the_letters_it_was_sent_in() -> None:
    assert json_text("Müller's <pumps> & 日本") == '"Müller\'s <pumps> & 日本"'
    assert json_text({"b": 1, "a": "x"}, indent=2) == '{\n  "b": 1,\n  "a": "x"\n}'


def test_half_a_character_is_shown_as_it_was_escaped() -> None:
    assert body_text('{"title": "cut off \\ud83d"}') == '{\n  "title": "cut off \\ud83d"\n}'
    assert json_text("\udc00") == '"\\udc00"'
    assert json_text("\U0001f600") == '"\U0001f600"', "a whole one as itself"


def test_an_incident_that_a_sentence_names_is_a_link_and_nothing_else_is_markup() -> None:
    named = "01M80AAWRDZ4NEWV1X7YG6BBCE"
    assert with_links(f"folded into incident {named}") == (
        f'folded into <a href="/incidents/{named}">incident {named}</a>'
    )
    assert with_links("<b>incident 7</b>") == "&lt;b&gt;incident 7&lt;/b&gt;"


def test_a_silent_process_is_bad_only_where_none_of_its_kind_beats() -> None:
    processes = [("worker", 45.0), ("worker", 2.0), ("clock", 31.0), ("web", 30.0)]
    found = with_beats([{"kind": kind, "beat_age_s": age} for kind, age in processes], silent_after_s=30.0)
    assert [(one["word"], one["chip"]) for one in found] == [
        ("silent", ""), ("beats", "ok"), ("silent", "bad"), ("beats", "ok"),
    ]  # fmt: skip
