"""What the destinations send, the stand-ins take; what the stand-ins do, the destinations understand."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.config.loader import load_settings
from bridge.destinations import DESTINATIONS
from bridge.destinations.base import Destination
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.incident_io_fields import FIELDS, V1_ONLY
from bridge.destinations.pagerduty import PagerDuty
from bridge.domain.alert import Webhook
from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivered,
    Delivery,
    HttpRequest,
    HttpResponse,
    KeyIsOpen,
    KeySpent,
    NamedThing,
    NoAnswer,
    NothingFound,
    PermanentFailure,
    Phase,
    Reason,
    TransientFailure,
    UnknownOutcome,
)
from bridge.domain.names import Found, find, list_part, served
from bridge.pipeline import decide
from bridge.sandbox import SandboxServer
from bridge.sources import SOURCES
from bridge.sources.base import NoAuth
from bridge.wiring import destinations, rule_book
from tests.contract.test_contracts import own, problems

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer() as running:
        yield running


@pytest.fixture
def pagerduty(server: SandboxServer) -> PagerDuty:
    return PagerDuty(account="pd", token="sandbox", from_="incident-bridge@example.com", base_url=server.pagerduty_url)


@pytest.fixture
def incident_io(server: SandboxServer) -> IncidentIo:
    return IncidentIo(account="io", token="sandbox", base_url=server.incident_io_url)


def sent(request: HttpRequest) -> HttpResponse | NoAnswer:
    try:
        answer = requests.request(request.method, request.url, headers=dict(request.headers), data=request.body)
    except requests.ConnectionError as lost:
        return NoAnswer(reason=Reason.CONNECTION_LOST, sent=True, detail=str(lost))
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return HttpResponse(status=answer.status_code, headers=headers, body=answer.content)


def told(account: Destination, delivery: Delivery) -> AttemptResult:
    lists = {kind: tuple(names(account, kind)) for kind in account.name_kinds_for(delivery)}
    request = account.request_for(delivery, lists)
    if request.body is not None:
        path = request.url.removeprefix(account.base_url)  # type: ignore[attr-defined] - both have one
        assert problems(own(account.type), replace(request, url=f"https://upstream.example{path}")) == []
    return account.result_of(delivery, sent(request))


def names(account: Destination, kind: str) -> Iterator[NamedThing]:
    cursor: str | None = None
    while True:
        request = account.names_request(kind, cursor)
        response = sent(request)
        assert isinstance(response, HttpResponse)
        page = account.names_in(kind, request, response)
        assert page is not None
        yield from page.things
        cursor = page.next_cursor
        if cursor is None:
            return


def id_of(account: Destination, kind: str, name: str) -> str:
    found = find(name, kind, tuple(names(account, kind)))
    assert isinstance(found, Found), found
    return found.thing.id


def create(account: Destination, fields: dict[str, Any], **kinds: str) -> Delivery:
    """A create; `kinds` says which list knows the name in each field."""
    now = datetime.now(UTC)
    return Delivery(
        id="D1",
        incident="I1",
        account=account.account,
        action=Action.CREATE,
        key="ib1-key",
        fields=fields,
        ids={field: id_of(account, kind, fields[field]) for field, kind in kinds.items()},
        notes=("one field fell back",),
        created_at=now,
        first_attempt_at=now,
    )


def page(account: PagerDuty) -> Delivery:
    return create(account, {"title": "it broke", "service": "Postgres Primary"}, service="service")


def looking(delivery: Delivery) -> Delivery:
    return replace(delivery, phase=Phase.LOOK_UP)


def after(delivery: Delivery, result: AttemptResult, action: Action, **fields: str) -> Delivery:
    assert isinstance(result, Delivered)
    assert result.reference is not None
    return replace(delivery, action=action, upstream_id=result.reference.id, fields=fields, names=(), ids={})


def test_a_page_lives_and_ends_at_pagerduty(pagerduty: PagerDuty, server: SandboxServer) -> None:
    delivery = page(pagerduty)
    opened = told(pagerduty, delivery)
    assert isinstance(opened, Delivered)
    assert not opened.adopted
    for _ in range(2):
        acknowledged = told(pagerduty, after(delivery, opened, Action.ACKNOWLEDGE))
        assert isinstance(acknowledged, Delivered)
        assert acknowledged.reference is not None
        assert not acknowledged.reference.closed
    closed = told(pagerduty, after(delivery, opened, Action.RESOLVE, resolution="recovered"))
    assert isinstance(closed, Delivered)
    assert closed.reference is not None
    assert closed.reference.closed
    again = told(pagerduty, after(delivery, opened, Action.RESOLVE))
    assert isinstance(again, Delivered)
    [record] = server.store.records("pagerduty")
    assert record.body == "Incident Bridge: one field fell back"


def test_a_repeated_create_is_refused_looked_up_and_adopted(pagerduty: PagerDuty) -> None:
    delivery = page(pagerduty)
    opened = told(pagerduty, delivery)
    assert isinstance(opened, Delivered)
    assert isinstance(told(pagerduty, delivery), KeyIsOpen)
    found = told(pagerduty, looking(delivery))
    assert isinstance(found, Delivered)
    assert (found.reference, found.adopted) == (opened.reference, True)


@pytest.mark.parametrize(
    ("do", "reason"),
    [({"effect": True, "drop": True}, Reason.CONNECTION_LOST), ({"effect": True, "status": 502}, Reason.SERVER_ERROR)],
)
def test_a_lost_answer_is_found_out_at_pagerduty(
    pagerduty: PagerDuty, server: SandboxServer, do: dict[str, Any], reason: Reason
) -> None:
    delivery = page(pagerduty)
    assert told(pagerduty, looking(delivery)) == NothingFound(
        detail="none of 0 incidents under this key is this delivery's"
    )
    requests.post(f"{server.base_url}/_sandbox/script", json={"do": do})
    lost = told(pagerduty, delivery)
    assert isinstance(lost, UnknownOutcome)
    assert lost.reason is reason
    found = told(pagerduty, looking(delivery))
    assert isinstance(found, Delivered)
    assert found.adopted


def test_a_key_is_free_again_once_resolved_and_the_earlier_incident_is_not_taken_for_ours(pagerduty: PagerDuty) -> None:
    delivery = page(pagerduty)
    first = told(pagerduty, delivery)
    told(pagerduty, after(delivery, first, Action.RESOLVE))
    assert isinstance(first, Delivered)
    assert first.reference is not None
    next_episode = replace(delivery, owned=frozenset({first.reference.id}))
    assert isinstance(told(pagerduty, looking(next_episode)), NothingFound)
    second = told(pagerduty, next_episode)
    assert isinstance(second, Delivered)
    assert second.reference is not None
    assert second.reference.id != first.reference.id


def test_every_field_of_pagerduty_arrives(pagerduty: PagerDuty, server: SandboxServer) -> None:
    fields = {
        "title": "it broke",
        "service": "Checkout API",
        "urgency": "low",
        "priority": "P2",
        "escalation_policy": "Default",
        "body": "all that is known",
        "incident_type": "Major Incident",
        "conference_bridge": {"conference_url": "https://meet.example.com/x"},
    }
    kinds = {name: name for name in ("service", "priority", "escalation_policy", "incident_type")}
    assert isinstance(told(pagerduty, create(pagerduty, fields, **kinds)), Delivered)
    [record] = server.store.records("pagerduty")
    made = record.incident
    assert (made["service"]["summary"], made["priority"]["summary"], made["urgency"]) == ("Checkout API", "P2", "low")
    assert (made["escalation_policy"]["summary"], made["incident_type"]["name"]) == ("Default", "major_incident")
    assert made["conference_bridge"] == fields["conference_bridge"]
    assert record.body == "all that is known\n\nIncident Bridge: one field fell back"


@pytest.mark.parametrize(
    ("assignee", "state", "via"),
    [
        ("oncall@example.com", "triggered", "direct_assignment"),
        ("incident-bridge@example.com", "triggered", "escalation_policy"),
    ],
)
def test_an_assignee_is_found_by_address_and_is_never_the_bridge_itself(
    pagerduty: PagerDuty, server: SandboxServer, assignee: str, state: str, via: str
) -> None:
    fields = {"title": "it broke", "service": "Catch-all", "assignee": assignee}
    assert isinstance(told(pagerduty, create(pagerduty, fields, service="service", assignee="user")), Delivered)
    [record] = server.store.records("pagerduty")
    assert (record.incident["status"], record.incident["assigned_via"]) == (state, via)


def test_refusals_of_pagerduty_are_understood(pagerduty: PagerDuty, server: SandboxServer) -> None:
    delivery = page(pagerduty)
    unknown_service = told(pagerduty, replace(delivery, ids={}))
    assert isinstance(unknown_service, PermanentFailure)
    assert "Service not found" in unknown_service.detail
    unknown_from = told(replace(pagerduty, from_="nobody@example.com"), delivery)
    assert isinstance(unknown_from, PermanentFailure)
    assert "Requester User Not Found" in unknown_from.detail
    gone = told(pagerduty, replace(delivery, action=Action.RESOLVE, upstream_id="QNONE"))
    assert isinstance(gone, PermanentFailure)
    assert gone.reason is Reason.NOT_FOUND
    refused = told(replace(pagerduty, token="two words"), delivery)
    assert isinstance(refused, TransientFailure)
    assert refused.reason is Reason.AUTH


def test_an_incident_lives_and_ends_at_incident_io(incident_io: IncidentIo, server: SandboxServer) -> None:
    fields = {
        "name": "it broke",
        "summary": "so far",
        "severity": "Major",
        "incident_type": "Customer Impact",
        "status": "triage",
        "mode": "test",
    }
    delivery = create(incident_io, fields, severity="severity", incident_type="incident_type", status="incident_status")
    opened = told(incident_io, delivery)
    assert isinstance(opened, Delivered)
    assert told(incident_io, delivery) == opened
    [record] = server.store.records("incident_io")
    made = record.incident
    assert (made["severity"]["name"], made["incident_type"]["name"], made["mode"]) == (
        "Major",
        "Customer Impact",
        "test",
    )
    assert made["incident_status"]["category"] == "triage"
    assert made["summary"] == "so far\n\nIncident Bridge: one field fell back"
    closed = told(incident_io, after(delivery, opened, Action.RESOLVE))
    assert isinstance(closed, Delivered)
    assert closed.reference is not None
    assert closed.reference.closed
    assert record.incident["incident_status"]["category"] == "closed"
    assert isinstance(told(incident_io, after(delivery, opened, Action.RESOLVE)), Delivered)


def test_a_lost_answer_of_incident_io_is_repeated_and_opens_nothing_new(
    incident_io: IncidentIo, server: SandboxServer
) -> None:
    delivery = create(incident_io, {"name": "it broke"})
    requests.post(f"{server.base_url}/_sandbox/script", json={"do": {"effect": True, "drop": True}})
    assert isinstance(told(incident_io, delivery), UnknownOutcome)
    assert isinstance(told(incident_io, delivery), Delivered)
    assert len(server.store.records("incident_io")) == 1


def test_a_key_of_incident_io_is_spent_once_its_incident_is_over(incident_io: IncidentIo) -> None:
    delivery = create(incident_io, {"name": "it broke"})
    opened = told(incident_io, delivery)
    later = replace(delivery, first_attempt_at=datetime.now(UTC) + timedelta(hours=1))
    adopted = told(incident_io, later)
    assert isinstance(adopted, Delivered)
    assert adopted.adopted
    told(incident_io, after(delivery, opened, Action.RESOLVE))
    assert isinstance(told(incident_io, later), KeySpent)


def test_the_deprecated_create_of_incident_io_works_and_is_closed_through_the_new_one(
    incident_io: IncidentIo, server: SandboxServer
) -> None:
    old = replace(incident_io, api="v1")
    delivery = create(old, {"name": "it broke", "status": "Fixing", "mode": "standard"})
    opened = told(old, delivery)
    [record] = server.store.records("incident_io")
    assert record.incident["incident_status"]["name"] == "Fixing"
    assert isinstance(told(old, after(delivery, opened, Action.RESOLVE)), Delivered)
    assert record.incident["incident_status"]["category"] == "closed"


def test_every_list_of_names_can_be_read(pagerduty: PagerDuty, incident_io: IncidentIo) -> None:
    for account in (pagerduty, incident_io):
        for kind in account.name_kinds:
            assert list(names(account, kind)), kind


# -- from a rule to what the stand-in remembers


EXAMPLE = {
    "title": "Checkout fails",
    "description": "Nobody can pay",
    "severity": "critical",
    "starts_at": "2026-03-01T11:40:00Z",
    "region": "US",
    "ticket": 4711,
    "customers": 120,
    "reporter": "support-lead@example.com",
    "number": 123,
    "postmortem": "https://docs.example.com/pm",
}


def ruled(account: Destination, name: str, **changes: Any) -> Delivery:
    """The create that a shipped rule gives for an alert with its label, with the names looked up as at a claim."""
    settings = load_settings(ROOT / "bridge.yaml", {}, sources=SOURCES, destinations=DESTINATIONS)
    book, _ = rule_book(settings)
    labels = {"example": name, "service": "web", **changes.pop("labels", {})}
    body = json.dumps({**EXAMPLE, "labels": labels, **changes}).encode()
    webhook = Webhook(source="lab", headers={}, body=body, received_at=datetime.now(UTC))
    readings = tuple(SOURCES["generic"](name="lab", auth=NoAuth()).alerts_in(webhook))
    (decided,) = decide(readings, book, {**destinations(settings), account.account: account})
    (decision,) = decided.decisions
    ids: dict[str, str] = {}
    found: dict[str, NamedThing] = {}
    notes = list(decision.notes)
    for ref in decision.names:
        part = list_part(ref, found)
        if part is None:
            continue
        outcome = served(part.ref, part.among(tuple(names(account, part.ref.kind))))
        notes += [outcome.note] if outcome.note is not None else []
        if outcome.thing is not None:
            ids[ref.field], found[ref.field] = outcome.thing.id, outcome.thing
    now = datetime.now(UTC)
    return Delivery(
        id="D1",
        incident="I1",
        account=account.account,
        action=Action.CREATE,
        key="ib1-key",
        fields=decision.fields,
        names=decision.names,
        ids=ids,
        notes=tuple(notes),
        created_at=now,
        first_attempt_at=now,
    )


def test_every_field_of_pagerduty_arrives_from_the_shipped_rules(server: SandboxServer) -> None:
    account = PagerDuty(
        account="pagerduty-prod", token="sandbox", from_="incident-bridge@example.com", base_url=server.pagerduty_url
    )
    first = ruled(account, "every-field-pagerduty")
    second = ruled(account, "every-field-pagerduty-assignee")
    assert first.notes == second.notes == ()
    assert first.fields.keys() | second.fields.keys() == account.fields.keys()
    for delivery in (first, replace(second, key="ib1-other")):
        assert isinstance(told(account, delivery), Delivered)
    one, other = server.store.records("pagerduty")
    made = one.incident
    assert (made["title"], made["urgency"], one.body) == ("[CRITICAL] Checkout fails", "high", "Nobody can pay")
    assert (made["service"]["summary"], made["priority"]["summary"]) == ("Checkout API", "P1")
    assert (made["escalation_policy"]["summary"], made["incident_type"]["name"]) == ("Default", "major_incident")
    assert made["conference_bridge"] == {
        "conference_number": "+1-555-0100,,123#",
        "conference_url": "https://meet.example.com/web",
    }
    assert [who["assignee"]["summary"] for who in other.incident["assignments"]] == ["On-call"]


@pytest.fixture
def shipped(server: SandboxServer) -> IncidentIo:
    """The account that the shipped rules name."""
    return IncidentIo(account="incident-io", token="sandbox", base_url=server.incident_io_url)


def test_every_field_of_incident_io_arrives_from_the_shipped_rule(shipped: IncidentIo, server: SandboxServer) -> None:
    delivery = ruled(shipped, "every-field-incident-io")
    assert delivery.notes == ()
    assert delivery.fields.keys() == FIELDS.keys() - {*V1_ONLY, "retrospective_incident_options"}
    assert isinstance(told(shipped, delivery), Delivered)
    [record] = server.store.records("incident_io")
    made = record.incident
    assert (made["name"], made["summary"], made["severity"]["name"]) == ("Checkout fails", "Nobody can pay", "Critical")
    assert (made["incident_status"]["name"], made["visibility"], made["mode"]) == ("Triage", "private", "standard")
    assert (made["slack_team_id"], made["slack_channel_name"]) == ("T0SANDB0X1", "inc-web")
    assert shown_fields(made) == {
        "Affected Team": ["Support"],
        "Regions": ["EU", "US"],
        "Services": ["Checkout API"],
        "Ticket": ["4711"],
        "Runbook": ["https://runbooks.example.com/web"],
        "Customers affected": ["120"],
    }
    assert {one["role"]["name"]: one["assignee"]["name"] for one in made["incident_role_assignments"]} == {
        "Incident Lead": "On-call",
        "Communications": "Support Lead",
        "Reporter": "Support Lead",
    }
    assert {one["incident_timestamp"]["name"]: one["value"]["value"] for one in made["incident_timestamp_values"]} == {
        "Impact started at": "2026-03-01T11:40:00Z",
        "Reported at": "2026-08-01T10:00:00Z",
    }


def shown_fields(incident: Mapping[str, Any]) -> dict[str, list[str]]:
    """The custom fields of an incident by name, each with its values as a person sees them."""

    def seen(value: Mapping[str, Any]) -> str:
        (content,) = value.values()
        return content if isinstance(content, str) else str(content.get("value", content.get("name")))

    return {
        entry["custom_field"]["name"]: [seen(value) for value in entry["values"]]
        for entry in incident["custom_field_entries"]
    }


def test_a_retrospective_incident_arrives_from_the_shipped_rule(shipped: IncidentIo, server: SandboxServer) -> None:
    delivery = ruled(shipped, "every-field-incident-io-retrospective")
    assert isinstance(told(shipped, delivery), Delivered)
    [record] = server.store.records("incident_io")
    made = record.incident
    assert (made["mode"], made["reference"], made["incident_status"]["name"]) == ("retrospective", "INC-123", "Closed")
    assert made["postmortem_document_url"] == "https://docs.example.com/pm"


def test_a_page_with_names_and_values_that_do_not_exist_goes_out_without_them_and_says_so(
    shipped: IncidentIo, server: SandboxServer
) -> None:
    wrong = {"team": "Nobody", "service": "web"}
    delivery = ruled(
        shipped,
        "every-field-incident-io",
        labels=wrong,
        region="Mars",
        customers="many",
        reporter="stranger@example.com",
        starts_at=None,
    )
    assert isinstance(told(shipped, delivery), Delivered)
    [record] = server.store.records("incident_io")
    shown = shown_fields(record.incident)
    assert shown["Regions"] == ["EU"]
    assert "Affected Team" not in shown
    assert "Customers affected" not in shown
    said = record.incident["summary"]
    for sentence in (
        "custom_field_option 'Nobody' does not exist upstream; there: Payments, Platform, Support",
        "custom_field_option 'Mars' does not exist upstream; there: EU, US",
        "Customers affected: left out, not a number",
        "user 'stranger@example.com' does not exist upstream",
        "timestamps.Impact started at: left out",
    ):
        assert sentence in said
    assert [one["role"]["name"] for one in record.incident["incident_role_assignments"]] == [
        "Incident Lead",
        "Communications",
    ]


def test_an_incident_of_incident_io_is_changed_and_noted(incident_io: IncidentIo, server: SandboxServer) -> None:
    delivery = replace(create(incident_io, {"name": "it broke", "summary": "so far"}), notes=())
    opened = told(incident_io, delivery)
    change = replace(
        after(delivery, opened, Action.UPDATE),
        fields={"severity": "Critical", "custom_fields": {"Ticket": ["4711"]}, "notify_incident_channel": "false"},
        ids={
            "severity": id_of(incident_io, "severity", "critical"),
            "custom_fields.Ticket": id_of(incident_io, "custom_field", "ticket"),
        },
    )
    assert isinstance(told(incident_io, change), Delivered)
    [record] = server.store.records("incident_io")
    assert (record.incident["severity"]["name"], shown_fields(record.incident)) == ("Critical", {"Ticket": ["4711"]})
    summary = record.incident["summary"]
    note = replace(after(delivery, opened, Action.NOTE), id="D2", fields={"note": "host-2 too", "summary": summary})
    assert isinstance(told(incident_io, looking(note)), NothingFound)
    assert isinstance(told(incident_io, note), Delivered)
    assert record.incident["summary"] == f"{summary}\n\nhost-2 too\n\n[ib D2]"
    found = told(incident_io, looking(note))
    assert isinstance(found, Delivered)
    assert (found.adopted, found.detail) == (True, "found in the summary")
    later = told(incident_io, looking(replace(note, id="D3")))
    assert isinstance(later, Delivered)
    assert "somebody has rewritten the summary" in later.detail


def test_the_deprecated_create_of_incident_io_takes_its_larger_fields_too(
    incident_io: IncidentIo, server: SandboxServer
) -> None:
    old = replace(incident_io, api="v1")
    fields = {
        "name": "it broke",
        "custom_fields": {"Ticket": ["4711"]},
        "roles": {"Incident Lead": "oncall@example.com"},
        "source_message_channel_id": "C0123",
        "source_message_timestamp": "1772366400.000100",
    }
    delivery = replace(
        create(old, fields),
        ids={
            "custom_fields.Ticket": id_of(old, "custom_field", "Ticket"),
            "roles.Incident Lead": id_of(old, "incident_role", "incident lead"),
            "roles.Incident Lead.user": id_of(old, "user", "ONCALL@example.com"),
        },
    )
    assert isinstance(told(old, delivery), Delivered)
    [record] = server.store.records("incident_io")
    assert shown_fields(record.incident) == {"Ticket": ["4711"]}
    assert record.incident["incident_role_assignments"][0]["assignee"]["name"] == "On-call"
    [call] = server.calls.calls(api="incident_io", method="POST")
    assert call.body["source_message_timestamp"] == "1772366400.000100"
