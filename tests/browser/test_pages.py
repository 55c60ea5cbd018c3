"""Every page in a real browser: readable for everybody, on a phone, in the dark, and without JavaScript."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import PHONE, WIDE, Look
from tests.browser.scene import Scene
from tests.e2e.processes import SECRETS, eventually

pytestmark = pytest.mark.e2e

AXE = Path(__file__).parent / "axe" / "axe.min.js"
PAGES = (
    "now", "events", "event", "dry", "incidents", "incident", "storm", "dead", "letters", "letter", "rules",
    "playground",
)  # fmt: skip
PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"


def path_of(bridge: Scene, name: str) -> str:
    """Where a page of PAGES is."""
    event = bridge.events["fine"]
    match name:
        case "now":
            return "/"
        case "event":
            return f"/events/{event}"
        case "dry":
            return f"/events/{event}/dry"
        case "incident":
            return f"/incidents/{bridge.incident_of(event)}"
        case "storm":
            return f"/incidents/{bridge.incident_of(bridge.events['storm'])}"
        case "letters":
            return "/dead?account=pd&rule=gone&reason=bad_request"
        case "letter":
            return f"/dead/{bridge.get('deliveries?state=dead')['items'][0]['id']}"
    return f"/{name}"


def found_by_axe(page: Any) -> list[str]:
    """What axe finds wrong: the rule, and where. Its text reaches the page past the policy, which stays in force."""
    page.evaluate(AXE.read_text(encoding="utf-8") + "\n;undefined")
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{one['id']}: {node['html'][:200]}" for one in result["violations"] for node in one["nodes"]]


BROKEN_NAMES = """[...document.querySelectorAll("td.source")].filter(cell => {
    const text = document.createRange();
    text.selectNodeContents(cell);
    return text.getClientRects().length > 1;
}).map(cell => cell.innerText)"""
"""Which sources' names stand on two lines."""

BROKEN_IDS = """[...document.querySelectorAll("td.upstream a")].filter(link => {
    const text = document.createRange();
    text.setStart(link.firstChild, 0);
    text.setEnd(link.firstChild, link.firstChild.data.indexOf(" "));
    return text.getClientRects().length > 1;
}).map(link => link.innerText)"""
"""Which incidents' ids at their upstream stand on two lines."""


LONGEST_STATUS = """() => [...document.querySelectorAll("td")].filter(cell => cell.innerText === "firing")
    .forEach(cell => { cell.firstChild.data = "acknowledged" })"""
"""As if everything that fires were taken by somebody."""

BROKEN_WORDS = """() => {
    const broken = [];
    const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        if (!text.parentElement.checkVisibility() || text.parentElement.closest("pre, code, .mono, textarea")) continue;
        for (const word of text.data.matchAll(/(?<![\\w-])[A-Za-z]{2,13}(?![\\w-])/g)) {
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
            if (lines.size > 1) broken.push(word[0]);
        }
    }
    return broken;
}"""
"""Short words that stand on two lines, but for what is no prose."""


def is_too_wide(page: Any) -> bool:
    """Whether one has to scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_fit_for_everybody_on_every_screen(chromium: Any, bridge: Scene, shots: Path, name: str) -> None:
    path = path_of(bridge, name)
    for label, viewport, scheme in (("wide", WIDE, "light"), ("phone", PHONE, "dark")):
        context = chromium.new_context(viewport=viewport, color_scheme=scheme)
        look = Look(context.new_page(), bridge)
        page = look.at(path)
        assert not is_too_wide(page), label
        if label == "wide" or name in ("now", "playground"):  # the same elements, in other colours
            assert found_by_axe(page) == [], label
        assert look.complaints == []
        page.screenshot(path=shots / f"{name}-{label}.png", full_page=True)
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_the_same_without_javascript(chromium: Any, bridge: Scene, name: str) -> None:
    context = chromium.new_context(viewport=WIDE, java_script_enabled=False)
    page = Look(context.new_page(), bridge).at(path_of(bridge, name))
    assert page.locator("h1").count() == 1
    assert page.locator("button.copy:visible, #live:visible").count() == 0, "what needs JavaScript hides itself"
    clocks = page.locator("time.local")
    assert all(text.endswith("UTC") for text in clocks.all_inner_texts())
    context.close()


def test_the_widest_and_the_narrowest_screen_both_fit(chromium: Any, bridge: Scene) -> None:
    said = {"alert_title": "A title that takes as much room as a table gives it, " * 4}
    sent = bridge.post(said, "datadog", headers={"X-Bridge-Token": SECRETS["DATADOG_SECRET"]})
    assert sent.status_code == 202
    for width in (360, 768, 900, 1000, 1920):
        context = chromium.new_context(viewport={"width": width, "height": 900})
        page = Look(context.new_page(), bridge).at("/")
        assert not is_too_wide(page), width
        assert "datadog" in page.locator("td.source").all_inner_texts()
        assert page.evaluate(BROKEN_NAMES) == [], f"a source's name is read at a glance at {width}"
        header = page.locator("header.top")
        assert header.evaluate("bar => bar.scrollWidth <= bar.clientWidth"), f"every page is in sight at {width}"
        context.close()


def test_a_word_without_an_end_and_a_text_from_right_to_left_stay_in_their_place(look: Look, bridge: Scene) -> None:
    """Where an override of the direction leaked, what stands beside the text stood on its other side, reversed."""
    title = "\u202e" + "endless" * 400
    event = bridge.tells("pd", title, account="pd", labels={"a": "\u202eturned", "account": "pd"})
    incident = bridge.incident_of(event)
    for path in (f"/events/{event}", f"/events/{event}/dry", f"/incidents/{incident}", "/events", "/incidents"):
        page = look.at(path)
        assert not is_too_wide(page), path
    assert page.locator("td.upstream a").count(), "the last of them is the list of incidents"
    assert page.evaluate(BROKEN_IDS) == [], "beside the title an id is read at a glance"
    page = look.at(f"/events/{event}")
    title_at, state = page.locator("h1 .apart").bounding_box(), page.locator("h1 .chip").bounding_box()
    assert state["y"] >= title_at["y"] + title_at["height"] / 2, "the state follows the title"
    marks = page.locator("code .apart")
    first, second = marks.nth(0).bounding_box(), marks.nth(1).bounding_box()
    assert (first["y"], first["x"]) < (second["y"], second["x"]), "one label after the other"


def test_with_the_keyboard_alone_one_reaches_the_content_and_every_page(look: Look) -> None:
    page = look.at("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.wait_for_url("**/#main")  # a key that was pressed has no page to wait for
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    plain = page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor")
    assert plain == "rgba(0, 0, 0, 0)", "a rule that a link leads to is tinted, and not the whole page"


def test_what_a_link_or_the_keyboard_leads_to_is_not_behind_the_head_of_the_page(look: Look, bridge: Scene) -> None:
    look.page.set_viewport_size({"width": 1280, "height": 300})
    look.at("/events")
    page = look.at("/rules?file=rules/a-team.yaml#L9")
    head = "document.querySelector('header.top').getBoundingClientRect().bottom"
    eventually(lambda: page.evaluate("scrollY > 0"))  # the page's own policy keeps wait_for_function from asking twice
    assert page.evaluate(f"document.getElementById('L9').getBoundingClientRect().top >= {head}"), "a rule's line"
    page = look.at("/events")
    page.locator("#rows a").last.focus()
    for _ in range(20):
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(f"document.activeElement.getBoundingClientRect().top >= {head}"), "what has the focus"


def test_a_page_at_four_hundred_per_cent_is_read_without_scrolling_sideways(chromium: Any, bridge: Scene) -> None:
    context = chromium.new_context(viewport={"width": 320, "height": 256})
    look = Look(context.new_page(), bridge)
    for name in (*PAGES, "quiet", "audit"):
        assert not is_too_wide(look.at(path_of(bridge, name))), name
    context.close()


def test_no_short_word_is_broken_on_a_phone(chromium: Any, bridge: Scene) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 740})
    look = Look(context.new_page(), bridge)
    broken: dict[str, list[str]] = {}
    for name in (*PAGES, "quiet", "audit"):
        page = look.at(path_of(bridge, name))
        page.evaluate(f"({LONGEST_STATUS})()")
        broken[name] = page.evaluate(f"({BROKEN_WORDS})()")
    assert not {name: words for name, words in broken.items() if words}
    context.close()


def test_a_browser_that_writes_larger_is_heard_and_nothing_is_squeezed(chromium: Any, bridge: Scene) -> None:
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    look = Look(context.new_page(), bridge)
    context.new_cdp_session(look.page).send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})
    for name in (*PAGES, "quiet", "audit"):
        page = look.at(path_of(bridge, name))
        assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") == 30, "twice what it is else"
        assert not is_too_wide(page), name
    page = look.at("/")
    parts = "[...document.querySelectorAll('.lane > div')]"
    assert page.evaluate(f"Math.min(...{parts}.map(one => one.getBoundingClientRect().width))") > 200, (
        "a lane's day is a picture, and its sentence one that is read"
    )
    context.close()


def test_a_printed_page_has_all_of_a_text_and_nothing_to_press(look: Look, bridge: Scene) -> None:
    page = look.at(path_of(bridge, "letter"))
    page.emulate_media(media="print")
    assert page.locator("button:visible, nav:visible").count() == 0
    assert page.evaluate("[...document.querySelectorAll('pre')].every(one => one.scrollHeight <= one.clientHeight + 1)")
    assert "As of" in page.locator("#foot").inner_text()


def test_times_are_local_and_utc_stands_behind_them(look: Look, bridge: Scene) -> None:
    page = look.at(path_of(bridge, "event"))
    clock = page.locator("time.local").first
    assert clock.get_attribute("title").endswith("UTC")
    assert "UTC" not in clock.inner_text()
    assert re.search(r"\d (CES?T|GMT\+[12])$", clock.inner_text()), "and the zone is said: some hour is there twice"


def test_a_page_left_open_says_how_old_it_is(chromium: Any, bridge: Scene) -> None:
    context = chromium.new_context(viewport=PHONE, locale="en-GB", timezone_id="Europe/Berlin")
    page = context.new_page()
    page.clock.install()
    look = Look(page, bridge)
    look.at("/events")
    foot = page.locator("#foot")
    assert foot.inner_text().startswith("As of ")
    assert "ago" not in foot.inner_text()
    page.clock.fast_forward("09:00:00")
    page.get_by_text("9 h ago: it may be otherwise by now").wait_for()
    bottom = foot.bounding_box()
    assert bottom["y"] + bottom["height"] <= PHONE["height"], "in sight wherever one reads"
    assert found_by_axe(page) == []
    look.follow(foot.get_by_role("link", name="Load it again"))
    assert "ago" not in page.locator("#foot").inner_text()
    page.get_by_label("live").check()
    page.clock.fast_forward("01:00:00")
    page.locator("#foot:not(.old)").wait_for()
    context.close()


def test_a_rules_last_alert_is_said_as_the_hour_it_is_known_to(chromium: Any, bridge: Scene) -> None:
    context = chromium.new_context(viewport=WIDE, locale="en-US", timezone_id="America/New_York")
    page = Look(context.new_page(), bridge).at("/rules")
    cell = page.locator("td", has=page.locator("time.hour")).first
    assert re.fullmatch(r"within the hour of \d+/\d+/\d{4}, \d+\s[AP]M", cell.inner_text())
    assert page.locator("time.hour").first.get_attribute("title").endswith(":00:00.000 UTC")
    context.close()


def test_pictures_for_the_readme(chromium: Any, bridge: Scene, update_golden: bool, shots: Path) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 980}, locale="en-GB", timezone_id="UTC")
    look = Look(context.new_page(), bridge)
    folder = PICTURES if update_golden else shots
    folder.mkdir(exist_ok=True)
    look.at("/").screenshot(path=folder / "now.png")
    look.at(path_of(bridge, "event")).screenshot(path=folder / "event.png")
    look.at(f"/playground?event={bridge.events['storm']}&file=rules/a-team.yaml")
    look.press("Try")
    look.page.locator("form.play").scroll_into_view_if_needed()
    look.page.screenshot(path=folder / "playground.png")
    context.close()
    readme = (PICTURES.parents[1] / "README.md").read_text(encoding="utf-8")
    assert all(f"deploy/pictures/{name}.png" in readme for name in ("now", "event", "playground"))
