"""Every action in a real browser, and the four troubles of a bad night: found, understood and mended from the pages."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests
from argon2 import PasswordHasher

from tests.browser.conftest import WIDE, Look
from tests.browser.scene import Scene
from tests.e2e.processes import Bridge, writing

pytestmark = pytest.mark.e2e


def said(look: Look) -> str:
    """The sentence that an action is answered with."""
    return str(look.page.locator(".said").first.inner_text())


def test_a_refused_key_is_found_understood_and_mended(look: Look, bridge: Scene) -> None:
    page = look.at("/")
    assert "need you" in page.title() or "needs you" in page.title()
    need = page.locator(".needs", has_text="eu refuses our key (401)").first
    assert "accounts.eu in bridge.yaml" in need.inner_text()
    assert "1 delivery waits, nothing is lost" in need.inner_text()
    bridge.elsewhere.script.clear()  # what the upstream's people do: the key is valid again
    look.follow(need.get_by_role("button", name="Probe now"))
    assert said(look) == "eu is asked again just now"
    bridge.eventually(lambda: "eu refuses our key" not in look.at("/").inner_text("main"))
    bridge.eventually(lambda: len(bridge.elsewhere.store.records("pagerduty")) == 1)


def test_a_dead_letter_is_found_changed_previewed_and_replayed(look: Look, bridge: Scene) -> None:
    page = look.at("/")
    need = page.locator(".needs", has_text="2 dead letters of pd").first
    assert "Service is archived" in need.inner_text()
    assert "rules/a-team.yaml:" in need.inner_text(), "where the rule stands"
    look.follow(need.get_by_role("link", name="See the letters"))
    look.follow(page.get_by_role("link", name="Search errors are at 1 %").first)
    page.get_by_label("title", exact=True).fill("Search fails for one in a hundred")
    look.press("Preview")
    assert "Search fails for one in a hundred" in page.locator("pre").first.inner_text()
    assert bridge.upstream("Search fails for one in a hundred") == [], "a preview sends nothing"
    look.press("Replay with these fields")
    assert "Back in line with your changes" in said(look)
    bridge.arrives("Search fails for one in a hundred")


def test_many_letters_go_after_a_look_at_them_and_none_without_a_reason(look: Look, bridge: Scene) -> None:
    page = look.at("/dead")
    rows = page.locator("tbody tr")
    assert rows.count() == 1, "one bad rule is one row"
    look.follow(rows.first.get_by_role("link").first)
    look.press("Discard …")
    assert "Discard 1 letter?" in page.inner_text("h1")
    assert "Search errors are at 2 %" in look.text()
    look.button("Discard 1 letter").click()
    assert "Discard 1 letter?" in page.inner_text("h1"), "the browser asks for the reason"
    look.follow(page.get_by_role("link", name="Leave it"))
    look.follow(page.locator("tbody tr a").first)
    look.press("Replay with today’s rules …")
    assert "It goes through the lane, at once." in look.text()
    assert "Of rule gone on pd:" in look.text()
    look.press("Replay 1 letter with today’s rules")
    assert "1 letter back in line" in said(look)
    bridge.arrives("[CRITICAL] Search errors are at 2 %")
    assert "No dead letters" in look.at("/dead").title()


def test_a_broken_template_is_found_and_the_mended_rule_tried_before_it_is_saved(look: Look, bridge: Scene) -> None:
    page = look.at("/")
    need = page.locator(".needs", has_text="A template of rule broken fails").first
    assert "there is no 'metric'" in need.inner_text()
    assert "rules/a-team.yaml:" in need.inner_text()
    look.follow(need.get_by_role("link", name="Try the rule"))
    look.press("Try")
    assert "its template failed" in page.inner_text("#result"), "the event that failed, and the rule that did"
    page.get_by_role("textbox", name="Payload").fill(
        '{"title": "Payments worker", "severity": "critical", "labels": {"kind": "broken"}}'
    )
    look.press("Try")
    assert "its template failed" in page.inner_text("#result")
    mended = page.get_by_role("textbox", name="Rule text").input_value().replace("payload.metric.name", "alert.title")
    page.get_by_role("textbox", name="Rule text").fill(mended)
    look.press("Try")
    assert "its template failed" not in page.inner_text("#result")
    assert "Payments worker is down" in page.inner_text("#result")
    assert bridge.upstream("Payments worker is down") == [], "the playground sends nothing"


def test_a_storm_is_understood_and_ended(look: Look, bridge: Scene) -> None:
    page = look.at("/")
    lane = page.get_by_role("region", name="Lane slow")
    assert re.search("[1-3][0-9] folded", lane.inner_text()), "of 40 alerts: what was a storm is seen the day after"
    page = look.at("/incidents")
    look.follow(page.locator("tr", has_text="folded into it").first.get_by_role("link").first)
    assert "Folded into this one" in look.text()
    inside = page.locator("h2:has-text('Folded into this one') ~ table").first.get_by_role("link").first
    look.follow(inside)
    requests.post(f"{bridge.url}/api/v1/lanes/slow/pause", json={}, timeout=20)
    look.press("Detach")
    assert said(look) == "Detached."
    assert "in the lane, nobody can tell when" in look.text(), "where it waits, and how long"
    look.press("Resolve")
    assert "Resolved by you" in said(look)
    assert "cancelled" in page.inner_text("h1"), "what was never sent is never sent"
    requests.post(f"{bridge.url}/api/v1/lanes/slow/resume", json={}, timeout=20)


def test_an_open_incident_takes_a_note_is_sent_again_and_let_go(look: Look, bridge: Scene) -> None:
    title = "Orders wait in the queue"
    event = bridge.tells("pd", title, account="pd")
    bridge.arrives(title)
    bridge.eventually(lambda: "open" in look.at(f"/incidents/{bridge.incident_of(event)}").inner_text("h1"))
    look.page.get_by_label("Note").fill("the queue team has it")
    look.press("Add note")
    assert said(look) == "Your note waits in the lane."
    look.press("Send again")
    assert "Sent again" in said(look)
    bridge.eventually(lambda: len(bridge.upstream(title)) == 2)
    bridge.eventually(lambda: look.page.reload() is not None and "open" in look.page.inner_text("h1"))
    look.press("Detach")
    assert said(look) == "Detached."
    assert "detached" in look.text()


def test_a_second_click_on_a_button_does_nothing_twice(look: Look, bridge: Scene) -> None:
    title = "Refunds hang"
    event = bridge.tells("pd", title, account="pd")
    bridge.arrives(title)
    incident = bridge.incident_of(event)
    bridge.eventually(lambda: "open" in look.at(f"/incidents/{incident}").inner_text("h1"))
    look.page.get_by_label("Note").fill("said once")
    button = look.page.get_by_role("button", name="Add note").element_handle()
    with writing(bridge.folder / "var" / "bridge.db"):  # the answer takes its time
        look.page.evaluate("button => { button.click(); setTimeout(() => button.click(), 300); }", button)
        look.page.wait_for_timeout(800)
    look.page.locator(".said").wait_for()
    notes = [one for one in bridge.get(f"deliveries?incident={incident}")["items"] if one["action"] == "note"]
    assert len(notes) == 1


def test_a_click_out_of_impatience_on_a_slow_link_sends_nothing_twice(chromium: Any, bridge: Scene) -> None:
    context = chromium.new_context(viewport=WIDE)
    page = context.new_page()
    page.clock.install()
    Look(page, bridge).at(f"/incidents/{bridge.incident_of(bridge.events['fine'])}")
    page.get_by_label("Note").fill("said once")
    sent = page.evaluate(
        """() => {
            const form = document.querySelector("form[action$='/note']"), went = [];
            addEventListener("submit", (one) => { went.push(!one.defaultPrevented); one.preventDefault(); });
            window.press = () => { form.requestSubmit(); return went; };
            return press();
        }"""
    )
    assert sent == [True]
    page.clock.fast_forward(20_000)  # the answer is on its way all the while
    assert page.evaluate("press()") == [True, False]
    page.clock.fast_forward(60_000)  # it was lost
    assert page.evaluate("press()") == [True, False, True]
    context.close()


def test_a_live_tail_whose_login_is_over_leads_to_the_login(chromium: Any, tmp_path: Path) -> None:
    ui = {"auth": {"username": "ops", "password_hash": "${UI_HASH}"}}
    env = {"UI_HASH": PasswordHasher(time_cost=1, memory_cost=1024).hash("a password")}
    context = chromium.new_context(viewport=WIDE)
    with Bridge(tmp_path, start=["web"], ui=ui, env=env) as closed:
        first, second = context.new_page(), context.new_page()
        first.goto(f"{closed.url}/events")
        first.get_by_label("Name").fill("ops")
        first.get_by_label("Password").fill("a password")
        with first.expect_navigation():
            first.get_by_role("button", name="Log in").click()
        first.get_by_label("live").check()
        second.goto(closed.url)
        with second.expect_navigation():
            second.get_by_role("button", name="log out").click()
        first.bring_to_front()
        first.wait_for_url("**/login", timeout=10_000)
        context.close()


def test_a_lane_is_paused_and_resumed(look: Look, bridge: Scene) -> None:
    look.at("/")
    look.press("Pause io", within="[aria-label='Lane io']")
    assert "io is paused" in said(look)
    assert "io is held back by an operator" in look.text()
    look.press("Resume")
    assert said(look) == "io goes on"


def test_events_are_filtered_and_followed_live(look: Look, bridge: Scene) -> None:
    page = look.at("/events")
    page.get_by_label("Outcome").select_option("unmatched")
    look.press("Filter")
    assert "No event matches." in look.text()
    page = look.at("/events?label=kind%3Dbroken&account=pd&rule=broken&since=1h")
    assert page.locator("#rows tbody tr").count() == 1
    page = look.at("/events")
    page.get_by_label("live").check()
    bridge.tells("pd", "Seen while looking on", account="io")
    page.get_by_role("link", name="Seen while looking on", exact=True).wait_for(timeout=10_000)
    assert page.locator(".needs").count() == 0


def test_a_live_tail_tells_who_listens_the_number_and_everybody_when_no_answer_comes(look: Look, bridge: Scene) -> None:
    page = look.at("/events")
    assert page.locator("[aria-live] table").count() == 0, "no screen reader is read every row every two seconds"
    page.get_by_label("live").check()
    bridge.tells("pd", "Heard while looking on", account="io")
    page.get_by_role("link", name="Heard while looking on", exact=True).wait_for(timeout=10_000)
    told = page.locator("#told").inner_text()
    assert told in ("1 more event", "2 more events")
    bridge.tells("pd", "Heard once more", account="io")
    page.get_by_role("link", name="Heard once more", exact=True).wait_for(timeout=10_000)
    assert page.locator("#told").inner_text() != told, "what stands there already is not announced"
    page.route("**/events", lambda asked: asked.abort())
    page.get_by_text("no answer just now").wait_for(timeout=10_000)
    page.unroute("**/events")
    page.get_by_text("no answer just now").wait_for(state="hidden", timeout=10_000)


def test_an_event_is_run_again_sent_again_copied_and_saved(chromium: Any, bridge: Scene) -> None:
    context = chromium.new_context(viewport=WIDE, permissions=["clipboard-read", "clipboard-write"])
    look = Look(context.new_page(), bridge)
    event = bridge.events["fine"]
    page = look.at(f"/events/{event}")
    look.button("Copy as curl").click()
    look.button("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl -H 'Content-Type: application/json'")
    assert copied.endswith(f"{bridge.url}/webhooks/lab")
    with page.expect_download() as saving:
        page.get_by_role("link", name="Save as a test").click()
    names = zipfile.ZipFile(io.BytesIO(saving.value.path().read_bytes())).namelist()
    assert [name.rpartition(".")[2] for name in sorted(names)] == ["json", "json", "yaml"]
    look.follow(page.get_by_role("link", name="Run with today’s rules"))
    assert "Nothing was sent" in look.text()
    assert "rule to-pd matches: an incident at pd" in look.text()
    look.press("Receive it again")
    assert "Received again" in said(look)
    assert "duplicate" in page.inner_text("h1")
    context.close()


def test_choosing_an_event_keeps_the_rule_text_and_an_event_opens_with_its_rule(look: Look, bridge: Scene) -> None:
    page = look.at(f"/events/{bridge.events['fine']}")
    look.follow(page.get_by_role("link", name="Try in the playground"))
    rules = page.get_by_role("textbox", name="Rule text")
    assert "to-pd" in rules.input_value()
    rules.fill(rules.input_value() + "# edited\n")
    page.get_by_label("or a sample").select_option("lab/critical")
    look.press("Fill the fields")
    rules = page.get_by_role("textbox", name="Rule text")
    assert "to-pd" in rules.input_value()
    assert rules.input_value().endswith("# edited\n"), "what was typed stays"
    body = page.get_by_role("textbox", name="Payload").input_value()
    page.get_by_label("Rules in force").select_option("rules/a-team.yaml")
    look.press("Fill the fields")
    assert "broken" in page.get_by_role("textbox", name="Rule text").input_value()
    assert page.get_by_role("textbox", name="Payload").input_value() == body


def test_the_playground_says_what_is_wrong_at_its_line_and_stops_what_never_ends(look: Look, bridge: Scene) -> None:
    page = look.at("/playground")
    page.get_by_role("textbox", name="Rule text").fill(
        "rules:\n  - id: a\n    match: {severty: critical}\n    incident: {}\n"
    )
    look.press("Try")
    assert "playground.yaml:3" in look.text()
    assert "did you mean 'severity'" in look.text()
    page.get_by_role("textbox", name="Payload").fill("x" * (64 * 1024 + 1))
    look.press("Try")
    assert "the playground takes up to 65,536" in look.text()
    look.at("/playground?sample=lab/critical")
    with page.expect_download() as saving:
        look.button("Download as test").click()
    names = zipfile.ZipFile(io.BytesIO(saving.value.path().read_bytes())).namelist()
    assert "playground-test/playground.test.yaml" in names


def test_the_pages_do_their_work_without_javascript(chromium: Any, bridge: Scene) -> None:
    context = chromium.new_context(viewport=WIDE, java_script_enabled=False)
    look = Look(context.new_page(), bridge)
    look.at("/")
    look.press("Pause io", within="[aria-label='Lane io']")
    assert "io is paused" in said(look)
    look.press("Resume")
    page = look.at("/events")
    page.get_by_label("Text").fill("Invoices")
    look.press("Filter")
    assert page.locator("#rows tbody tr").count() == 1
    context.close()
