"""What the API makes of a body or a limit that cannot be meant: a sentence, and nothing done; on both databases."""

import pytest
from werkzeug.test import TestResponse

from bridge.adapters.ledger import Ledger
from tests.web_apps import Browser, web_app

ACTIONS = (
    "/reload",
    "/silences",
    "/silences/preview",
    "/deliveries/x/discard",
    "/deliveries/x/replay",
    "/incidents/x/note",
    "/lanes/pd/pause",
)
NO_OBJECTS = (
    *(b"{'dry_run': true}", b"{", b"[]", b"null", b'"x"', b"\xff"),
    *(b"[" * 200_000, b'{"a":' * 200_000, b"1" * 5000),
)
LISTS = ("/events", "/incidents", "/deliveries", "/silences", "/audit")


def posted(ledger: Ledger, path: str, body: bytes) -> TestResponse:
    client = web_app(ledger).test_client()
    return client.post(f"/api/v1{path}", data=body, content_type="application/json", base_url="http://127.0.0.1")


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize("body", NO_OBJECTS)
def test_a_body_that_is_no_json_object_is_refused_and_nothing_is_done(ledger: Ledger, path: str, body: bytes) -> None:
    answer = posted(ledger, path, body)
    assert (answer.status_code, answer.get_json()["error"][:8]) == (400, "the body")
    assert ledger.audit(limit=1).items == ()
    assert not any(lane["paused"] for lane in ledger.lanes({"pd": ("pagerduty", "12/min")}))


@pytest.mark.parametrize("body", [b"", b" ", b"{}"])
def test_an_action_that_asks_for_nothing_more_needs_no_body(ledger: Ledger, body: bytes) -> None:
    assert posted(ledger, "/lanes/pd/pause", body).status_code == 200


@pytest.mark.parametrize("body", [b'{"dry_run": "true"}', b'{"dry_run": 1}', b'{"dryrun": true}', b'{"digest": 7}'])
def test_a_reload_with_a_typing_error_is_none(ledger: Ledger, body: bytes) -> None:
    assert posted(ledger, "/reload", body).status_code == 400


def test_a_reload_without_one_goes_on(ledger: Ledger) -> None:
    assert posted(ledger, "/reload", b'{"dry_run": true, "digest": null}').status_code == 503, (
        "these tests have no rules"
    )


@pytest.mark.parametrize("page", ["/incidents", "/dead", "/audit"])
@pytest.mark.parametrize("before", ["null", "None", "01J", "' or 1=1"])
def test_a_page_that_goes_on_from_nowhere_says_so(ledger: Ledger, page: str, before: str) -> None:
    answer = Browser(web_app(ledger)).get(page, query_string={"account": "pd", "before": before})
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "before is the id" in answer.text


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["0", "-1", "501", "", "1e1", "٣", "000000001" + "0" * 10, "9" * 30])
def test_a_limit_out_of_bounds_is_refused_by_every_list(ledger: Ledger, path: str, limit: str) -> None:
    answer = Browser(web_app(ledger)).get(f"/api/v1{path}", query_string={"limit": limit})
    assert (answer.status_code, answer.get_json()["error"][:41]) == (400, "limit is a whole number from 1 to 500, no")
