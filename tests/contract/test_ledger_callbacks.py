"""Calls that senders asked for, on both databases: owed until their event says how they ended."""

import zlib
from datetime import timedelta

from bridge.adapters.ledger import Ledger, Receipt, receipt
from bridge.adapters.ledger.callbacks import OWED_FOR
from bridge.domain.alert import Notice
from bridge.domain.decision import Decided

MARK = "subscription"


def asks(ledger: Ledger, source: str = "aws", mark: str | None = MARK, age: timedelta = timedelta()) -> str:
    """A webhook whose Notice has this fingerprint; its event."""
    event = ledger.new_id()
    notice = Notice(source=source, source_type="aws_sns", reason="it asks", payload={}, fingerprint=mark)
    made: Receipt = receipt(
        event_id=event,
        source=source,
        received_at=ledger.time() - age,
        headers={"x-kind": "a"},
        body=b"{}",
        packed_body=zlib.compress(b"{}"),
        decided=[Decided(reading=notice)],
    )
    ledger.settle([made])
    return event


def test_a_call_is_owed_until_its_event_says_how_it_ended(ledger: Ledger) -> None:
    first, second = asks(ledger), asks(ledger)
    asks(ledger, mark=None)
    asks(ledger, mark="another")
    asks(ledger, source="other")
    assert ledger.callbacks_owed({"aws": MARK}) == [second, first]
    ledger.event_remarked(second, "confirmed \x00 by us")
    assert ledger.callbacks_owed({"aws": MARK, "none": MARK}) == [first]
    event = ledger.event(second)
    assert event is not None
    assert (event["state"], event["reason"]) == ("accepted", "confirmed \ufffd by us")


def test_an_old_call_is_owed_no_more(ledger: Ledger) -> None:
    asks(ledger, age=OWED_FOR + timedelta(minutes=1))
    recent = asks(ledger, age=OWED_FOR - timedelta(minutes=1))
    assert ledger.callbacks_owed({"aws": MARK}) == [recent]


def test_a_call_whose_body_is_gone_is_owed_no_more(ledger: Ledger) -> None:
    asks(ledger, age=timedelta(hours=2))
    ledger.pruned(timedelta(hours=1), timedelta(days=90))
    assert ledger.callbacks_owed({"aws": MARK}) == []
