"""A refused create goes out once more as a plain one, and only once; then it is a dead letter that says what to do."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bridge.adapters.ledger import Claimed, Ledger
from bridge.adapters.ledger.engine import Database
from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import NamedThing, NameRef, PermanentFailure, Phase, Reason, UnknownOutcome
from tests.ledgers import claim, delivered, ends, fires, ledger_of, record, route, services, settle, states, told

WORDS = "HTTP 400: Invalid Input Provided; code 2001"
REFUSED = PermanentFailure(reason=Reason.BAD_REQUEST, detail=WORDS)
NO_SERVICE = PermanentFailure(
    reason=Reason.BAD_REQUEST, detail="HTTP 400: Service not found; code 2002", field="service"
)
UNKNOWN = UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer within 10 s")
FIELDS = {"title": "a is down", "service": "S", "body": "as it is", "urgency": "high", "priority": "P1"}
NAMES = (services(), NameRef(field="priority", kind="priority", text="P1", fallback="P2"))
PLACES = {"": "rules/a.yaml:3:9", "title": "rules/a.yaml:6:14", "service": "rules/a.yaml:7:16"}
KEEPS = frozenset({"title", "service", "body"})


def opened(url: str, **more: Any) -> Ledger:
    ledger = ledger_of(Database(url), pd=route("pd", keeps=KEEPS, **more))
    ledger.names_stored("pd", "service", [NamedThing(id="P1", name="S"), NamedThing(id="P9", name="Catch-all")])
    ledger.names_stored("pd", "priority", [NamedThing(id="PR1", name="P1"), NamedThing(id="PR2", name="P2")])
    return ledger


@pytest.fixture
def catching(ledger_url: str) -> Iterator[Ledger]:
    """A ledger whose account has a default service."""
    ledger = opened(ledger_url, defaults={"service": "Catch-all"})
    yield ledger
    ledger.close()


@pytest.fixture
def bare(ledger_url: str) -> Iterator[Ledger]:
    """A ledger whose account has no defaults."""
    ledger = opened(ledger_url)
    yield ledger
    ledger.close()


def page(ledger: Ledger, name: str = "a", **changes: Any) -> Claimed:
    given: dict[str, Any] = {"fields": FIELDS, "names": NAMES, "places": PLACES, **changes}
    settle(ledger, fires(name, **given))
    return claim(ledger)


def letter(ledger: Ledger) -> Mapping[str, Any]:
    (found,) = ledger.deliveries(state="dead", limit=9).items
    return found


@pytest.mark.parametrize("reason", [Reason.BAD_REQUEST, Reason.PAYMENT_REQUIRED, Reason.NOT_FOUND])
def test_a_refused_create_goes_out_once_more_with_what_it_needs(catching: Ledger, reason: Reason) -> None:
    first = page(catching, notes=("title: cut to 5 characters",))
    assert first.delivery.ids == {"service": "P1", "priority": "PR1"}
    record(catching, first, PermanentFailure(reason=reason, detail=WORDS))
    plain = claim(catching)
    assert plain.delivery.id == first.delivery.id
    assert plain.delivery.key == first.delivery.key
    assert plain.delivery.phase is Phase.SEND
    assert plain.delivery.fields == {"title": "a is down", "service": "Catch-all", "body": "as it is"}
    assert plain.delivery.ids == {"service": "P9"}
    assert plain.delivery.notes == (
        "title: cut to 5 characters",
        f"the upstream refused the whole incident, so this is a plain one: {WORDS} (rule at rules/a.yaml:3:9)",
        "left out: priority: P1, urgency: high",
        "service: Catch-all instead of S",
    )
    record(catching, plain, delivered())
    assert told(catching) == [("create", "delivered")]
    assert states(catching) == ["open"]


def test_without_a_default_the_rules_own_service_stays(bare: Ledger) -> None:
    record(bare, page(bare), REFUSED)
    assert claim(bare).delivery.ids == {"service": "P1"}


def test_every_default_of_the_account_stands_in_for_what_the_rule_said(ledger_url: str) -> None:
    ledger = opened(ledger_url, defaults={"service": "Catch-all", "urgency": "low"})
    record(ledger, page(ledger), REFUSED)
    plain = claim(ledger).delivery
    assert plain.fields == {"title": "a is down", "service": "Catch-all", "body": "as it is", "urgency": "low"}
    ledger.close()


def test_a_priority_that_was_refused_is_left_out_and_the_page_goes(bare: Ledger) -> None:
    words = "HTTP 400: Priority not found"
    record(bare, page(bare), PermanentFailure(reason=Reason.BAD_REQUEST, detail=words, field="priority"))
    plain = claim(bare).delivery
    assert (plain.fields.keys(), plain.ids) == (KEEPS, {"service": "P1"})
    assert words in plain.notes[0]


def test_a_second_refusal_is_final_and_stands_beside_the_line_of_the_rule(bare: Ledger) -> None:
    record(bare, page(bare), REFUSED)
    record(bare, claim(bare), PermanentFailure(reason=Reason.BAD_REQUEST, detail="HTTP 400: Title!", field="title"))
    assert bare.claim("pd") is None
    assert letter(bare)["detail"] == "HTTP 400: Title! (field 'title', rules/a.yaml:6:14)"
    assert letter(bare)["reason"] == "bad_request"
    assert letter(bare)["attempts"] == 2
    assert states(bare) == ["dead"]


def test_a_service_that_is_not_found_becomes_the_accounts_default(catching: Ledger) -> None:
    record(catching, page(catching), NO_SERVICE)
    plain = claim(catching)
    assert plain.delivery.ids == {"service": "P9"}
    record(catching, plain, NO_SERVICE)
    assert letter(catching)["detail"].startswith("HTTP 400: Service not found")


def test_a_service_that_is_not_found_and_has_nothing_in_its_place_is_dead_at_once(bare: Ledger) -> None:
    record(bare, page(bare), NO_SERVICE)
    assert letter(bare)["detail"] == "HTTP 400: Service not found; code 2002 (field 'service', rules/a.yaml:7:16)"
    assert letter(bare)["attempts"] == 1


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.NOT_BUILT])
def test_what_no_other_content_would_change_is_dead_at_once(catching: Ledger, reason: Reason) -> None:
    record(catching, page(catching), PermanentFailure(reason=reason, detail="no"))
    assert letter(catching)["reason"] == reason.value


def test_a_refused_look_up_is_no_refused_create(catching: Ledger) -> None:
    record(catching, page(catching), UNKNOWN)
    asks = claim(catching)
    assert asks.delivery.phase is Phase.LOOK_UP
    record(catching, asks, REFUSED)
    again = claim(catching)
    assert again.delivery.phase is Phase.SEND
    assert (again.delivery.key, again.delivery.fields) == (asks.delivery.key, FIELDS), "not the plain one"
    record(catching, again, delivered())
    assert told(catching) == [("create", "delivered")]


def test_an_unknown_outcome_of_a_plain_create_is_looked_up_and_sent_plain_again(catching: Ledger) -> None:
    record(catching, page(catching), REFUSED)
    record(catching, claim(catching), UNKNOWN)
    looks = claim(catching)
    assert looks.delivery.phase is Phase.LOOK_UP
    assert looks.delivery.ids == {"service": "P9"}, "where the plain create went"
    record(catching, looks, delivered(adopted=True))
    assert told(catching) == [("create", "adopted")]


def test_a_problem_that_is_over_needs_no_plain_create(catching: Ledger) -> None:
    first = page(catching)
    settle(catching, ends("a"))
    record(catching, first, REFUSED)
    assert catching.claim("pd") is None
    assert states(catching) == ["cancelled"]


def test_a_dead_plain_create_that_a_person_sends_again_is_still_the_last(bare: Ledger) -> None:
    record(bare, page(bare), REFUSED)
    record(bare, claim(bare), REFUSED)
    bare.replayed(letter(bare)["id"])
    again = claim(bare)
    assert again.delivery.fields.keys() == KEEPS
    record(bare, again, REFUSED)
    assert letter(bare)["attempts"] == 3
    assert letter(bare)["detail"] == f"{WORDS} (rule at rules/a.yaml:3:9)"


def test_a_key_that_is_spent_for_ever_gets_a_plain_one_beside_it(bare: Ledger) -> None:
    first = page(bare, key_rule=KeyRule.FOR_EVER)
    record(bare, first, REFUSED)
    assert claim(bare).delivery.key == f"{first.delivery.key}-p"


def test_a_key_under_which_a_call_may_have_worked_is_kept(bare: Ledger) -> None:
    first = page(bare, key_rule=KeyRule.FOR_EVER)
    record(bare, first, UNKNOWN)
    record(bare, claim(bare), REFUSED)
    assert claim(bare).delivery.key == first.delivery.key


def test_an_account_that_knows_no_plain_create_has_a_dead_letter(ledger: Ledger) -> None:
    ledger.names_stored("pd", "service", [NamedThing(id="P1", name="S")])
    record(ledger, page(ledger, names=()), REFUSED)
    assert letter(ledger)["detail"] == f"{WORDS} (rule at rules/a.yaml:3:9)"


def test_the_place_of_a_field_survives_a_renewal(bare: Ledger) -> None:
    record(bare, page(bare), delivered())
    settle(bare, ends("a"))
    resolve = claim(bare)
    settle(bare, fires("a", fields=FIELDS, names=NAMES, places=PLACES, severity=Severity.CRITICAL))
    record(bare, resolve, delivered())
    record(bare, claim(bare), NO_SERVICE)
    assert "rules/a.yaml:7:16" in letter(bare)["detail"]


@pytest.mark.parametrize(
    ("field", "said", "sent"),
    [("title", "t" * 900, "t" * 99 + "…"), ("body", "b" * 9000, "b" * 999 + "…"), ("body", "short", None)],
)
def test_a_text_that_was_refused_is_not_repeated(catching: Ledger, field: str, said: str, sent: str | None) -> None:
    first = page(catching, fields=FIELDS | {field: said})
    record(catching, first, PermanentFailure(reason=Reason.BAD_REQUEST, detail=WORDS, field=field))
    plain = claim(catching).delivery
    assert plain.fields.get(field) == sent
    assert any(said[:150] in note for note in plain.notes)


def test_a_short_title_that_was_refused_stays_for_a_create_needs_one(catching: Ledger) -> None:
    first = page(catching)
    record(catching, first, PermanentFailure(reason=Reason.BAD_REQUEST, detail=WORDS, field="title"))
    assert claim(catching).delivery.fields["title"] == "a is down"
