"""PagerDuty's own Python client reads back from the sandbox what the bridge made there."""

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import httpx2
import pagerduty
import pytest

from bridge.domain.decision import OnAcknowledge, Policy
from bridge.domain.delivery import Action, NameRef
from bridge.sandbox import SandboxServer
from tests.e2e.test_deliver import UNLIMITED, Bench
from tests.e2e.test_refusals import named, tell
from tests.e2e.test_worker import acknowledged
from tests.ledgers import ends, fires, settle

pytestmark = pytest.mark.e2e
BRIDGE = {"conference_number": "+1-555-0100,,123#", "conference_url": "https://meet.example.com/war-room"}
FIELDS = MappingProxyType(
    {
        "title": "Checkout is down",
        "service": "Checkout API",
        "urgency": "high",
        "priority": "P2",
        "escalation_policy": "Default",
        "body": "p99 is 4.2 s\nsince 12:00",
        "incident_type": "major_incident",
        "conference_bridge": BRIDGE,
    }
)
LISTS = ("service", "priority", "escalation_policy", "incident_type")
NAMES = tuple(NameRef(field=kind, kind=kind, text=FIELDS[kind]) for kind in LISTS)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with SandboxServer(rates=UNLIMITED) as sandbox:
        made = Bench(tmp_path, sandbox)
        yield made
        made.ledger.close()


class ToSandbox(httpx2.HTTPTransport):
    """The client speaks to PagerDuty's https address only: what it sends there goes to the sandbox."""

    def __init__(self, sandbox: str) -> None:
        super().__init__()
        self.sandbox = sandbox

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        assert request.url.host == "api.pagerduty.com"
        there = httpx2.URL(self.sandbox + request.url.raw_path.decode())
        headers = {**request.headers, "host": there.netloc.decode()}
        stream = request.stream
        return super().handle_request(httpx2.Request(request.method, there, headers=headers, stream=stream))


@pytest.fixture(params=["token", "bearer"])
def client(bench: Bench, request: pytest.FixtureRequest) -> Iterator[pagerduty.RestApiV2Client]:
    """The client, with a REST API key and with an OAuth token."""
    made = pagerduty.RestApiV2Client(
        "somebody-else",
        default_from="oncall@example.com",
        auth_type=request.param,
        transport=ToSandbox(bench.sandbox.pagerduty_url),
    )
    with made:
        yield made


def test_the_client_finds_the_incident_with_everything_the_rule_gave(
    bench: Bench, client: pagerduty.RestApiV2Client
) -> None:
    settle(bench.ledger, fires("a", fields=FIELDS, names=NAMES))
    bench.drain()
    (ours,) = bench.ledger.incidents(limit=9).items
    (found,) = client.list_all("incidents", params={"incident_key": ours["key"], "date_range": "all"})
    incident = client.rget(f"incidents/{found['id']}", params={"include[]": ["body"]})
    assert incident["id"] == ours["upstream"]["id"]
    assert (incident["status"], incident["title"], incident["urgency"]) == ("triggered", "Checkout is down", "high")
    assert incident["body"]["details"] == "p99 is 4.2 s\nsince 12:00"
    assert incident["incident_type"]["name"] == "major_incident"
    assert incident["conference_bridge"] == BRIDGE
    assert incident["priority"]["summary"] == "P2"
    assert client.rget(f"services/{incident['service']['id']}")["name"] == "Checkout API"
    assert client.rget(f"escalation_policies/{incident['escalation_policy']['id']}")["name"] == "Default"


def test_the_client_sees_changes_notes_and_the_end(bench: Bench, client: pagerduty.RestApiV2Client) -> None:
    settle(bench.ledger, fires("a", fields=FIELDS, names=NAMES))
    bench.drain()
    (ours,) = bench.ledger.incidents(limit=9).items
    path = f"incidents/{ours['upstream']['id']}"
    tell(bench, Action.UPDATE, {"title": "worse", "priority": "P1"}, named("priority", "priority", "P1"))
    tell(bench, Action.NOTE, {"note": "3 further alerts"})
    bench.drain()
    incident = client.rget(path)
    assert (incident["title"], incident["priority"]["summary"]) == ("worse", "P1")
    (note,) = client.rget(f"{path}/notes")
    assert note["content"].startswith("3 further alerts\n\n[ib ")
    settle(bench.ledger, ends("a"))
    bench.drain()
    assert client.rget(path)["status"] == "resolved"


def test_what_a_person_does_with_the_client_is_respected(bench: Bench, client: pagerduty.RestApiV2Client) -> None:
    settle(
        bench.ledger, fires("a", fields=FIELDS, names=NAMES, policy=Policy(on_acknowledge=OnAcknowledge.ACKNOWLEDGE))
    )
    bench.drain()
    (ours,) = bench.ledger.incidents(limit=9).items
    path = f"incidents/{ours['upstream']['id']}"
    client.rput(path, json={"type": "incident_reference", "status": "resolved"})
    settle(bench.ledger, acknowledged("a"))
    bench.drain()
    assert client.rget(path)["status"] == "resolved"
