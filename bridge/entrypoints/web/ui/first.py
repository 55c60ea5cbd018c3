"""The first page: whether anybody is needed, then every lane's last day, and what came last."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bridge.adapters.ledger import Ledger, Page
from bridge.adapters.ledger.activity import Day
from bridge.domain.access import How
from bridge.domain.alarms import BEATS_WITHIN
from bridge.domain.folding import behind_sentence
from bridge.entrypoints.web.ui import needs, reloads
from bridge.entrypoints.web.ui.sparks import EMPTY, Spark, spark_of
from bridge.entrypoints.web.ui.words import with_beats

if TYPE_CHECKING:
    from bridge.entrypoints.web.ui import Ui

PROCESSES_WITHIN = timedelta(minutes=10)
CAUSES_SHOWN = 20
PAUSES_LOOKED_AT = 100


def page_of(ui: "Ui", latest: Page) -> dict[str, Any]:
    """Everything now.html shows."""
    ledger = ui.ledger
    day, causes, troubles = ledger.day(), ledger.dead_causes(), ledger.troubles(ui.book())
    rules = ui.rules()
    of_account = {rule["id"]: rule["account"] for rule in rules}
    lanes = [
        {
            **lane,
            "spark": _spark_of(lane["account"], day, of_account),
            "behind": behind_sentence(folding=lane["folding"], waiting=lane["waiting"]),
            "paused_by": _paused_by(ledger, lane["account"]) if lane["held_by"] == "paused" else None,
            "last_said": ledger.last_said(lane["account"]) if lane["held_by"] == "failing" else None,
            "open": troubles["open"].get(lane["account"], 0),
            "last_s": None
            if not lane["waiting"] or needs.waits_for_others(lane)
            else ledger.finish_s(lane["account"], 0),
        }
        for lane in ledger.lanes(ui.rates)
    ]
    places = {rule["id"]: f"{rule['file']}:{rule['line']}" for rule in rules}
    others = ledger.unconfigured(ui.rates)
    found = (
        *reloads.need_of_rules(ledger),
        *needs.needs_of(lanes, causes[:CAUSES_SHOWN], troubles["templates"], places, ui.missing(), others),
        *needs.of_turned_away(ledger.turned_away()),
    )
    return {
        "title": needs.title_of(found),
        "needs": found,
        "lately": ledger.lately(),
        "open": sum(troubles["open"].values()),
        "received": spark_of({"received": day.received}, is_whole=day.is_whole),
        "proven": troubles["proven"],
        "lanes": lanes,
        "oldest": max((lane["oldest_wait_s"] or 0.0 for lane in lanes), default=None) or None,
        "events": latest,
        "processes": with_beats(ledger.alive(PROCESSES_WITHIN), BEATS_WITHIN.total_seconds()),
        "rules_number": len(rules),
    }


def _paused_by(ledger: Ledger, account: str) -> str | None:
    """Who paused an account's lane last, as far as the newest pauses of the audit tell; None for whoever is here."""
    pauses = ledger.audit(limit=PAUSES_LOOKED_AT, action="pause").items
    last = next((one for one in pauses if one["object"] == f"account {account}"), None)
    return None if last is None or last["how"] == How.LOOPBACK else str(last["actor"])


def _spark_of(account: str, day: Day, of_account: Mapping[str, str]) -> Spark:
    rules: Sequence[Sequence[int]] = [
        numbers for rule, numbers in day.by_rule.items() if of_account.get(rule) == account
    ]
    received = [sum(column) for column in zip(*rules, strict=True)] if rules else EMPTY
    kinds = day.by_account.get(account, {})
    numbers = {name: kinds.get(name, EMPTY) for name in ("created", "folded", "failed")}
    return spark_of({"received": received, **numbers}, is_whole=day.is_whole)
