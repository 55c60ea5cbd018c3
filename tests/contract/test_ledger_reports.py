"""The last applied report of each problem, on both databases."""

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from bridge.adapters.ledger import Ledger
from bridge.domain.alert import Alert, Status, Webhook
from bridge.domain.decision import Decided
from bridge.sources.alertmanager import Alertmanager
from bridge.sources.base import NoAuth
from tests.ledgers import alert, decision, ends, fires, settle, webhook

NOW = datetime.now(UTC)


def says(fingerprint: str, status: Status, *, ago_s: float | None = None, episode: str | None = None) -> Decided:
    """A report with the sender's own time."""
    at = None if ago_s is None else NOW - timedelta(seconds=ago_s)
    reading = alert(fingerprint, status, reported_at=at, episode=episode)
    decisions = (decision(fingerprint),) if status is Status.FIRING else ()
    return Decided(reading=reading, decisions=decisions, matched=("r",))


def test_a_firing_that_comes_after_its_recovery_opens_nothing(ledger: Ledger) -> None:
    assert settle(ledger, says("a", Status.RESOLVED, ago_s=10)) == ["ignored"], "kept although nothing was open"
    [settled], _ = ledger.settle([webhook(ledger, says("a", Status.FIRING, ago_s=20))])
    assert ledger.incidents(limit=9).items == ()
    (seen,) = (ledger.event(settled.event_id) or {})["alerts"]
    assert seen["outcome"] == "ignored"
    assert seen["decisions"][0]["reason"].startswith("stale: reported at ")


def test_a_firing_that_comes_after_its_acknowledgement_still_pages(ledger: Ledger) -> None:
    assert settle(ledger, says("a", Status.ACKNOWLEDGED, ago_s=10, episode="2")) == ["ignored"], "nothing was open"
    assert settle(ledger, says("a", Status.FIRING, ago_s=20, episode="1")) == ["opened"]
    assert settle(ledger, says("a", Status.RESOLVED, ago_s=15, episode="1")) == ["cancelled"], "nor did it end another"
    assert settle(ledger, says("a", Status.ACKNOWLEDGED, ago_s=5)) == ["ignored"]
    assert settle(ledger, says("a", Status.FIRING, ago_s=20)) == ["ignored"], "its recovery is still the last report"
    assert settle(ledger, says("a", Status.FIRING, ago_s=8)) == ["opened"]
    assert settle(ledger, says("a", Status.ACKNOWLEDGED, ago_s=4)) == ["acknowledged"]
    assert settle(ledger, says("a", Status.RESOLVED, ago_s=6)) == ["ignored"], "older than what was acknowledged"


def test_a_late_recovery_of_an_earlier_firing_leaves_the_new_one_open(ledger: Ledger) -> None:
    settle(ledger, says("a", Status.FIRING, ago_s=30))
    settle(ledger, says("a", Status.FIRING, ago_s=10))
    assert settle(ledger, says("a", Status.RESOLVED, ago_s=20)) == ["ignored"]
    assert [one["state"] for one in ledger.incidents(limit=9).items] == ["pending"]
    assert settle(ledger, says("a", Status.RESOLVED, ago_s=5)) == ["cancelled"]


def test_the_end_of_an_earlier_episode_leaves_this_one_open(ledger: Ledger) -> None:
    settle(ledger, says("a", Status.FIRING, episode="2"))
    assert settle(ledger, says("a", Status.RESOLVED, episode="1")) == ["ignored"]
    assert settle(ledger, says("a", Status.RESOLVED, episode="2")) == ["cancelled"]


def test_an_outage_that_another_watcher_saw_begin_later_is_over_when_he_says_so(ledger: Ledger) -> None:
    began, later, over, again = ({"startsAt": (NOW - timedelta(minutes=ago)).isoformat()} for ago in (40, 30, 20, 10))

    def told(**said: str) -> str:
        body = {"alerts": [{"labels": {"alertname": "Down"}, "fingerprint": "f", **said}]}
        hook = Webhook(source="s", headers={}, body=json.dumps(body).encode(), received_at=NOW)
        (reading,) = Alertmanager(name="s", auth=NoAuth()).alerts_in(hook)
        assert isinstance(reading, Alert)
        decisions = (decision("f"),) if reading.status is Status.FIRING else ()
        return settle(ledger, Decided(reading=reading, decisions=decisions, matched=("r",)))[0]

    assert told(status="firing", **began) == "opened"
    assert told(status="resolved", **later, endsAt=over["startsAt"]) == "cancelled"
    assert told(status="firing", **again) == "opened", "the next outage pages"
    assert told(status="resolved", **began, endsAt=over["startsAt"]) == "ignored", "what the first watcher says, late"
    assert told(status="resolved", **over, endsAt=over["startsAt"]) == "ignored", "and so where the beginning is lost"


def test_one_batch_is_in_the_order_it_came_in(ledger: Ledger) -> None:
    early, late = says("a", Status.FIRING, ago_s=20), says("a", Status.RESOLVED, ago_s=10)
    assert settle(ledger, late, early) == ["ignored", "ignored"]
    assert settle(ledger, says("b", Status.FIRING, ago_s=20), says("b", Status.RESOLVED, ago_s=10)) == [
        "opened",
        "cancelled",
    ]


def test_two_webhooks_of_one_transaction_know_each_others_reports(ledger: Ledger) -> None:
    ledger.settle(
        [webhook(ledger, says("a", Status.RESOLVED, ago_s=10)), webhook(ledger, says("a", Status.FIRING, ago_s=20))]
    )
    assert ledger.incidents(limit=9).items == ()


def test_an_ignored_report_is_not_the_last_one(ledger: Ledger) -> None:
    settle(ledger, says("a", Status.FIRING, ago_s=10))
    settle(ledger, says("a", Status.RESOLVED, ago_s=60))
    assert settle(ledger, says("a", Status.RESOLVED, ago_s=30)) == ["ignored"], "still older than the firing"


def test_an_episode_with_half_a_surrogate_is_the_same_when_it_ends(ledger: Ledger) -> None:
    settle(ledger, says("a", Status.FIRING, episode="\ud800x"))
    assert settle(ledger, says("a", Status.RESOLVED, episode="\ud800x")) == ["cancelled"]


def test_a_report_is_forgotten_with_its_event_but_not_while_it_fires(ledger: Ledger) -> None:
    settle(ledger, fires("fires"), ends("over"))
    with ledger.database.writing() as transaction:
        long_ago = int((NOW - timedelta(days=9)).timestamp() * 1_000_000)
        transaction.connection.execute(text("UPDATE events SET received_at = :at"), {"at": long_ago})
        transaction.connection.execute(text("UPDATE problems SET updated_at = :at"), {"at": long_ago})
    ledger.pruned(timedelta(days=1), timedelta(days=1))
    with ledger.database.reading() as transaction:
        kept = transaction.connection.execute(text("SELECT fingerprint FROM problems")).scalars().all()
    assert kept == ["fires"]
