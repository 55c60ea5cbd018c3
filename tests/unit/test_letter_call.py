"""What the page of a dead letter shows as its call is what a worker would send, names found as workers find them."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.domain.delivery import NamedThing, NameRef
from bridge.domain.incident import CreateBody
from bridge.entrypoints.web.ui.workshop import Workshop
from tests.unit.test_destination_pagerduty import ACCOUNT, CREATE

TWICE = (NamedThing(id="PSVC1", name="Checkout"), NamedThing(id="PSVC2", name="Checkout"))


def called(service: str, things: tuple[NamedThing, ...]) -> dict[str, Any]:
    """The call of a create with a service of that name, beside these services of the account."""
    ledger = SimpleNamespace(name_list=lambda account, kind: SimpleNamespace(things=things))
    workshop = Workshop(
        **dict.fromkeys(("settings", "book", "files", "sources", "receive", "trials"), cast(Any, None)),
        ledger=cast(Any, ledger),
        destinations={"pd": ACCOUNT},
    )
    names = (NameRef(field="service", kind="service", text=service),)
    body = CreateBody(fields={"title": "it broke", "service": service}, names=names, notes=())
    return workshop.call_of(cast(Any, SimpleNamespace(delivery=CREATE)), body)


@pytest.mark.parametrize("there", ["checkout api", "Checkout\u00a0API", " Checkout  API"])
def test_a_name_that_looks_the_same_is_shown_with_its_id(there: str) -> None:
    call = called("Checkout API", (NamedThing(id="PSVC9", name=there),))
    assert '"id":"PSVC9"' in call["body"]
    assert call["unknown"] == []


def test_a_name_that_two_entries_have_is_neither_of_them() -> None:
    call = called("Checkout", TWICE)
    assert "PSVC" not in call["body"]
    assert call["unknown"] == ["service 'Checkout'"]
