"""The operations UI on a running bridge: every page, every action, and nothing that alert text could do to a page."""

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import requests

from bridge.entrypoints.web.ui import sparks, words
from tests.e2e.processes import ANSWER_WITHIN_S, Bridge, alert

pytestmark = pytest.mark.e2e

PASSWORD = "correct horse battery staple"
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</title><script>alert(1)</script>",
    "</pre></details><iframe src=javascript:alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
)


class Elements(HTMLParser):
    """Every element of a page with the names of its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with Bridge(tmp_path_factory.mktemp("ui")) as running:
        yield running


def page(bridge: Bridge, path: str, status: int = 200) -> str:
    answer = requests.get(bridge.url + path, timeout=ANSWER_WITHIN_S)
    assert answer.status_code == status, answer.text
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    return answer.text


def token_in(text: str) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', text)
    assert found is not None
    return found[1]


def acted(bridge: Bridge, path: str, *, at: str = "/", **form: str) -> requests.Response:
    """Load a page and send one of its forms, as a browser does."""
    with requests.Session() as browser:
        token = token_in(browser.get(bridge.url + at, timeout=ANSWER_WITHIN_S).text)
        return browser.post(bridge.url + path, data={"csrf_token": token, **form}, timeout=ANSWER_WITHIN_S)


def test_a_batch_takes_a_few_rows_of_a_list_and_a_link_to_the_rest(bridge: Bridge) -> None:
    event = bridge.deliver({"alerts": [alert(f"many {number}") for number in range(400)]})["event"]
    for path in ("/", "/events", "/events?q=many+399"):
        text = page(bridge, path)
        assert f'href="/events/{event}">and 395 more alerts of the same webhook</a>' in text
        assert len(text) < 50_000
    assert "many 399" in page(bridge, "/events?q=many+399"), "what was searched for is among the few"


def test_the_first_page_says_whether_anybody_is_needed_and_what_came_last(bridge: Bridge) -> None:
    bridge.deliver(alert("seen on the first page"))
    bridge.arrives("seen on the first page")
    text = page(bridge, "/")
    assert "<title>Nothing needs you" in text
    assert "seen on the first page" in text
    assert "only this machine is answered" in text


def test_an_event_tells_its_whole_story_on_one_page(bridge: Bridge) -> None:
    event = bridge.deliver(alert("a story", account="io"))["event"]
    bridge.arrives("a story")
    bridge.eventually(lambda: "create told to io" in page(bridge, f"/events/{event}"))
    text = page(bridge, f"/events/{event}")
    for part in (
        "Received",
        "Read as an alert: a story",
        "Decided: rule to-io",
        "labels.account",
        "Attempt 1",
        "Request",
    ):
        assert part in text
    assert "a story" in page(bridge, "/events?q=a+story")
    assert "a story" not in page(bridge, "/events?source=query")


def test_an_alert_cut_off_within_an_emoji_is_shown_as_every_other(bridge: Bridge) -> None:
    body = b'{"title": "cut off \\ud83d", "severity": "critical", "labels": {"town": "Z\xc3\xbcrich \'7\'"}}'
    headers = {"Content-Type": "application/json"}
    sent = requests.post(f"{bridge.url}/webhooks/lab", data=body, headers=headers, timeout=ANSWER_WITHIN_S)
    shown = page(bridge, f"/events/{sent.json()['event']}")
    assert "cut off \\ud83d" in shown
    assert "Z\\u00fcrich" not in shown
    assert "\\u0027" not in shown


def test_what_is_not_there_is_said_so(bridge: Bridge) -> None:
    assert "There is no event nothing" in page(bridge, "/events/nothing", 404)
    browser = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
    lost = requests.get(f"{bridge.url}/evnets", headers=browser, timeout=5)
    assert (lost.status_code, "There is no such page here" in lost.text) == (404, True)
    assert "default-src 'none'" in lost.headers["Content-Security-Policy"]
    for path, accept in (("/evnets", {"Accept": "application/json"}), ("/api/v1/evnets", browser), ("/evnets", {})):
        told = requests.get(bridge.url + path, headers=accept, timeout=5)
        assert told.status_code == 404
        assert "error" in told.json()
    assert "There is no incident nothing" in page(bridge, "/incidents/nothing", 404)
    assert "since is a time" in page(bridge, "/events?since=soon", 400)
    assert "No dead letters" in page(bridge, "/dead")


def test_an_incident_shows_its_members_and_what_was_told(bridge: Bridge) -> None:
    event = bridge.deliver(alert("with members"))["event"]
    bridge.arrives("with members")
    incident = bridge.get(f"events/{event}")["alerts"][0]["incident"]
    bridge.eventually(lambda: "create told to pd" in page(bridge, f"/incidents/{incident}"))
    assert "with members" in page(bridge, "/incidents?state=open")


def test_a_paused_lane_sends_nothing_until_it_is_resumed(bridge: Bridge) -> None:
    assert "io is paused" in acted(bridge, "/lanes/io/pause").text
    bridge.deliver(alert("held back", account="io"))
    bridge.deliver(alert("not held back"))
    bridge.arrives("not held back")
    assert "io is held back" in page(bridge, "/")
    assert bridge.upstream("held back") == []
    assert "io goes on" in acted(bridge, "/lanes/io/resume").text
    bridge.arrives("held back")


def test_a_lane_whose_key_is_refused_does_not_say_when_all_is_told(tmp_path: Path) -> None:
    with Bridge(tmp_path) as bridge:
        bridge.script(match={"method": "POST", "path_prefix": "/pagerduty/incidents"}, do={"status": 401})
        bridge.deliver(alert("Refused key", account="pd"))
        bridge.eventually(lambda: "pd refuses our key (401)" in page(bridge, "/"))
        assert "1 critical · oldest" in page(bridge, "/")
        assert "all told in" not in page(bridge, "/")


def test_the_api_pauses_and_resumes_a_lane_as_the_page_does(bridge: Bridge) -> None:
    def told(path: str) -> requests.Response:
        return requests.post(f"{bridge.url}/api/v1/lanes/{path}", json={}, timeout=ANSWER_WITHIN_S)

    assert told("io/pause").json() == {"account": "io", "lane": "io", "paused": True}
    assert [lane["account"] for lane in bridge.get("lanes")["items"] if lane["paused"]] == ["io"]
    assert told("io/resume").json()["paused"] is False
    assert told("nobody/pause").status_code == 404
    assert told("io/stop").status_code == 404


def test_the_api_does_by_hand_what_the_page_does(bridge: Bridge) -> None:
    event = bridge.deliver(alert("by hand"))["event"]
    bridge.arrives("by hand")
    incident = bridge.get(f"events/{event}")["alerts"][0]["incident"]
    bridge.eventually(lambda: bridge.get(f"incidents/{incident}")["state"] == "open")

    def told(action: str, of: str = incident, **content: str) -> requests.Response:
        return requests.post(f"{bridge.url}/api/v1/incidents/{of}/{action}", json=content, timeout=ANSWER_WITHIN_S)

    assert told("note").status_code == 400
    assert told("note", text="seen").json() == {"incident": incident, "state": "open"}
    again = told("resend").json()["incident"]
    assert again != incident
    bridge.eventually(lambda: bridge.get(f"incidents/{again}")["state"] == "open")
    assert len(bridge.upstream("by hand")) == 2
    assert told("resend").status_code == 409, "the first one is over"
    assert told("resolve", of=again).json()["state"] == "resolving"
    bridge.eventually(lambda: bridge.get(f"incidents/{again}")["state"] == "resolved")
    assert told("detach", of="nothing").status_code == 404
    assert told("explode").status_code == 404


def test_without_its_token_a_form_changes_nothing(bridge: Bridge) -> None:
    for form in ({}, {"csrf_token": "guessed"}):
        refused = requests.post(f"{bridge.url}/lanes/pd/pause", data=form, timeout=ANSWER_WITHIN_S)
        assert refused.status_code == 400
    assert requests.get(f"{bridge.url}/lanes/pd/pause", timeout=ANSWER_WITHIN_S).status_code == 405
    assert all(lane["paused"] is False for lane in bridge.get("lanes")["items"])


def test_whatever_an_alert_says_no_page_gains_an_element_or_a_handler(bridge: Bridge) -> None:
    allowed = {tag for path in ("/", "/events", "/incidents") for tag, _ in Elements(page(bridge, path)).found}
    allowed |= {"ol", "li", "details", "summary", "pre", "h3", "code", "button", "form", "p"}
    for text in HOSTILE:
        body = alert(text, description=text, labels={text: text}, links=[{"text": text, "href": text}])
        event = bridge.deliver({**body, "fingerprint": f"hostile {text}"})["event"]
        incident = bridge.get(f"events/{event}")["alerts"][0]["incident"]
        for path in ("/", "/events", f"/events/{event}", f"/incidents/{incident}", "/incidents"):
            for tag, attributes in Elements(page(bridge, path)).found:
                assert tag in allowed, (text, path, tag)
                assert not any(name.startswith("on") or name == "style" for name in attributes), (text, attributes)
                assert not (attributes.get("href") or "").lower().startswith("javascript:")


def test_dead_letters_are_grouped_replayed_and_discarded_with_a_reason(tmp_path: Path) -> None:
    with Bridge(tmp_path) as bridge:
        for _ in range(4):  # each create, and its plain form
            bridge.script(match={"method": "POST", "path_prefix": "/pagerduty/incidents"}, do={"status": 402})
        bridge.deliver(alert("first refused"))
        bridge.deliver(alert("second refused"))
        bridge.eventually(lambda: "2 dead letters" in page(bridge, "/dead"))
        assert "2 dead letters of pd" in page(bridge, "/")
        dead = [one for one in bridge.every("deliveries") if one["state"] == "dead"]
        refused = acted(bridge, f"/dead/{dead[0]['id']}/discard", at="/dead", reason=" ")
        assert "needs a reason" in refused.text
        assert "Discarded." in acted(bridge, f"/dead/{dead[0]['id']}/discard", at="/dead", reason="a drill").text
        assert "1 letter back in line" in acted(bridge, f"/dead/{dead[1]['id']}/replay", at="/dead").text
        bridge.eventually(lambda: len(bridge.upstream()) == 1)


def test_a_letter_that_gets_another_key_is_reported_again_for_what_still_fires_and_for_nothing_else(
    tmp_path: Path,
) -> None:
    """All were told "Back in line": one page was ignored as stale, one was opened for what was over."""

    def said(name: str, minute: int, status: str = "firing") -> dict[str, Any]:
        at = {"reported_at": f"2026-08-01T10:{minute:02}:00Z"} if minute else {}
        return {**alert(name, status=status), **at}

    with Bridge(tmp_path) as bridge:

        def post(path: str, content: Mapping[str, Any] = MappingProxyType({})) -> requests.Response:
            return requests.post(f"{bridge.url}/api/v1/{path}", json=dict(content), timeout=60)

        post("lanes/pd/pause")
        bridge.deliver({"alerts": [said("fires", 1), said("over", 0), said("ended before", 0)]})
        bridge.deliver(said("fires", 5))  # so that the first report is not the last one
        bridge.deliver(said("ended before", 0, "resolved"))
        for _ in range(4):  # each create, and its plain form
            bridge.script(match={"method": "POST", "path_prefix": "/pagerduty/incidents"}, do={"status": 402})
        post("lanes/pd/resume")
        bridge.eventually(lambda: "2 dead letters" in page(bridge, "/dead"))
        bridge.deliver(said("over", 0, "resolved"))
        rules = bridge.folder / "rules" / "rules.yaml"
        rules.write_text(rules.read_text().replace("Checkout API", "Postgres Primary"))
        assert post("reload").json()["state"] == "taken"
        letters = {one["title"]: one["id"] for one in bridge.every("deliveries") if one["state"] == "dead"}
        shown = f"/dead/{letters['fires']}"
        bridge.eventually(lambda: all("another key" in page(bridge, shown) for _ in range(8)))  # in every process
        bridge.deliver(alert("beside it"))
        bridge.arrives("beside it")

        def becomes(outcome: str) -> None:
            """Wait until every process takes another report of what is beside it so."""

            def said() -> str:
                return str(bridge.outcome(bridge.deliver(alert("beside it")))["outcome"])

            bridge.eventually(lambda: {said() for _ in range(40)} == {outcome})

        both = {"title": ["fires", "beside it"]}
        silence = {"match": both, "for": "1h", "reason": "a drill", "author": "me", "criticals": True}
        hides = post("silences", silence).json()["id"]
        becomes("silenced")

        def anew(title: str) -> str:
            return acted(bridge, f"/dead/{letters[title]}/anew", at=f"/dead/{letters[title]}").text

        assert "its problem is over" in anew("over")
        assert "Not replayed" in anew("fires"), "a silence hides what would be reported"
        assert "2 dead letters" in page(bridge, "/dead"), "nobody was told, so both are still to be seen to"
        assert requests.delete(f"{bridge.url}/api/v1/silences/{hides}", json={}, timeout=ANSWER_WITHIN_S).ok
        becomes("duplicate")
        assert "Back in line" in anew("fires")
        bridge.arrives("fires")
        assert "1 dead letter" in page(bridge, "/dead")
        for ended in ("over", "ended before"):  # the second of these came in the same webhook
            assert bridge.upstream(ended) == []


def test_what_was_typed_into_a_dead_letter_stays_in_its_form_with_the_fault_beside_it(tmp_path: Path) -> None:
    with Bridge(tmp_path) as bridge:
        for _ in range(2):  # the create, and its plain form
            bridge.script(match={"method": "POST", "path_prefix": "/pagerduty/incidents"}, do={"status": 402})
        bridge.deliver(alert("typed into"))
        bridge.eventually(lambda: "1 dead letter" in page(bridge, "/dead"))
        (dead,) = [one["id"] for one in bridge.every("deliveries") if one["state"] == "dead"]
        form = {"text:title": "", "text:service": "Checkout", "text:body": "two\nlines", "json:urgency": "{high"}
        for does in ("preview", "replay"):
            text = acted(bridge, f"/dead/{dead}/edit", at=f"/dead/{dead}", do=does, **form).text
            inputs = {one.get("name"): one for _, one in Elements(text).found}
            assert {"text:title", "text:service", "text:body", "json:urgency"} <= inputs.keys()
            assert inputs["text:service"]["value"] == "Checkout"
            assert inputs["json:urgency"]["value"] == "{high"
            fault = inputs["json:urgency"]["aria-describedby"]
            assert f'id="{fault}" role="alert">This is no JSON' in text
        form["json:urgency"] = ""
        text = acted(bridge, f"/dead/{dead}/edit", at=f"/dead/{dead}", do="preview", **form).text
        title = next(one for _, one in Elements(text).found if one.get("name") == "text:title")
        assert title["value"] == ""
        assert f'id="{title["aria-describedby"]}" role="alert">A create does not go without title' in text


def test_with_a_login_nothing_is_shown_before_it_and_it_ends_on_request(tmp_path: Path) -> None:
    from argon2 import PasswordHasher

    environment = {"UI_HASH": PasswordHasher().hash(PASSWORD)}
    ui = {"auth": {"username": "ops", "password_hash": "${UI_HASH}"}}
    with Bridge(tmp_path, start=("web",), env=environment, ui=ui) as bridge, requests.Session() as browser:
        first = browser.get(bridge.url + "/", timeout=ANSWER_WITHIN_S)
        assert first.url.endswith("/login")
        form = {"csrf_token": token_in(first.text), "username": "ops", "password": "guess"}
        assert browser.post(bridge.url + "/login", data=form, timeout=ANSWER_WITHIN_S).status_code == 401
        inside = browser.post(bridge.url + "/login", data={**form, "password": PASSWORD}, timeout=ANSWER_WITHIN_S)
        assert '<h2 id="lanes">' in inside.text
        (inside_name,) = (one.name for one in browser.cookies if one.path == "/")
        assert re.fullmatch(r"incident_bridge_[0-9a-f]{8}", inside_name)
        kept = {one.name: one.path for one in browser.cookies}
        assert kept == {inside_name: "/", f"{inside_name}_device": "/login"}
        assert all(one.has_nonstandard_attr("HttpOnly") for one in browser.cookies)
        out = browser.post(bridge.url + "/logout", data={"csrf_token": token_in(inside.text)}, timeout=20)
        assert out.url.endswith("/login")
        assert browser.get(bridge.url + "/events", timeout=ANSWER_WITHIN_S).url.endswith("/login")


def test_guessing_closes_the_login_for_a_while(tmp_path: Path) -> None:
    from argon2 import PasswordHasher

    environment = {"UI_HASH": PasswordHasher().hash(PASSWORD)}
    ui = {"auth": {"username": "ops", "password_hash": "${UI_HASH}"}}
    with Bridge(tmp_path, start=("web",), env=environment, ui=ui) as bridge, requests.Session() as browser:
        token = token_in(browser.get(bridge.url + "/login", timeout=ANSWER_WITHIN_S).text)
        form = {"csrf_token": token, "username": "ops", "password": "guess"}
        statuses = [browser.post(bridge.url + "/login", data=form, timeout=20).status_code for _ in range(25)]
        assert statuses[0] == 401
        assert statuses[-1] == 429


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59.4, "59 s"), (61, "1 min"), (7200, "2 h"), (200_000, "2 d"), (None, "–")]
)
def test_a_span_is_told_in_its_largest_unit(seconds: float | None, said: str) -> None:
    assert words.span(seconds) == said


def test_a_sparkline_reaches_from_the_oldest_hour_to_the_newest() -> None:
    path = sparks.path([0, 0, 4])
    assert path.startswith("M0 34.0L120 34.0")
    assert path.endswith("240 3.0")


def test_a_line_without_anything_is_said_and_not_drawn() -> None:
    spark = sparks.spark_of({"received": [1, 2], "created": [0, 0]})
    assert list(spark.paths) == ["received"]
    assert spark.label == "The last 24 hours: 3 received, 0 created"
