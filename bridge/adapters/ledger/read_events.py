"""What people ask of events: the list with its filters, the alerts of each in a line, and one event whole."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, func, literal, or_, select

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.reads import LIMIT_DEFAULT, LIMIT_MAX, SCAN_MAX, Page, floor_of, page_of, rfc3339
from bridge.adapters.ledger.rows import Row, dumps
from bridge.adapters.ledger.schema import alerts, events, incidents
from bridge.domain.alert import SEVERITY_WHEN_ABSENT, Severity
from bridge.domain.decision import Outcome

TEXT_SCAN_MAX = 20_000  # events whose titles are searched for words
CLOCKS_DIFFER = timedelta(minutes=5)  # between an event's id and its time, at most
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Filters of the list of events; None: not asked for."""

    source: str | None = None
    state: str | None = None
    rule: str | None = None
    outcome: str | None = None
    q: str | None = None
    since: datetime | None = None
    limit: int = LIMIT_DEFAULT
    before: str | None = None
    until: datetime | None = None
    account: str | None = None  # of the incident an alert concerns
    label: str | None = None  # name=value

    within: int | None = None  # events to look through for what has no index; None: as many as a page can afford

    @property
    def asks_alerts(self) -> bool:
        """Whether an event's alerts decide."""
        return any((self.rule, self.outcome, self.account, self.label))


EVERYTHING = EventQuery()
Payloads = Callable[[str, Mapping[str, str], bytes], Sequence[Any]]  # source, headers, body -> payload per alert


def list_events(transaction: Transaction, query: EventQuery) -> Page:
    """Events, newest first. `q` is an id, a fingerprint or a key (exact), or words of a title.

    What has no index is looked for in a number of the newest events; `next` goes on behind them, and a note says so.
    """
    connection = transaction.connection
    conditions: list[ColumnElement[bool]] = []
    scans = False
    most = query.within or (TEXT_SCAN_MAX if query.q else SCAN_MAX)
    if query.source:
        conditions.append(events.c.source == query.source)
    if query.since:
        conditions += (events.c.received_at >= query.since, events.c.id >= _id_at(query.since, -CLOCKS_DIFFER))
    if query.state:
        conditions.append(events.c.state == query.state)
        scans = query.state != "accepted"
    if query.until:
        conditions += (events.c.received_at <= query.until, events.c.id <= _id_at(query.until, CLOCKS_DIFFER))
    if query.asks_alerts:
        conditions.append(exists().where(alerts.c.event_id == events.c.id, *_of_alerts(query)))
        scans = True
    floor = None
    if query.q:
        found = _events_of(connection, query.q)
        if found:
            conditions.append(events.c.id.in_(found))
        else:
            floor = floor_of(connection, events.c.id, (), query.before, most)
            titled = _titled(query.q, floor, query.before)
            if not conditions:  # the newest so many are enough
                titled = titled.order_by(alerts.c.event_id.desc()).limit(min(query.limit, LIMIT_MAX) + 1)
            conditions.append(events.c.id.in_(titled))
    if floor is None and scans:
        own = (events.c.source == query.source,) if query.source else ()
        floor = floor_of(connection, events.c.id, own, query.before, most)
    return page_of(connection, events, conditions, query.limit, query.before, event_item, floor, most)


def _id_at(instant: datetime, later: timedelta) -> str:
    """The first id of a time, as far as there are times; ids begin with 1970."""
    try:
        return earliest_at(max(instant + later, _FIRST))
    except OverflowError:
        return earliest_at(_FIRST if later < timedelta(0) else instant)


def _of_alerts(query: EventQuery) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if query.rule:
        wanted.append(alerts.c.rule == query.rule)
    if query.outcome:
        wanted.append(alerts.c.outcome == query.outcome)
    if query.account:
        wanted.append(exists().where(incidents.c.id == alerts.c.incident_id, incidents.c.account == query.account))
    if query.label:
        name, _, value = query.label.partition("=")
        pair = f"{dumps(name.strip())}:{dumps(value.strip())}" if value.strip() else f"{dumps(name.strip())}:"
        inside = f'%"labels":{{%{_escaped(pair)}%}},"links":%'  # not what follows the labels: status, severity, title
        wanted.append(alerts.c.document.like(inside, escape="\\"))
    return wanted


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _events_of(connection: Connection, q: str) -> list[str]:
    """The newest events with exactly this id, fingerprint, or key of an incident; by index, each."""
    of_key = select(incidents.c.id).where(incidents.c.key == q)
    newest = (
        select(events.c.id).where(events.c.id == q),
        select(alerts.c.event_id).where(alerts.c.fingerprint == q).order_by(alerts.c.event_id.desc()).limit(LIMIT_MAX),
        select(alerts.c.event_id).where(alerts.c.incident_id.in_(of_key)).limit(LIMIT_MAX),
    )
    return sorted({event for one in newest for event in connection.execute(one).scalars()})


def _titled(q: str, floor: str | None, before: str | None) -> Select[Any]:
    """Ids of events with these words in the title of an alert."""
    conditions = [_has_words(q)]
    if floor is not None:
        conditions.append(alerts.c.event_id >= floor)
    if before is not None:
        conditions.append(alerts.c.event_id < before)
    return select(alerts.c.event_id).distinct().where(*conditions)


def _has_words(q: str) -> ColumnElement[bool]:
    return func.lower(alerts.c.title).like(f"%{_escaped(q.lower())}%", escape="\\")


def event_item(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "source": row["source"],
        "received_at": rfc3339(row["received_at"]),
        "state": row["state"],
        "reason": row["reason"],
        "alerts": row["alerts"],
    }


def event_alerts(
    transaction: Transaction, ids: Sequence[str], most: int | None = None, query: EventQuery = EVERYTHING
) -> dict[str, list[dict[str, Any]]]:
    """A short line per alert of these events: title, status, outcome, rule, incident and what has become of it.

    Of each event `most` lines, the most telling first: what a query asks for, then what is no repetition, then what is
    severe. A list of batches would be megabytes long otherwise.
    """
    keys = ("title", "status", "severity", "outcome", "rule", "fingerprint", "incident_id", "event_id", "position")
    wanted = select(*(alerts.c[key] for key in keys)).where(alerts.c.event_id.in_(ids))
    if most is not None:
        number = func.row_number().over(partition_by=alerts.c.event_id, order_by=_telling_first(query)).label("number")
        numbered = wanted.add_columns(number).subquery()
        shown = select(numbered, _state_of(numbered.c.incident_id)).where(numbered.c.number <= most)
        wanted = shown.order_by(numbered.c.event_id, numbered.c.number)
    else:
        wanted = wanted.add_columns(_state_of(alerts.c.incident_id)).order_by(alerts.c.event_id, alerts.c.position)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in transaction.connection.execute(wanted).mappings():
        line = {key: row[key] for key in keys[:6]}
        about = {"incident": row["incident_id"], "incident_state": row["incident_state"]}
        found.setdefault(row["event_id"], []).append({**line, **about})
    return found


def _state_of(incident_id: ColumnElement[Any]) -> ColumnElement[Any]:
    return select(incidents.c.state).where(incidents.c.id == incident_id).scalar_subquery().label("incident_state")


def _telling_first(query: EventQuery) -> list[ColumnElement[Any]]:
    asked = _of_alerts(query)
    if query.q:
        asked.append(or_(alerts.c.fingerprint == query.q, _has_words(query.q)))
    rank = {one.value: one.rank for one in Severity}
    return [
        case((and_(*asked), 0), else_=1) if asked else literal(0),
        case((alerts.c.outcome == Outcome.DUPLICATE.value, 1), else_=0),
        case(rank, value=alerts.c.severity, else_=SEVERITY_WHEN_ABSENT.rank),
        alerts.c.position,
    ]


def one_event(transaction: Transaction, event_id: str, payloads: Payloads) -> dict[str, Any] | None:
    """One event whole: its alerts with decisions and trace, and the body while it is kept.

    `payloads` reads the alerts' payloads out of a body again.
    """
    connection = transaction.connection
    row = connection.execute(select(events).where(events.c.id == event_id)).mappings().one_or_none()
    if row is None:
        return None
    found = connection.execute(select(alerts).where(alerts.c.event_id == event_id).order_by(alerts.c.position))
    headers = json.loads(row["headers"])
    body = None if row["body"] is None else zlib.decompress(row["body"])
    again = () if body is None else payloads(row["source"], headers, body)
    items = [_alert_item(one) for one in found.mappings()]
    _say_folded(connection, items)
    for number, item in enumerate(items):
        item["payload"] = again[number] if number < len(again) else None
    return {
        **event_item(row),
        "alerts": items,
        "book": row["book"],
        "headers": headers,
        "body": None if body is None else body.decode("utf-8", "replace"),
        "body_bytes": row["body_bytes"],
    }


def _say_folded(connection: Connection, items: Sequence[dict[str, Any]]) -> None:
    """What opened an incident that another one carries meanwhile, was folded: decisions are kept as they were made."""
    opened = [one for item in items for one in item["decisions"] if one["outcome"] == Outcome.OPENED.value]
    ids = sorted({one["incident"] for one in opened if one["incident"] is not None})
    carriers: dict[str, str] = {}
    for start in range(0, len(ids), LIMIT_MAX):
        wanted = incidents.c.id.in_(ids[start : start + LIMIT_MAX])
        asked = select(incidents.c.id, incidents.c.carrier).where(wanted, incidents.c.carrier.is_not(None))
        carriers |= {row[0]: row[1] for row in connection.execute(asked)}
    for one in opened:
        if one["incident"] in carriers:
            one["outcome"] = Outcome.FOLDED.value
            one["reason"] = f"folded into incident {carriers[one['incident']]}"


def _alert_item(row: Row) -> dict[str, Any]:
    document = json.loads(row["document"])
    return {
        **document["alert"],
        "decisions": json.loads(row["decisions"]),
        "rule": row["rule"],
        "outcome": row["outcome"],
        "incident": row["incident_id"],
        "trace": document["tried"],
    }
