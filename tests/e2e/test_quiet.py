"""The Quiet page and the Rules page on a running bridge, by their forms alone, as without JavaScript."""

import json
import re
import time
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
import requests

from tests.e2e.processes import ANSWER_WITHIN_S, Bridge, alert
from tests.e2e.test_ui import HOSTILE, Elements, acted, page, token_in

pytestmark = pytest.mark.e2e

RELOADED_WITHIN_S = 120.0
TAKEN_WITHIN_S = 2.0  # a silence, by every process


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with Bridge(tmp_path_factory.mktemp("quiet"), start=("web",)) as running:
        yield running


def becomes(bridge: Bridge, **labels: str) -> str:
    outcome: str = bridge.outcome(bridge.deliver(alert(severity="error", labels=labels)))["outcome"]
    return outcome


def silence(bridge: Bridge, **form: str) -> requests.Response:
    plain = {"match": "labels.env: staging", "for": "1h", "author": "operations", "reason": "a planned test"}
    return acted(bridge, "/quiet", at="/quiet", **{**plain, **form})


def reloaded(bridge: Bridge, path: str, **form: str) -> requests.Response:
    with requests.Session() as browser:
        token = token_in(browser.get(f"{bridge.url}/rules", timeout=ANSWER_WITHIN_S).text)
        return browser.post(bridge.url + path, data={"csrf_token": token, **form}, timeout=RELOADED_WITHIN_S)


def test_a_silence_is_made_of_an_alert_tried_over_a_day_added_and_ended(bridge: Bridge) -> None:
    assert "<title>Nothing is silenced" in page(bridge, "/quiet")
    event = bridge.deliver(alert("noise", severity="error", labels={"env": "noisy", "odd key:": '"x"'}))["event"]
    assert f'href="/quiet?event={event}#new"' in page(bridge, f"/events/{event}")
    drafted = page(bridge, f"/quiet?event={event}")
    match = unescape(re.search(r"<textarea[^>]*>([^<]*)</textarea>", drafted)[1])  # type: ignore[index]
    assert match.splitlines() == ['source: "lab"', 'labels.env: "noisy"', '"labels.odd key:": "\\"x\\""']
    assert "it would have hidden 1 alert, which opened 1 incident" in drafted
    assert "Silence for" not in drafted
    tried = requests.get(
        f"{bridge.url}/quiet",
        params={"match": match, "for": "4h", "author": "operations", "reason": "why not"},
        timeout=ANSWER_WITHIN_S,
    ).text
    assert "Silence for 4h" in tried
    made = silence(bridge, match="labels.env: noisy", reason="why not")
    assert made.url == f"{bridge.url}/quiet"
    assert "1 silence holds" in made.text
    assert "criticals page all the same" in made.text
    time.sleep(2 * TAKEN_WITHIN_S)  # a dozen answers may all be one process's
    bridge.eventually(lambda: {becomes(bridge, env="noisy") for _ in range(12)} == {"silenced"})
    hidden = bridge.deliver(alert(severity="error", labels={"env": "noisy"}))["event"]
    told = page(bridge, f"/events/{hidden}")
    (held,) = [one for one in bridge.get("silences")["items"] if one["state"] == "active"]
    assert f'href="/quiet#{held["id"]}"' in told
    assert "why not" in told
    ended = acted(bridge, f"/quiet/{held['id']}/end", at="/quiet")
    assert "The silence is over" in ended.text
    assert "Nothing is silenced" in ended.text
    bridge.eventually(lambda: {becomes(bridge, env="noisy") for _ in range(12)} == {"opened"})


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"match": ""}, "conditions are wanted"),
        ({"match": "labels.env staging"}, "conditions are wanted"),
        ({"match": "label.env: x"}, "did you mean &#39;labels&#39;?"),
        ({"until": "tomorrow"}, "&#39;ends_at&#39; cannot be &#39;tomorrow&#39;"),
        ({"until": "2001-01-01T00:00"}, "is over already"),
        ({"reason": ""}, "&#39;reason&#39; is missing"),
        ({"author": ""}, "&#39;author&#39; is missing"),
    ],
)
def test_what_cannot_be_a_silence_is_said_and_what_was_written_stays_in_the_form(
    bridge: Bridge, form: dict[str, str], said: str
) -> None:
    refused = silence(bridge, **form)
    assert refused.status_code == 400
    assert said in refused.text
    for name, value in form.items():
        assert name == "match" or f'value="{value}"' in refused.text


def test_no_silence_is_made_or_ended_without_the_token_of_the_form(bridge: Bridge) -> None:
    content = {"match": "title: x", "for": "1h", "author": "a", "reason": "r"}
    for path in ("/quiet", "/quiet/x/end", "/rules/check", "/rules/reload"):
        assert requests.post(bridge.url + path, data=content, timeout=ANSWER_WITHIN_S).status_code == 400
    assert [one for one in bridge.get("silences")["items"] if one["state"] == "active"] == []


def test_hostile_words_of_alerts_and_silences_stay_words(bridge: Bridge) -> None:
    known = {(tag, frozenset(names)) for tag, names in _shapes(page(bridge, "/quiet?match=title: x"))}
    made = []
    for text in HOSTILE:
        event = bridge.deliver(alert(text, severity="error", labels={"name": text}))["event"]
        drafted = requests.get(f"{bridge.url}/quiet?event={event}", timeout=ANSWER_WITHIN_S).text
        made.append(silence(bridge, match=json.dumps({"title": text}), reason=text, author=text[:100]))
        assert made[-1].status_code == 200, made[-1].text
        for shown in (drafted, made[-1].text):
            tags = {tag for tag, _ in _shapes(shown)}
            assert tags <= {tag for tag, _ in known} | {"td", "tr", "code", "br", "table", "thead", "tbody", "th", "a"}
            assert not [name for _, names in _shapes(shown) for name in names if name.startswith("on")]
            hrefs = [attrs.get("href") or "" for tag, attrs in Elements(shown).found if tag == "a"]
            assert all(href.startswith(("/", "#")) for href in hrefs)
    for one in bridge.get("silences?limit=100")["items"]:
        requests.delete(f"{bridge.url}/api/v1/silences/{one['id']}", timeout=ANSWER_WITHIN_S)


def _shapes(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(tag, tuple(attrs)) for tag, attrs in Elements(text).found]


def test_the_rules_page_shows_what_changes_and_how_the_tests_went_before_it_is_put_in_force(bridge: Bridge) -> None:
    assert "the files on this host are what is in force" in page(bridge, "/rules")
    rules = bridge.folder / "rules" / "rules.yaml"
    book: dict[str, Any] = json.loads(rules.read_text())
    book["rules"][0]["incident"]["title"] = "<b>bold</b> {{ alert.title }}"
    book["rules"].append({**book["rules"][0], "id": "trial", "mode": "shadow"})
    rules.write_text(json.dumps(book, indent=1))
    assert "the files on this host differ from it" in page(bridge, "/rules")
    old = bridge.get("rules")["book"]["hash"]
    shown = reloaded(bridge, "/rules/check")
    assert shown.status_code == 200
    for part in ("What a reload would change", "<code>trial</code>", "<code>to-pd</code>", "&lt;b&gt;bold"):
        assert part in shown.text
    assert bridge.get("rules")["book"]["hash"] == old
    digest = re.search(r'name="digest" value="([0-9a-f]{64})"', shown.text)
    assert digest is not None
    taken = reloaded(bridge, "/rules/reload", digest=digest[1])
    assert "In force: 1 added (trial); 1 changed (to-pd)" in unescape(taken.text)
    assert bridge.get("rules")["book"]["hash"] != old
    assert "What shadow rules would have done in 7 days" in taken.text


def test_a_reload_of_files_that_changed_since_they_were_shown_is_refused(bridge: Bridge) -> None:
    told = reloaded(bridge, "/rules/reload", digest="0" * 64)
    assert "changed since they were looked at" in told.text


def test_broken_files_are_shown_with_their_places_and_the_rules_in_force_stay(bridge: Bridge) -> None:
    rules = bridge.folder / "rules" / "rules.yaml"
    good = rules.read_text()
    rules.write_text(good.replace('"labels.account"', '"lables.account"'))
    refused = reloaded(bridge, "/rules/reload")
    assert refused.status_code == 422
    assert "rules/rules.yaml:" in refused.text
    assert "Put it in force" not in refused.text
    told = page(bridge, "/rules")
    assert "Changed rules are not in force" in told
    assert "lables" in told
    assert "Changed rules are not in force" in page(bridge, "/")
    rules.write_text(good)
    assert "what is in force already" in reloaded(bridge, "/rules/reload").text
    assert "Changed rules are not in force" not in page(bridge, "/rules")
