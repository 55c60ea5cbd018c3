"""What people ask the ledger: the lists and records behind the API, the command line and the pages.

Answers are plain JSON-ready mappings with the keys of DESIGN section 8; lists are newest first and paged by id.
"""

import json
import zlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, func, literal, or_, select

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger.changes import UNROUTED, Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.names import lookup_from
from bridge.adapters.ledger.rows import Row, dumps, lane_from
from bridge.adapters.ledger.schema import (
    UNFINISHED,
    alerts,
    attempts,
    deliveries,
    events,
    heartbeats,
    incidents,
    lanes,
    members,
)
from bridge.domain.alert import SEVERITY_WHEN_ABSENT, Severity
from bridge.domain.decision import Outcome
from bridge.domain.delivery import Action, LaneClass
from bridge.domain.folding import carried, is_still_behind
from bridge.domain.lane import Pace, held_by, is_critical, parked_sentence, sane, starts_at, tokens

LIMIT_MAX = 500
LIMIT_DEFAULT = 50
TEXT_SCAN_MAX = 20_000  # events whose titles are searched for words
SCAN_MAX = 5_000  # rows that a list looks through for whatever else has no index
CLOCKS_DIFFER = timedelta(minutes=5)  # between an event's id and its time, at most
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a list: its items, and the `before` that asks for the following part (None at the end)."""

    items: tuple[Mapping[str, Any], ...]
    next: str | None
    note: str | None = None  # a sentence when the list does not cover everything asked for


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


def rfc3339(instant: datetime | None) -> str | None:
    """An instant as the API writes it."""
    return None if instant is None else instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- events


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
            floor = _floor(connection, events.c.id, (), query.before, most)
            titled = _titled(query.q, floor, query.before)
            if not conditions:  # the newest so many are enough
                titled = titled.order_by(alerts.c.event_id.desc()).limit(min(query.limit, LIMIT_MAX) + 1)
            conditions.append(events.c.id.in_(titled))
    if floor is None and scans:
        own = (events.c.source == query.source,) if query.source else ()
        floor = _floor(connection, events.c.id, own, query.before, most)
    return _page(connection, events, conditions, query.limit, query.before, event_item, floor, most)


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
    """A short line per alert of these events: title, status, outcome, rule, incident.

    Of each event `most` lines, the most telling first: what a query asks for, then what is no repetition, then what is
    severe. A list of batches would be megabytes long otherwise.
    """
    keys = ("title", "status", "severity", "outcome", "rule", "fingerprint", "incident_id", "event_id", "position")
    wanted = select(*(alerts.c[key] for key in keys)).where(alerts.c.event_id.in_(ids))
    if most is not None:
        number = func.row_number().over(partition_by=alerts.c.event_id, order_by=_telling_first(query)).label("number")
        numbered = wanted.add_columns(number).subquery()
        wanted = select(numbered).where(numbered.c.number <= most).order_by(numbered.c.event_id, numbered.c.number)
    else:
        wanted = wanted.order_by(alerts.c.event_id, alerts.c.position)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in transaction.connection.execute(wanted).mappings():
        line = {key: row[key] for key in keys[:6]}
        found.setdefault(row["event_id"], []).append({**line, "incident": row["incident_id"]})
    return found


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


Payloads = Callable[[str, Mapping[str, str], bytes], Sequence[Any]]  # source, headers, body -> payload per alert


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


# -- incidents


def list_incidents(
    transaction: Transaction,
    *,
    state: str | None = None,
    account: str | None = None,
    live: bool | None = None,
    limit: int,
    before: str | None,
) -> Page:
    """Incidents, newest first; `live`: only those that are not over yet, or only those that are."""
    conditions: list[ColumnElement[bool]] = []
    if live is not None:
        conditions.append(incidents.c.live if live else ~incidents.c.live)
    if state:
        conditions.append(incidents.c.state == state)
    if account:
        conditions.append(incidents.c.account == account)
    connection = transaction.connection
    floor = None if not account or state else _floor(connection, incidents.c.id, (), before)
    page = _page(connection, incidents, conditions, limit, before, incident_item, floor)
    inside = _members_of(transaction.connection, [item["id"] for item in page.items])
    others = _stand_ins(transaction.connection, [item["id"] for item in page.items])
    items = tuple(
        {**item, "members": inside.get(item["id"], []), "plan_b": others.get(item["id"])} for item in page.items
    )
    return replace(page, items=items)


def one_incident(transaction: Transaction, incident_id: str) -> dict[str, Any] | None:
    """One incident with its members and its deliveries."""
    connection = transaction.connection
    row = connection.execute(select(incidents).where(incidents.c.id == incident_id)).mappings().one_or_none()
    if row is None:
        return None
    found = select(deliveries).where(deliveries.c.incident_id == incident_id).order_by(deliveries.c.no)
    told = connection.execute(found).mappings()
    return {
        **incident_item(row),
        "members": _members_of(connection, [incident_id]).get(incident_id, []),
        "folded_incidents": _folded_into(connection, incident_id),
        **_beside(connection, row),
        "plan_b": _stand_ins(connection, [incident_id]).get(incident_id),
        "deliveries": [{**delivery_item(one), "notes": _notes(one)} for one in told],
    }


def _beside(connection: Connection, row: Row) -> dict[str, str | None]:
    """The incidents of the same problem before this one and after it: `previous` and `next`."""
    alike = incidents.c.series == row["series"]
    before = select(func.max(incidents.c.id)).where(alike, incidents.c.id < row["id"])
    after = select(func.min(incidents.c.id)).where(alike, incidents.c.id > row["id"])
    return {"previous": connection.execute(before).scalar(), "next": connection.execute(after).scalar()}


def _folded_into(connection: Connection, carrier: str) -> list[dict[str, Any]]:
    """The incidents that one carries, the first LIMIT_MAX of them: the most severe first, and of these the oldest."""
    inside = select(incidents).where(incidents.c.carrier == carrier, incidents.c.carrier.is_not(None))
    rank = case({one.value: one.rank for one in Severity}, value=incidents.c.severity)
    rows = connection.execute(inside.order_by(rank, incidents.c.id).limit(LIMIT_MAX)).mappings()
    return [{key: row[key] for key in ("id", "title", "severity", "state", "rule", "firing")} for row in rows]


def incident_item(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "account": row["account"],
        "series": row["series"],
        "key": row["key"],
        "state": row["state"],
        "severity": row["severity"],
        "title": row["title"],
        "rule": row["rule"],
        "reason": row["reason"],
        "carrier": row["carrier"],
        "folded": row["folded"],
        "upstream": {"id": row["upstream_id"], "url": row["upstream_url"]},
        "opened_at": rfc3339(row["opened_at"]),
        "resolved_at": rfc3339(row["resolved_at"]),
        "quiet_until": rfc3339(row["renews_at"]),  # closed upstream while it fires
        "stands_for": row["stands_for"],  # of plan B: the incident that its own account could not take
    }


def _stand_ins(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Which incident of plan B stands for each of these."""
    found = select(incidents.c.id, incidents.c.account, incidents.c.stands_for).where(incidents.c.stands_for.in_(ids))
    return {row.stands_for: {"incident": row.id, "account": row.account} for row in connection.execute(found)}


def _members_of(connection: Connection, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    rows = connection.execute(select(members).where(members.c.incident_id.in_(ids)).order_by(members.c.joined_at))
    for row in rows.mappings():
        found.setdefault(row["incident_id"], []).append(
            {
                "source": row["source"],
                "fingerprint": row["fingerprint"],
                "status": "firing" if row["firing"] else "resolved",
                "severity": row["severity"],
                "title": row["title"],
                "joined_at": rfc3339(row["joined_at"]),
                "left_at": rfc3339(row["left_at"]),
            }
        )
    return found


# -- deliveries


def list_deliveries(
    transaction: Transaction,
    routes: Mapping[str, Route],
    paces: Mapping[str, Pace],
    *,
    state: str | None = None,
    account: str | None = None,
    incident: str | None = None,
    limit: int,
    before: str | None,
) -> Page:
    """Deliveries, newest first, each waiting one with its expected seconds to go."""
    conditions: list[ColumnElement[bool]] = []
    if state:
        conditions.append(deliveries.c.state == state)
    if state in UNFINISHED:  # found by their own index, however few they are
        same = deliveries.alias("same")
        conditions.append(deliveries.c.id.in_(select(same.c.id).where(same.c.state == state)))
    if account:
        conditions.append(deliveries.c.account == account)
    if incident:
        conditions.append(deliveries.c.incident_id == incident)
    etas = Etas(transaction, routes, paces)
    connection = transaction.connection
    scans = not incident and (state not in (None, "dead", "pending", "sending") or (account and state is None))
    floor = _floor(connection, deliveries.c.id, (), before) if scans else None
    page = _page(connection, deliveries, conditions, limit, before, lambda row: delivery_item(row, etas.of(row)), floor)
    wanted = {item["incident"] for item in page.items}
    titles: dict[str, str] = {
        row[0]: row[1]
        for row in connection.execute(select(incidents.c.id, incidents.c.title).where(incidents.c.id.in_(wanted)))
    }
    return replace(page, items=tuple({**item, "title": titles[item["incident"]]} for item in page.items))


def one_delivery(
    transaction: Transaction, routes: Mapping[str, Route], paces: Mapping[str, Pace], delivery_id: str
) -> dict[str, Any] | None:
    """One delivery with what it sends and every attempt."""
    connection = transaction.connection
    row = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).mappings().one_or_none()
    if row is None:
        return None
    lookup = lookup_from(row["ids"])
    made = connection.execute(
        select(attempts).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.no)
    ).mappings()
    return {
        **delivery_item(row, Etas(transaction, routes, paces).of(row)),
        "request": {
            "key": row["key"],
            "fields": json.loads(row["fields"])["fields"],
            "names": json.loads(row["names"]),
            "ids": dict(lookup.ids),
            "notes": _notes(row),
        },
        "attempts": [
            {
                "at": rfc3339(one["at"]),
                "call": one["call"],
                "status": one["status"],
                "reason": one["reason"],
                "detail": one["detail"],
                "duration_s": one["duration_s"],
                "request_id": one["request_id"],
                "response": one["response"],
            }
            for one in made
        ],
    }


def _notes(row: Row) -> list[str]:
    """What fell back when it was rendered, and when its names were looked up."""
    return [*json.loads(row["notes"]), *lookup_from(row["ids"]).notes]


def delivery_item(row: Row, eta_s: float | None = None) -> dict[str, Any]:
    return {
        "id": row["id"],
        "incident": row["incident_id"],
        "account": row["account"],
        "action": row["action"],
        "state": row["state"],
        "reason": row["reason"],
        "detail": row["detail"],
        "attempts": row["attempts"],
        "created_at": rfc3339(row["created_at"]),
        "next_at": rfc3339(row["next_at"]) if row["state"] == "pending" else None,
        "eta_s": eta_s,
        "done_at": rfc3339(row["done_at"]),
    }


class Etas:
    """When waiting deliveries may start, as far as the rows tell: their place in the lane times its pace."""

    def __init__(self, transaction: Transaction, routes: Mapping[str, Route], paces: Mapping[str, Pace]) -> None:
        self.connection, self.now, self.routes, self.paces = transaction.connection, transaction.now, routes, paces
        self.states = {row["name"]: lane_from(row) for row in self.connection.execute(select(lanes)).mappings()}
        self._lines: dict[tuple[str, LaneClass], _Line] = {}

    def of(self, row: Row) -> float | None:
        """In how many seconds a delivery may start; None: it waits for nothing, or nobody can tell."""
        if row["state"] != "pending" or row["account"] not in self.routes:  # nobody sends it
            return None
        of = LaneClass(row["class"])
        critical = of is LaneClass.CREATE and is_critical(row["order_key"])
        return self._starts_in(row["lane"], of, self.ahead_of(row), critical=critical, not_before=row["next_at"])

    def ahead_of(self, row: Row) -> int:
        """How many deliveries go before a waiting one."""
        return bisect_left(self._line(row["lane"], LaneClass(row["class"])).order_keys, row["order_key"])

    def of_last_create(self, lane: str, more: int) -> float | None:
        """In how many seconds the last create of a lane would start, were so many more put into it now."""
        ahead = max(0, len(self._line(lane, LaneClass.CREATE).order_keys) + more - 1)
        return self._starts_in(lane, LaneClass.CREATE, ahead, critical=False, not_before=self.now)

    def _starts_in(self, lane: str, of: LaneClass, ahead: int, *, critical: bool, not_before: datetime) -> float | None:
        state, pace = self.states.get(lane), self.paces.get(lane)
        if state is None or pace is None or state.paused_at is not None:
            return None
        state = sane(pace, state, self.now)
        number = carried(pace, state, self.now) if of is LaneClass.CREATE else None
        if number is not None and ahead > number:
            ahead = min(ahead, self._line(lane, of).incidents_of(ahead))
        start = max(starts_at(pace, state, of, self.now, critical=critical, ahead=ahead), not_before)
        return float(round(max(0.0, (start - self.now).total_seconds()), 1))

    def _line(self, lane: str, of: LaneClass) -> "_Line":
        """What waits in a lane, in its order; asked for once, however many deliveries of it are shown."""
        if (lane, of) not in self._lines:
            waiting = select(deliveries.c.order_key, deliveries.c.fold_target, deliveries.c.fold_key).where(
                deliveries.c.lane == lane,
                deliveries.c["class"] == of.value,
                deliveries.c.state == "pending",
                deliveries.c.account.in_(sorted(self.routes)),
            )
            rows = self.connection.execute(waiting.order_by(deliveries.c.order_key)).all()
            seen: set[tuple[str | None, str | None]] = set()
            kinds = []
            for _, target, key in rows:
                seen.add((target, key))
                kinds.append(len(seen))
            self._lines[lane, of] = _Line(order_keys=[row[0] for row in rows], kinds=kinds)
        return self._lines[lane, of]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """The order keys of what waits, and how many incidents the first so many come to in a lane that folds."""

    order_keys: Sequence[int]
    kinds: Sequence[int]

    def incidents_of(self, first: int) -> int:
        """How many incidents the first so many come to; what is not in the line yet counts by itself."""
        known = min(first, len(self.kinds))
        return first - known + (self.kinds[known - 1] if known else 0)


# -- lanes


def list_lanes(
    transaction: Transaction, routes: Mapping[str, Route], rates: Mapping[str, tuple[str, str]]
) -> list[dict[str, Any]]:
    """One item per account; `rates` gives each account's type and its rate in the owner's words."""
    connection, now = transaction.connection, transaction.now
    states = {row["name"]: lane_from(row) for row in connection.execute(select(lanes)).mappings()}
    waiting = [row for state in UNFINISHED for row in _waiting(connection, state, now)]
    of_dead = select(deliveries.c.account, func.count()).where(deliveries.c.state == "dead")
    dead: dict[str, int] = {row[0]: row[1] for row in connection.execute(of_dead.group_by(deliveries.c.account))}
    return [
        _lane_item(account, routes, rates[account], states, [r for r in waiting if r[0] == account], dead, now)
        for account in sorted(rates)
    ]


def _waiting(connection: Connection, state: str, now: datetime) -> Sequence[Any]:
    """(account, severity, number, oldest) of the deliveries in one state, each of which has an index of its own.

    A resolve that is held on purpose (hold_resolve) does not wait yet, and nobody waits for a check.
    """
    is_resolve = deliveries.c.action == Action.RESOLVE.value
    is_held = and_(is_resolve, deliveries.c.attempts == 0, deliveries.c.next_at > now)
    since = case((and_(is_resolve, deliveries.c.attempts == 0), deliveries.c.next_at), else_=deliveries.c.created_at)
    return connection.execute(
        select(deliveries.c.account, incidents.c.severity, func.count(), func.min(since))
        .join_from(deliveries, incidents, incidents.c.id == deliveries.c.incident_id)
        .where(deliveries.c.state == state, deliveries.c.action != Action.CHECK.value, ~is_held)
        .group_by(deliveries.c.account, incidents.c.severity)
    ).all()


def _lane_item(
    account: str,
    routes: Mapping[str, Route],
    rate: tuple[str, str],
    states: Mapping[str, Any],
    waiting: Sequence[Any],
    dead: Mapping[str, int],
    now: datetime,
) -> dict[str, Any]:
    route = routes.get(account, Route(lane=account, pace=UNROUTED))
    held = states.get(route.lane)
    state = None if held is None else sane(route.pace, held, now)
    oldest = min((row[3] for row in waiting), default=None)
    paused = None if state is None else max(filter(None, (state.create_parked_until, state.probe_at)), default=None)
    return {
        "account": account,
        "type": rate[0],
        "rate": rate[1],
        "lane": route.lane,
        "tokens": None if state is None else round(tokens(route.pace, state, LaneClass.CREATE, now), 2),
        "burst": route.pace.burst,
        "waiting": sum(row[2] for row in waiting),
        "waiting_by_severity": {s.value: sum(row[2] for row in waiting if row[1] == s) for s in Severity},
        "oldest_wait_s": None if oldest is None else round((now - oldest).total_seconds(), 1),
        "paused_until": rfc3339(paused) if paused is not None and paused > now else None,
        "parked": None if state is None else parked_sentence(state, now),
        "held_by": None if state is None else held_by(state, now),
        "paused": state is not None and state.paused_at is not None,  # by an operator
        "folding": state is not None and is_still_behind(route.pace, state, now),  # creates go out several as one
        "dead": dead.get(account, 0),
    }


# -- processes and counters


def alive(transaction: Transaction, within: timedelta) -> list[dict[str, Any]]:
    """Processes whose heartbeat is younger than `within`; one from far ahead is from before a clock jumped back."""
    young = heartbeats.c.beat_at.between(transaction.now - within, transaction.now + within)
    rows = transaction.connection.execute(select(heartbeats).where(young).order_by(heartbeats.c.process)).mappings()
    return [
        {
            "process": row["process"],
            "kind": row["kind"],
            "host": row["host"],
            "pid": row["pid"],
            "started_at": rfc3339(row["started_at"]),
            "beat_age_s": round((transaction.now - row["beat_at"]).total_seconds(), 1),
        }
        for row in rows
    ]


def _floor(
    connection: Connection,
    column: Any,
    conditions: Sequence[ColumnElement[bool]],
    before: str | None,
    most: int = SCAN_MAX,
) -> str | None:
    """The id at which a look through so many rows ends; None when there are fewer."""
    newest = select(column).where(*conditions).order_by(column.desc()).offset(most - 1).limit(1)
    if before:
        newest = newest.where(column < before)
    found: str | None = connection.execute(newest).scalar()
    return found


def _page(
    connection: Connection,
    table: Any,
    conditions: Sequence[ColumnElement[bool]],
    limit: int,
    before: str | None,
    item: Any,
    floor: str | None = None,
    most: int = SCAN_MAX,
) -> Page:
    """Rows, newest first; with a `floor` none older than that, where the next page begins then."""
    wanted = max(1, min(limit, LIMIT_MAX))
    statement = select(table).where(*conditions).order_by(table.c.id.desc()).limit(wanted + 1)
    if before:
        statement = statement.where(table.c.id < before)
    if floor is not None:
        statement = statement.where(table.c.id >= floor)
    rows = connection.execute(statement).mappings().all()
    items = tuple(item(row) for row in rows[:wanted])
    if len(rows) > wanted:
        return Page(items=items, next=items[-1]["id"])
    if floor is None:
        return Page(items=items, next=None)
    note = f"looked through {most:,} {table.name}; the next page goes on with older ones"
    return Page(items=items, next=floor, note=note)
