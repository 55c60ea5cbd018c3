"""Why a rule book decides as it does: the alert as read, each rule with its conditions, the key, the request, the lane.

In: Readings, a RuleBook, Destinations, what is known of names and lanes. Out: a frozen Explanation, made by the very
functions of production; `plain.as_json` gives it as plain values for a script or a page. Nothing is sent and nothing
stored.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from bridge.destinations.base import Destination
from bridge.domain.alert import Notice, Reading
from bridge.domain.decision import Decided
from bridge.explain.answers import answered, bounded, closest, summary_of
from bridge.explain.requests import Known
from bridge.explain.values import AlertExplanation, Explanation, LaneView, Lists
from bridge.pipeline import decide
from bridge.rules.book import RuleBook
from bridge.rules.silencing import Silencing

NO_LISTS: Lists = MappingProxyType({})
NO_LANES: Mapping[str, LaneView] = MappingProxyType({})
NO_SILENCES = Silencing()


def explain(
    readings: tuple[Reading, ...],
    book: RuleBook,
    destinations: Mapping[str, Destination],
    *,
    source: str,
    now: datetime,
    event: str | None = None,
    lists: Lists = NO_LISTS,
    lanes: Mapping[str, LaneView] = NO_LANES,
    silencing: Silencing = NO_SILENCES,
) -> Explanation:
    """Explain the readings of one webhook of `source`.

    `lists` gives the ids that names of the upstream stand for, `lanes` what waits, by account; what is missing in
    either is said in the answer. `now` is an aware instant, for the wait and for `silencing`.
    """
    known = Known(book=book, destinations=destinations, event=event, now=now, lists=lists, lanes=lanes)
    alerts = tuple(_explained(known, one) for one in silencing.marked(decide(readings, book, destinations)))
    return Explanation(source=source, event=event, book=book.hash, alerts=alerts)


def _explained(known: Known, decided: Decided) -> AlertExplanation:
    reading = decided.reading
    if isinstance(reading, Notice):
        summary = f"no alert, so no rule is asked: {reading.reason}"
        return AlertExplanation(reading=reading, summary=summary, rules=(), left_out=0, nearest=None, requests=())
    rules = tuple(answered(known.book.rules, reading, decided))
    shown = bounded(rules)
    return AlertExplanation(
        reading=reading,
        summary=summary_of(reading, decided, rules, known.now),
        rules=shown,
        left_out=len(rules) - len(shown),
        nearest=closest(rules),
        requests=tuple(known.requests(reading, decided)),
    )
