"""Every way an upstream can refuse, forget or delay, over real HTTP: nothing is lost, nothing is there twice."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bridge.adapters.http import ANSWER_MAX_BYTES, Http
from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.changes import Changes
from bridge.adapters.ledger.rows import incident_from
from bridge.adapters.ledger.schema import incidents
from bridge.adapters.ledger.upgrade import upgrade
from bridge.destinations.pagerduty import PagerDuty
from bridge.domain.delivery import Action, NamedThing, NameRef
from bridge.domain.incident import CreateBody, IncidentState
from bridge.entrypoints.worker import Drainer
from bridge.sandbox import SandboxServer
from tests.e2e.test_deliver import CREATE, CREATE_IO, UNLIMITED, Bench
from tests.e2e.upstream import Answer, Call, Upstream
from tests.ledgers import MovedDatabase, fires, pace, route, settle, states, told

pytestmark = pytest.mark.e2e
WORDS = "Conference bridge is not what it should be."
REFUSAL = {"error": {"code": 2001, "message": "Invalid Input Provided", "errors": [WORDS]}}
REFUSAL_IO = {"type": "validation_error", "status": 422, "errors": [{"code": "invalid_value", "message": WORDS}]}
UPSTREAMS = [("pd", "pagerduty", CREATE, REFUSAL), ("io", "incident_io", CREATE_IO, REFUSAL_IO)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with SandboxServer(rates=UNLIMITED) as sandbox:
        made = Bench(tmp_path, sandbox)
        yield made
        made.ledger.close()


def pages(bench: Bench, account: str, name: str) -> None:
    if account == "pd":
        bench.pages(name)
    else:
        bench.pages_io(name)


def letter(bench: Bench) -> dict[str, Any]:
    (found,) = bench.ledger.deliveries(state="dead", limit=9).items
    return found


# -- refused for what it holds


@pytest.mark.parametrize("status", [400, 402, 404, 422])
@pytest.mark.parametrize(("account", "api", "create", "refusal"), UPSTREAMS)
def test_a_refused_create_arrives_as_a_plain_one_that_says_why(
    bench: Bench, account: str, api: str, create: dict[str, str], refusal: Any, status: int
) -> None:
    bench.script(match=create, times=1, do={"status": status, "body": refusal})
    pages(bench, account, "a")
    bench.drain(account)
    (made,) = bench.upstream(api)
    assert WORDS in made["body"] + str(made["incident"].get("summary"))
    assert bench.calls("POST") == 2
    assert told(bench.ledger) == [("create", "delivered")]
    assert states(bench.ledger) == ["open"]


@pytest.mark.parametrize(("account", "api", "create", "refusal"), UPSTREAMS)
def test_a_create_that_is_refused_plain_as_well_is_dead_and_holds_up_nobody(
    bench: Bench, account: str, api: str, create: dict[str, str], refusal: Any
) -> None:
    bench.script(match=create, times=2, do={"status": 422, "body": refusal})
    pages(bench, account, "a")
    bench.drain(account)
    assert bench.calls("POST") == 2
    assert WORDS in letter(bench)["detail"]
    pages(bench, account, "b")
    bench.drain(account)
    assert len(bench.upstream(api)) == 1


def test_a_service_that_is_gone_becomes_the_accounts_default(bench: Bench) -> None:
    gone, catch_all = NamedThing(id="PGONE", name="Checkout API"), NamedThing(id="PSVCATC", name="Catch-all")
    bench.ledger.names_stored("pd", "service", [gone, catch_all])
    bench.pages("a")
    bench.drain()
    (made,) = bench.upstream()
    assert made["incident"]["service"]["id"] == "PSVCATC"
    assert "Service not found; code 2002" in made["body"]
    assert "service: Catch-all instead of Checkout API" in made["body"]


def test_a_service_that_is_gone_with_its_default_is_dead(bench: Bench) -> None:
    gone = [NamedThing(id="PGONE", name="Checkout API"), NamedThing(id="PGONE2", name="Catch-all")]
    bench.ledger.names_stored("pd", "service", gone)
    bench.pages("a")
    bench.drain()
    assert bench.calls("POST") == 2
    assert "Service not found" in letter(bench)["detail"]


def test_a_from_that_is_nobody_there_says_what_to_do(bench: Bench) -> None:
    account = bench.drainer.destinations["pd"]
    assert isinstance(account, PagerDuty)
    bench.drainer.destinations = {"pd": replace(account, from_="nobody@example.com")}
    bench.pages("a")
    bench.drain()
    assert "'from' has to be the login e-mail of a user there" in letter(bench)["detail"]
    assert "Requester User Not Found" in letter(bench)["detail"]
    assert bench.calls("POST") == 1  # a plain create would be refused the same way
    bench.drainer.destinations = {"pd": account}
    bench.ledger.replayed(letter(bench)["id"])
    bench.drain()
    (made,) = bench.upstream()
    assert "instead of" not in made["body"]  # the rule's own request, not a plain one
    assert made["incident"]["service"]["summary"] == "Checkout API"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(("account", "api", "create", "refusal"), UPSTREAMS)
def test_a_redirect_is_refused_and_not_followed(
    bench: Bench, account: str, api: str, create: dict[str, str], refusal: Any, status: int
) -> None:
    there = f"{bench.sandbox.base_url}{create['path_prefix']}"
    bench.script(match=create, times=1, do={"status": status, "headers": {"Location": there}})
    pages(bench, account, "a")
    bench.drain(account)
    assert "redirect refused" in letter(bench)["detail"]
    assert bench.upstream(api) == []


def with_key(bench: Bench, token: str) -> None:
    account = bench.drainer.destinations["pd"]
    assert isinstance(account, PagerDuty)
    bench.drainer.destinations = {"pd": replace(account, token=token)}


def test_a_plan_without_priorities_gets_its_page_without_one(bench: Bench) -> None:
    with_key(bench, "no-priorities")
    bench.ledger.names_stored("pd", "priority", [NamedThing(id="PPRIO1X", name="P1")])  # as it was last year
    fields = {"title": "a", "service": "Checkout API", "priority": "P1"}
    names = (named("service", "service", "Checkout API"), named("priority", "priority", "P1"))
    settle(bench.ledger, fires("a", fields=fields, names=names))
    bench.drain()
    (made,) = bench.upstream()
    assert made["incident"]["priority"] is None
    assert "HTTP 402" in made["body"]
    assert "left out: priority: P1" in made["body"]


def test_a_disabled_service_is_paged_on_the_accounts_default(bench: Bench) -> None:
    fields = {"title": "a", "service": "Retired"}
    settle(bench.ledger, fires("a", fields=fields, names=(named("service", "service", "Retired"),)))
    bench.drain()
    (made,) = bench.upstream()
    assert made["incident"]["service"]["summary"] == "Catch-all"
    assert "Service is disabled" in made["body"]


def test_a_key_that_may_only_read_loses_nothing(bench: Bench) -> None:
    whole = bench.drainer.destinations
    with_key(bench, "read-only")
    bench.pages("a")
    bench.drain()
    assert told(bench.ledger) == [("create", "pending")]
    bench.drainer.destinations = whole
    bench.drain()
    assert len(bench.upstream()) == 1


# -- parked


@pytest.mark.parametrize(("status", "advice"), [(401, "check token and region"), (403, "check its permissions")])
@pytest.mark.parametrize(("account", "api", "create", "refusal"), UPSTREAMS)
def test_a_refused_key_parks_and_says_what_to_do_and_nothing_is_lost(
    bench: Bench, account: str, api: str, create: dict[str, str], refusal: Any, status: int, advice: str
) -> None:
    bench.script(match=create, times=1, do={"status": status, "body": "denied"})
    for name in "abc":
        pages(bench, account, name)
    bench.drainer.drain(account)
    (parked,) = (one["parked"] for one in bench.ledger.lanes({account: (api, "12/min")}) if one["parked"])
    assert advice in parked
    assert re.search(r"wait (5\d|60) s", parked)
    bench.drain(account)
    assert len(bench.upstream(api)) == 3


def in_20_s() -> str:
    return formatdate(time.time() + 20, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"ratelimit-limit": "60", "ratelimit-remaining": "0", "ratelimit-reset": "20"}, "", 20),
        ({"Retry-After": "20"}, "", 20),
        ({"Retry-After": "<date>"}, "", 20),
        ({"X-RateLimit-Reset": "<unix>"}, "", 20),
        ({}, {"rate_limit": {"retry_after": "<date>"}}, 20),
        ({}, {"retry_after": 20}, 20),
        ({"Retry-After": "0"}, "", 1),
        ({"Retry-After": "999999"}, "", 900),
        ({"Retry-After": "soon"}, "", 60),
        ({}, "", 60),
    ],
)
@pytest.mark.parametrize(("account", "api", "create", "refusal"), UPSTREAMS)
def test_a_429_parks_creates_for_as_long_as_it_says(
    bench: Bench,
    account: str,
    api: str,
    create: dict[str, str],
    refusal: Any,
    headers: dict[str, str],
    body: Any,
    wait_s: int,
) -> None:
    said = json.dumps([headers, body]).replace("<date>", in_20_s()).replace("<unix>", str(int(time.time() + 20)))
    now_headers, now_body = json.loads(said)
    bench.script(match=create, times=1, do={"status": 429, "headers": now_headers, "body": now_body})
    pages(bench, account, "a")
    bench.drainer.drain(account)
    (parked,) = (one["parked"] for one in bench.ledger.lanes({account: (api, "12/min")}) if one["parked"])
    found = re.match(r"creates wait (\d+) s: the upstream answered 429", parked)
    assert found is not None
    assert abs(int(found[1]) - wait_s) <= 2
    bench.drain(account)
    assert len(bench.upstream(api)) == 1


# -- unknown


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"incident": null}', '{"incident": {"id": ""}}', "<html>ok</html>"])
@pytest.mark.parametrize("effect", [True, False])
@pytest.mark.parametrize(("account", "api", "create", "refusal"), UPSTREAMS)
def test_a_success_without_an_id_is_found_out(
    bench: Bench, account: str, api: str, create: dict[str, str], refusal: Any, effect: bool, body: str
) -> None:
    do: dict[str, Any] = {"status": 201, "body": body, **({"effect": True} if effect else {})}
    bench.script(match=create, times=1, do=do)
    pages(bench, account, "a")
    bench.drain(account)
    assert len(bench.upstream(api)) == 1
    assert states(bench.ledger) == ["open"]


class Away:
    """One PagerDuty account over a server that answers as told, and time to move."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.database = MovedDatabase(f"sqlite:///{folder}/bridge.db")
        upgrade(self.database)
        slow = pace(give_up_after=timedelta(hours=1))
        self.ledger = Ledger(self.database, {"pd": route("pd", slow, keeps=PagerDuty.plain_fields)})
        self.ledger.lanes_ensured()
        account = PagerDuty(account="pd", token="t0ken-of-tests", from_="bot@example.com", base_url=upstream.url)
        self.drainer = Drainer(self.ledger, {"pd": account}, Http(deadline_s=2.0))

    def passes(self, by: timedelta, step: timedelta = timedelta(seconds=30)) -> None:
        for _ in range(by // step):
            self.database.ahead += step
            self.drainer.drain("pd")


def test_an_upstream_that_stays_away_makes_a_dead_letter_after_give_up_after(tmp_path: Path) -> None:
    with Upstream(lambda _call: (503, {}, b"")) as upstream:
        away = Away(tmp_path, upstream)
        settle(away.ledger, fires("a"))
        away.passes(timedelta(minutes=55))
        assert told(away.ledger) == [("create", "pending")]
        away.passes(timedelta(minutes=10))
        (dead,) = away.ledger.deliveries(state="dead", limit=9).items
        assert dead["reason"] == "too_old"
        assert 10 < len(upstream.calls) < 80, "probed, not hammered"
        away.ledger.close()


def test_an_answer_beyond_measure_is_cut_and_its_incident_looked_up(tmp_path: Path) -> None:
    made: list[dict[str, Any]] = []

    def endless(call: Call) -> Answer:
        if call.method == "GET":
            return 200, {}, json.dumps({"incidents": made}).encode()
        asked = json.loads(call.body)["incident"]
        made.append({"id": f"Q{len(made)}", "incident_key": asked["incident_key"], "status": "triggered"})
        return 201, {}, json.dumps({"padding": "x" * 2 * ANSWER_MAX_BYTES, "incident": made[-1]}).encode()

    with Upstream(endless) as upstream:
        away = Away(tmp_path, upstream)
        settle(away.ledger, fires("a"))
        away.passes(timedelta(minutes=5))
        assert len(made) == 1
        assert told(away.ledger) == [("create", "adopted")]
        away.ledger.close()


# -- changes and notes


def tell(bench: Bench, action: Action, fields: dict[str, Any], *names: NameRef) -> None:
    """One more delivery of the one incident."""
    with bench.ledger.database.writing() as transaction:
        row = transaction.connection.execute(select(incidents)).mappings().one()
        next_no = transaction.connection.exec_driver_sql("SELECT next_no FROM series").scalar_one()
        incident = incident_from(dict(row))
        if action is Action.REOPEN:
            incident = replace(incident, state=IncidentState.PENDING, live=True, resolved_at=transaction.now)
        changes = Changes(now=transaction.now, routes=bench.ledger.routes, new_id=bench.ledger.new_id)
        changes.next_no[incident.series] = next_no
        changes.put(incident)
        changes.add_delivery(incident, action, CreateBody(fields=fields, names=names, notes=()))
        changes.flush(transaction.connection)


def opened(bench: Bench) -> None:
    bench.pages("a")
    bench.drain()


def named(field: str, kind: str, text: str) -> NameRef:
    return NameRef(field=field, kind=kind, text=text)


def test_an_incident_is_changed_in_everything_a_put_can_change(bench: Bench) -> None:
    opened(bench)
    bridge = {"conference_number": "+1-555-0100", "conference_url": "https://meet.example.com/war-room"}
    fields = {
        "title": "worse",
        "urgency": "low",
        "priority": "P1",
        "incident_type": "major_incident",
        "escalation_level": 1,
        "escalation_policy": "Default",
        "conference_bridge": bridge,
    }
    policy = named("escalation_policy", "escalation_policy", "Default")
    kind = named("incident_type", "incident_type", "major_incident")
    tell(bench, Action.UPDATE, fields, named("priority", "priority", "P1"), policy, kind)
    bench.drain()
    (made,) = bench.upstream()
    incident = made["incident"]
    assert (incident["title"], incident["urgency"], incident["status"]) == ("worse", "low", "triggered")
    assert incident["priority"]["summary"] == "P1"
    assert incident["escalation_policy"]["summary"] == "Default"
    assert incident["incident_type"] == {"name": "major_incident"}
    assert incident["conference_bridge"] == bridge
    assert told(bench.ledger)[-1] == ("update", "delivered")


@pytest.mark.parametrize("vendor", ["pd", "io"])
def test_an_update_of_which_nothing_is_left_is_not_sent_and_says_why(bench: Bench, vendor: str) -> None:
    field, kind = ("priority", "priority") if vendor == "pd" else ("severity", "severity")
    (bench.pages if vendor == "pd" else bench.pages_io)("a")
    bench.drain(vendor)
    calls = bench.calls("POST") + bench.calls("PUT")
    tell(bench, Action.UPDATE, {field: "no such"}, named(field, kind, "no such"))
    bench.drain(vendor)
    assert told(bench.ledger) == [("create", "delivered"), ("update", "cancelled")]
    update = bench.ledger.deliveries(limit=1).items[0]
    assert (update["reason"], update["attempts"]) == ("nothing_to_tell", 0)
    assert update["detail"].startswith(f"nothing is left of what it was to change; {field}: {kind} 'no such' does not")
    assert bench.calls("POST") + bench.calls("PUT") == calls


def test_an_incident_is_reassigned(bench: Bench) -> None:
    opened(bench)
    tell(bench, Action.UPDATE, {"assignee": "oncall@example.com"}, named("assignee", "user", "oncall@example.com"))
    bench.drain()
    (made,) = bench.upstream()
    assert [one["assignee"]["summary"] for one in made["incident"]["assignments"]] == ["On-call"]
    assert made["incident"]["assigned_via"] == "direct_assignment"


def test_a_resolved_incident_is_opened_again(bench: Bench) -> None:
    opened(bench)
    tell(bench, Action.RESOLVE, {"resolution": "a mistake"})
    bench.drain()
    assert [one["state"] for one in bench.upstream()] == ["resolved"]
    tell(bench, Action.REOPEN, {"urgency": "low"})
    bench.drain()
    (made,) = bench.upstream()
    assert (made["state"], made["incident"]["urgency"]) == ("triggered", "low")


@pytest.mark.parametrize("effect", [True, False], ids=["after the effect", "before it"])
@pytest.mark.parametrize("how", [{"drop": True}, {"status": 500}, {"status": 200, "body": "{}"}, {"delay_s": 3}])
def test_a_note_whose_outcome_is_unknown_is_there_once(bench: Bench, effect: bool, how: dict[str, Any]) -> None:
    opened(bench)
    do = how if "delay_s" in how else {**how, **({"effect": True} if effect else {})}
    bench.script(match={"method": "POST", "path_prefix": "/pagerduty/incidents/"}, times=1, do=do)
    tell(bench, Action.NOTE, {"note": "3 further alerts"})
    bench.drain()
    (made,) = bench.upstream()
    assert [one["content"].partition("\n")[0] for one in made["notes"]] == ["3 further alerts"]
    assert told(bench.ledger)[-1][1] in ("delivered", "adopted")
