"""The upstream's truth, over real HTTP: people close and reopen incidents there, and the bridge finds out."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import requests

from bridge.adapters.http import Http
from bridge.adapters.ledger import Ledger, Route
from bridge.adapters.ledger.upgrade import upgrade
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.pagerduty import PagerDuty
from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import NameRef
from bridge.domain.plan_b import PlanB
from bridge.domain.truth import LOOK_BACK_AFTER, LOOK_EVERY, Trust
from bridge.entrypoints.worker import Drainer
from bridge.sandbox import SandboxServer
from tests.e2e.test_deliver import UNLIMITED
from tests.ledgers import MovedDatabase, ends, fires, pace, settle, sqlite_url, states, told

pytestmark = pytest.mark.e2e
HOUR = timedelta(hours=1)
FIELDS = MappingProxyType({"title": "a is down", "service": "Checkout API"})
SERVICE = NameRef(field="service", kind="service", text="Checkout API")
TRUST = Trust(confirm_open=HOUR, respect_human_close=2 * HOUR)


class Bench:
    """A ledger whose clock a test moves, a drainer, and the stand-ins with a person in front of them."""

    def __init__(self, folder: Path, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self.database = MovedDatabase(sqlite_url(folder))
        upgrade(self.database)
        plan = PlanB(
            account="io",
            after=timedelta(minutes=5),
            key_rule=KeyRule.FOR_EVER,
            title_field="name",
            body_field="summary",
            scope_field=None,
            reads_body="body",
            defaults={"severity": "Major"},
            lists={"severity": "severity"},
        )
        routes = {
            "pd": Route(lane="pd", pace=pace(), required=frozenset({"title", "service"}), trust=TRUST, plan_b=plan),
            "io": Route(lane="io", pace=pace(), required=frozenset({"name"}), trust=TRUST),
        }
        self.ledger = Ledger(self.database, routes)
        self.ledger.lanes_ensured()
        self.drainer = Drainer(
            self.ledger,
            {
                "pd": PagerDuty(
                    account="pd", token="key-1", from_="incident-bridge@example.com", base_url=sandbox.pagerduty_url
                ),
                "io": IncidentIo(account="io", token="key-1", base_url=sandbox.incident_io_url),
            },
            Http(deadline_s=2.0),
        )

    def fires(self, account: str, **changes: Any) -> None:
        if account == "pd":
            settle(self.ledger, fires("a", fields=FIELDS, names=(SERVICE,), **changes))
        else:
            fields = {"name": "a is down", "visibility": "public"}
            settle(self.ledger, fires("a", account="io", key_rule=KeyRule.FOR_EVER, fields=fields, **changes))

    def drain(self, lane: str) -> None:
        for _ in range(6):
            self.drainer.drain(lane)
            if not any(state in ("pending", "sending") for _, state in told(self.ledger)):
                return

    def later(self, by: timedelta) -> None:
        self.database.ahead += by

    def upstream(self, account: str) -> list[dict[str, Any]]:
        response = requests.get(f"{self.sandbox.base_url}/_sandbox/incidents", params={"api": API[account]}, timeout=5)
        found: list[dict[str, Any]] = response.json()["items"]
        return found

    def person(self, account: str, does: str) -> None:
        """Somebody on call closes, declines or reopens the newest incident on screen."""
        url = f"{self.sandbox.base_url}/_sandbox/incidents/{API[account]}/{self.upstream(account)[-1]['id']}"
        response = requests.post(url, json={"do": does}, timeout=5)
        assert response.ok, response.text

    def script(self, **step: Any) -> None:
        response = requests.post(f"{self.sandbox.base_url}/_sandbox/script", json=step, timeout=5)
        assert response.ok, response.text


API = {"pd": "pagerduty", "io": "incident_io"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with SandboxServer(rates=UNLIMITED) as sandbox:
        made = Bench(tmp_path, sandbox)
        yield made
        made.ledger.close()


@pytest.fixture(params=["pd", "io"])
def account(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_a_sender_that_never_says_recovered_pages_again_after_a_person_closed_the_incident(
    bench: Bench, account: str
) -> None:
    bench.fires(account)
    bench.drain(account)
    bench.person(account, "close")
    bench.later(HOUR + timedelta(seconds=5))
    bench.fires(account)
    bench.drain(account)
    assert (states(bench.ledger), len(bench.upstream(account))) == (["resolved"], 1), "the person is left in peace"
    bench.later(HOUR)
    assert bench.ledger.renewals_opened() == 1
    bench.drain(account)
    assert (states(bench.ledger), len(bench.upstream(account))) == (["resolved", "open"], 2)
    settle(bench.ledger, ends("a"))
    bench.drain(account)
    assert {one["state"].lower() for one in bench.upstream(account)} in ({"resolved"}, {"closed"})


def test_still_open_there_nothing_changes_but_what_we_believe(bench: Bench, account: str) -> None:
    bench.fires(account)
    bench.drain(account)
    bench.later(2 * HOUR)
    bench.fires(account)
    bench.drain(account)
    bench.fires(account)
    assert told(bench.ledger) == [("create", "delivered"), ("check", "delivered")]
    assert states(bench.ledger) == ["open"]


def test_gone_there_it_ends_here(bench: Bench) -> None:
    bench.fires("pd")
    bench.drain("pd")
    bench.later(2 * HOUR)
    bench.fires("pd")
    missing = {"error": {"code": 2100, "message": "Not Found"}}
    bench.script(match={"method": "GET", "path_prefix": "/pagerduty/incidents/"}, do={"status": 404, "body": missing})
    bench.drain("pd")
    assert states(bench.ledger) == ["resolved"]


def test_a_404_of_a_proxy_says_nothing_of_an_incident(bench: Bench) -> None:
    bench.fires("pd")
    bench.drain("pd")
    bench.later(2 * HOUR)
    bench.fires("pd")
    page = "<html>no such host</html>"
    bench.script(match={"method": "GET", "path_prefix": "/pagerduty/incidents/"}, do={"status": 404, "body": page})
    bench.drain("pd")
    assert (states(bench.ledger), told(bench.ledger)[-1]) == (["open"], ("check", "cancelled"))


def test_the_recovery_of_what_a_person_declined_there_changes_nothing_and_is_no_dead_letter(bench: Bench) -> None:
    bench.fires("io")
    bench.drain("io")
    bench.person("io", "decline")
    settle(bench.ledger, ends("a"))
    bench.drain("io")
    assert (states(bench.ledger), told(bench.ledger)[-1]) == (["resolved"], ("resolve", "adopted"))
    assert [one["state"] for one in bench.upstream("io")] == ["declined"]


def test_a_close_that_is_refused_of_what_is_live_there_is_a_dead_letter(bench: Bench) -> None:
    bench.fires("io")
    bench.drain("io")
    settle(bench.ledger, ends("a"))
    words = {"errors": [{"code": "invalid_value", "message": "a status of another flow"}]}
    bench.script(match={"method": "POST", "path_prefix": "/incident-io/v2/"}, do={"status": 422, "body": words})
    bench.drain("io")
    (_, resolve) = told(bench.ledger)
    assert resolve == ("resolve", "dead")


def test_the_sweep_finds_what_people_closed_though_nobody_reports(bench: Bench, account: str) -> None:
    bench.fires(account)
    bench.drain(account)
    bench.person(account, "close")
    bench.later(LOOK_EVERY + timedelta(seconds=5))
    assert bench.ledger.swept() == 1
    bench.drain(account)
    assert states(bench.ledger) == ["resolved", "open"], "closed long ago: the next one is open at once"


def test_what_a_person_opened_again_after_our_resolve_is_left_open(bench: Bench, account: str) -> None:
    bench.fires(account)
    bench.drain(account)
    settle(bench.ledger, ends("a"))
    bench.drain(account)
    bench.person(account, "reopen")
    bench.later(LOOK_BACK_AFTER + timedelta(minutes=1))
    bench.ledger.swept()
    bench.drain(account)
    assert [call for call in told(bench.ledger) if call[0] in ("resolve", "check")] == [
        ("resolve", "delivered"),
        ("check", "delivered"),
    ]
    assert bench.ledger.incidents(limit=1).items[0]["reason"] == "reopened_upstream"


def test_a_critical_reaches_plan_b_while_its_own_account_is_down_and_both_end(bench: Bench) -> None:
    bench.script(match={"path_prefix": "/pagerduty/incidents"}, times=3, do={"status": 503})
    bench.fires("pd", severity=Severity.CRITICAL)
    for _ in range(3):
        bench.drainer.drain("pd")
        bench.later(timedelta(seconds=20))
    assert bench.ledger.plan_b_opened() == 1
    bench.drain("io")
    (stood_in,) = bench.upstream("io")
    assert stood_in["title"] == "a is down"
    assert "Sent here because account 'pd'" in stood_in["incident"]["summary"]
    assert stood_in["incident"]["severity"]["name"] == "Major"
    for _ in range(3):
        bench.later(timedelta(minutes=2))
        bench.drain("pd")
    assert [one["state"] for one in bench.upstream("pd")] == ["triggered"]
    settle(bench.ledger, ends("a"))
    bench.drain("pd")
    bench.drain("io")
    assert states(bench.ledger) == ["resolved", "resolved"]
    assert bench.ledger.plan_b_opened() == 0
