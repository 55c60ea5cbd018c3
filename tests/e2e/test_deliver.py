"""From a webhook to the stand-in and back, over real HTTP: every awkward answer ends as promised."""

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import requests

from bridge.adapters.http import Http
from bridge.adapters.ledger import Claim, Finished, Ledger, Recorded, Route
from bridge.adapters.ledger.engine import Database
from bridge.adapters.ledger.upgrade import upgrade
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.pagerduty import PagerDuty
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import NameRef
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.worker import Drainer
from bridge.sandbox import Rates, SandboxServer
from tests.ledgers import ends, fires, pace, settle, sqlite_url, states, told

pytestmark = pytest.mark.e2e
UNLIMITED = Rates(pagerduty=None, pagerduty_create=None, incident_io=None, incident_io_create=None)


class Bench:
    """A ledger, a drainer and the stand-ins."""

    def __init__(self, folder: Path, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        database = Database(sqlite_url(folder))
        upgrade(database)
        routes = {
            "pd": Route(
                lane="pd",
                pace=pace(),
                required=frozenset({"title", "service"}),
                defaults={"service": "Catch-all"},
                keeps=PagerDuty.plain_fields,
            ),
            "io": Route(lane="io", pace=pace(), required=frozenset({"name"}), keeps=IncidentIo.plain_fields),
        }
        self.ledger = Ledger(database, routes)
        self.ledger.lanes_ensured()
        destinations = {
            "pd": PagerDuty(
                account="pd", token="account-key-1", from_="incident-bridge@example.com", base_url=sandbox.pagerduty_url
            ),
            "io": IncidentIo(account="io", token="account-key-1", base_url=sandbox.incident_io_url),
        }
        self.drainer = Drainer(self.ledger, destinations, Http(deadline_s=5.0))

    def pages(self, name: str, **changes: Any) -> list[str]:
        service = NameRef(field="service", kind="service", text="Checkout API")
        fields = MappingProxyType({"title": f"{name} is down", "service": "Checkout API"})
        return settle(self.ledger, fires(name, fields=fields, names=(service,), **changes))

    def pages_io(self, name: str, **changes: Any) -> list[str]:
        severity = NameRef(field="severity", kind="severity", text="major")
        fields = {"name": f"{name} is down", "severity": "major", "visibility": "public"}
        return settle(
            self.ledger,
            fires(name, account="io", key_rule=KeyRule.FOR_EVER, fields=fields, names=(severity,), **changes),
        )

    def drain(self, lane: str = "pd") -> None:
        """Drain until nothing waits; backoffs are cut short, as the clock would do once the upstream is back."""
        for _ in range(8):
            self.drainer.drain(lane)
            if not any(state in ("pending", "sending") for _, state in told(self.ledger)):
                return
            with self.ledger.database.writing() as transaction:
                transaction.connection.exec_driver_sql("UPDATE deliveries SET next_at = 0 WHERE state = 'pending'")
                transaction.connection.exec_driver_sql(
                    "UPDATE lanes SET create_parked_until = NULL, update_parked_until = NULL, probe_at = NULL"
                )

    def script(self, **step: Any) -> None:
        """The next matching call behaves like this."""
        response = requests.post(f"{self.sandbox.base_url}/_sandbox/script", json=step, timeout=5)
        assert response.ok, response.text

    def upstream(self, api: str = "pagerduty") -> list[dict[str, Any]]:
        response = requests.get(f"{self.sandbox.base_url}/_sandbox/incidents", params={"api": api}, timeout=5)
        found: list[dict[str, Any]] = response.json()["items"]
        return found

    def calls(self, method: str) -> int:
        response = requests.get(f"{self.sandbox.base_url}/_sandbox/requests", params={"method": method}, timeout=5)
        return len(response.json()["items"])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with SandboxServer(rates=UNLIMITED) as sandbox:
        made = Bench(tmp_path, sandbox)
        yield made
        made.ledger.close()


CREATE = {"method": "POST", "path_prefix": "/pagerduty/incidents"}
CREATE_IO = {"method": "POST", "path_prefix": "/incident-io/v2/incidents"}


def test_opened_and_resolved(bench: Bench) -> None:
    bench.pages("a")
    bench.drain()
    assert [one["state"] for one in bench.upstream()] == ["triggered"]
    settle(bench.ledger, ends("a"))
    bench.drain()
    assert [one["state"] for one in bench.upstream()] == ["resolved"]
    assert states(bench.ledger) == ["resolved"]


def test_opened_and_closed_at_incident_io(bench: Bench) -> None:
    bench.pages_io("a")
    bench.drain("io")
    settle(bench.ledger, ends("a"))
    bench.drain("io")
    assert states(bench.ledger) == ["resolved"]
    assert len(bench.upstream("incident_io")) == 1


@pytest.mark.parametrize("effect", [True, False], ids=["after the effect", "before it"])
@pytest.mark.parametrize("how", [{"drop": True}, {"status": 500}, {"delay_s": 3}], ids=["dropped", "500", "too slow"])
def test_an_unknown_outcome_ends_as_one_incident(bench: Bench, effect: bool, how: dict[str, Any]) -> None:
    do = how if "delay_s" in how else {**how, **({"effect": True} if effect else {})}
    bench.script(match=CREATE, times=1, do=do)
    bench.pages("a")
    bench.drain()
    assert len(bench.upstream()) == 1
    assert told(bench.ledger)[0][1] in ("delivered", "adopted")


@pytest.mark.parametrize("how", [{"drop": True, "effect": True}, {"status": 502, "effect": True}, {"status": 503}])
def test_an_unknown_outcome_at_incident_io_ends_as_one_incident(bench: Bench, how: dict[str, Any]) -> None:
    bench.script(match=CREATE_IO, times=1, do=how)
    bench.pages_io("a")
    bench.drain("io")
    assert len(bench.upstream("incident_io")) == 1
    assert states(bench.ledger) == ["open"]


def test_a_429_without_headers_waits_and_arrives_once(bench: Bench) -> None:
    bench.script(match=CREATE, times=1, do={"status": 429, "headers": {}, "body": ""})
    bench.pages("a")
    bench.drainer.drain("pd")
    lane = bench.ledger.lanes({"pd": ("pagerduty", "12/min")})[0]
    assert "429" in lane["parked"]
    bench.drain()
    assert len(bench.upstream()) == 1


def test_an_open_key_of_somebody_else_is_adopted_after_a_look_up(bench: Bench) -> None:
    bench.pages("a")
    bench.drainer.drain("pd")
    made = bench.upstream()[0]
    second = bench.ledger.incidents(limit=1).items[0]
    with bench.ledger.database.writing() as transaction:  # the ledger forgets: as after a restored backup
        for table in ("deliveries", "incidents", "members", "series", "problems", "attempts"):
            transaction.connection.exec_driver_sql(f"DELETE FROM {table}")
    bench.pages("a")
    bench.drain()
    again = bench.ledger.incidents(limit=1).items[0]
    assert again["key"] == second["key"]
    assert again["upstream"]["id"] == made["id"]
    assert told(bench.ledger) == [("create", "adopted")]
    assert len(bench.upstream()) == 1


def test_a_refused_create_is_a_dead_letter_with_the_upstreams_own_words(bench: Bench) -> None:
    bench.script(
        match=CREATE,
        times=2,
        do={"status": 400, "body": '{"error": {"code": 2001, "message": "Invalid", "errors": ["Title is bad."]}}'},
    )
    bench.pages("a")
    bench.drainer.drain("pd")
    letter = bench.ledger.deliveries(state="dead", limit=1).items[0]
    assert "Title is bad." in letter["detail"]


def test_the_same_problem_again_after_its_end_opens_a_second_incident(bench: Bench) -> None:
    for _ in range(2):
        bench.pages("a")
        bench.drain()
        settle(bench.ledger, ends("a"))
        bench.drain()
    assert [one["state"] for one in bench.upstream()] == ["resolved", "resolved"]


def test_the_same_problem_again_after_its_end_gets_a_new_key_at_incident_io(bench: Bench) -> None:
    for _ in range(2):
        bench.pages_io("a", episode="the same for ever")
        bench.drain("io")
        settle(bench.ledger, ends("a"))
        bench.drain("io")
    assert len(bench.upstream("incident_io")) == 2


def test_an_upstream_that_is_down_is_probed_and_gets_everything_later(bench: Bench) -> None:
    bench.script(match={"path_prefix": "/pagerduty/incidents"}, times=3, do={"status": 503})
    for name in "abcde":
        bench.pages(name)
    bench.drainer.drain("pd")
    assert len(bench.upstream()) == 0
    bench.drain()
    assert len(bench.upstream()) == 5


def test_an_answer_survives_a_ledger_that_is_away_for_a_moment(bench: Bench) -> None:
    bench.pages("a")
    record, refusals = bench.ledger.record, [LedgerUnavailable("away")]

    class Away(Ledger):
        """The bench's ledger, once not to be reached when an answer comes in."""

        def __init__(self) -> None:
            self.__dict__.update(bench.ledger.__dict__)

        def record(self, finished: Finished, *, claim_next: bool) -> tuple[Recorded, Claim]:
            if refusals:
                raise refusals.pop()
            return record(finished, claim_next=claim_next)

    Drainer(Away(), bench.drainer.destinations, bench.drainer.http).drain("pd")
    assert told(bench.ledger) == [("create", "delivered")]
    assert len(bench.upstream()) == 1


def test_custom_fields_and_roles_are_looked_up_and_a_lost_answer_changes_not_a_byte(bench: Bench) -> None:
    fields = {
        "name": "a is down",
        "custom_fields": {"Regions": ["eu", "Mars"], "Services": ["cart"], "Ticket": ["4711"]},
        "roles": {"incident lead": "ONCALL@example.com"},
    }
    within = {"Regions": ("eu", "Mars"), "Services": ("cart",), "Ticket": ("4711",)}
    names = [NameRef(field="roles.incident lead", kind="incident_role", text="incident lead")]
    names += [NameRef(field="roles.incident lead.user", kind="user", text="ONCALL@example.com")]
    for name, values in within.items():
        at = f"custom_fields.{name}"
        names.append(NameRef(field=at, kind="custom_field", text=name))
        names += [
            NameRef(field=f"{at}.{number}", kind="custom_field_option", text=text, within=at)
            for number, text in enumerate(values)
        ]
    bench.script(match=CREATE_IO, times=1, do={"drop": True, "effect": True})
    settle(bench.ledger, fires("a", account="io", key_rule=KeyRule.FOR_EVER, fields=fields, names=tuple(names)))
    bench.drain("io")
    assert states(bench.ledger) == ["open"]
    first, again = [call.body for call in bench.sandbox.calls.calls(api="incident_io", method="POST")]
    assert first == again
    [record] = bench.sandbox.store.records("incident_io")
    entries = {one["custom_field"]["name"]: one["values"] for one in record.incident["custom_field_entries"]}
    assert entries["Regions"][0]["value_option"]["value"] == "EU"
    assert entries["Services"][0]["value_catalog_entry"]["name"] == "Checkout API"
    assert entries["Ticket"] == [{"value_text": "4711"}]
    assert record.incident["incident_role_assignments"][0]["assignee"]["name"] == "On-call"
    assert "custom_field_option 'Mars' does not exist upstream; there: EU, US" in record.incident["summary"]
