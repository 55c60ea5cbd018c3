"""Numbers counted once: what came in, what became of it, what was tried and how it ended, per hour and for ever.

Nobody counts while a webhook is settled or an attempt recorded. Upkeep goes through the rows behind a mark, a piece at
a time, and adds what it finds; a reader adds what lies beyond the mark. So the numbers are the same whichever process
is asked, survive every restart and every pruning, and cost a webhook nothing. Rows younger than SETTLES may still be
missing, for an id is made before its transaction commits: the mark stays behind them. Where the clock is set back, so
is the mark: what it had passed is taken out of the numbers, and counted when its time comes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Select,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from bridge.adapters.ids import ULID_CHARS, earliest_at, made_at
from bridge.adapters.ledger.compiled import InsertStatement
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.schema import Instant, alerts, attempts, deliveries, events, from_us, marks, tallies, to_us
from bridge.domain.delivery import Reason

SETTLES = timedelta(seconds=30)  # between the making of an id and the commit of its row, at most
PIECE_ROWS = 5_000
TAIL_ROWS = 20_000  # a reader counts no more beyond the mark; upkeep catches up
TAIL_TIME = timedelta(days=1)  # nor further beyond now: of a clock that was ahead, and is set back by less
EVER = datetime(1970, 1, 1, tzinfo=UTC)
SPAN_CHARS = 7  # of an id: 33 s
HOURS_KEPT = timedelta(days=32)
HOUR = timedelta(hours=1)
_HOUR_US = 3_600_000_000
WAITS_S = (1, 5, 15, 60, 300, 1800)  # upper bounds of the histogram of waits; the last is without one

RECEIVED = "received"  # source, state -> events
BODIES = "bodies"  # source -> bytes of packed bodies that are kept; not per hour
OUTCOMES = "outcomes"  # source, outcome -> alerts
HITS = "hits"  # rule -> alerts it decided
ATTEMPTS = "attempts"  # account, action, reason (ok when it worked) -> calls
FINISHED = "finished"  # account, action, state -> deliveries
FOLDED = "folded"  # account -> creates that another incident carries
WAITED = "waited"  # account, bound in seconds (inf) -> creates by their wait for the first attempt
WAITED_US = "waited_us"  # account -> microseconds they waited, all together
REFUSED = "refused"  # source, why -> requests refused and not stored; added by the web processes
UNAUTHORIZED = "unauthorized"  # a reason of these
KINDS = (RECEIVED, BODIES, OUTCOMES, HITS, ATTEMPTS, FINISHED, FOLDED, WAITED, WAITED_US, REFUSED)

Labels = tuple[str, ...]
Counts = dict[tuple[str, datetime, Labels], int]  # what, hour, labels


@dataclass(frozen=True, slots=True)
class Hours:
    """Numbers per hour: what -> labels -> beginning of the hour -> number."""

    numbers: Mapping[str, Mapping[Labels, Mapping[datetime, int]]]
    is_whole: bool  # False: upkeep has more to count than a reader adds


@dataclass(frozen=True, slots=True)
class Sum:
    """What the hours of one row of labels come to."""

    number: int
    lately: int
    last: datetime  # beginning of the newest hour with a number


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A piece of a table between two instants; `begin` included, `end` not."""

    begin: datetime
    end: datetime


def _hour(instant_us: int) -> datetime:
    return from_us(instant_us // _HOUR_US * _HOUR_US)


def _of_events(transaction: Transaction, stretch: _Stretch) -> Counts:
    """Events have their hour from their id, which sorts by time: its first seven letters are spans of 33 s."""
    counts: Counts = {}
    rows = transaction.connection.execute(
        select(
            events.c.source,
            events.c.state,
            func.substr(events.c.id, 1, SPAN_CHARS).label("span"),
            func.count(),
        )
        .where(*_ids(events.c.id, stretch))
        .group_by(events.c.source, events.c.state, "span")
    )
    for source, state, span, number in rows:
        _add(counts, RECEIVED, _hour_of(span), (source, state), number)
    return counts


def _bodies(transaction: Transaction, stretch: _Stretch) -> Counts:
    counts: Counts = {}
    size = func.sum(func.length(events.c.body))
    kept = (*_ids(events.c.id, stretch), events.c.body.is_not(None))
    for source, number in transaction.connection.execute(
        select(events.c.source, size).where(*kept).group_by(events.c.source)
    ):
        _add(counts, BODIES, None, (source,), int(number))
    return counts


def _of_alerts(transaction: Transaction, stretch: _Stretch) -> Counts:
    counts: Counts = {}
    rows = transaction.connection.execute(
        select(
            alerts.c.source,
            alerts.c.outcome,
            alerts.c.rule,
            func.substr(alerts.c.event_id, 1, SPAN_CHARS).label("span"),
            func.count(),
        )
        .where(*_ids(alerts.c.event_id, stretch))
        .group_by(alerts.c.source, alerts.c.outcome, alerts.c.rule, "span")
    )
    for source, outcome, rule, span, number in rows:
        _add(counts, OUTCOMES, _hour_of(span), (source, outcome), number)
        if rule is not None:
            _add(counts, HITS, _hour_of(span), (rule,), number)
    return counts


def _of_attempts(transaction: Transaction, stretch: _Stretch) -> Counts:
    counts: Counts = {}
    hour = _whole_hours(attempts.c.at)
    rows = transaction.connection.execute(
        select(deliveries.c.account, deliveries.c.action, attempts.c.reason, hour, func.count())
        .join_from(attempts, deliveries, deliveries.c.id == attempts.c.delivery_id)
        .where(attempts.c.at >= stretch.begin, attempts.c.at < stretch.end)
        .group_by(deliveries.c.account, deliveries.c.action, attempts.c.reason, "hours")
    )
    for account, action, reason, hours, number in rows:
        _add(counts, ATTEMPTS, from_us(int(hours) * _HOUR_US), (account, action, reason or "ok"), number)
    return counts


def _of_deliveries(transaction: Transaction, stretch: _Stretch) -> Counts:
    counts: Counts = {}
    hour = _whole_hours(deliveries.c.done_at)
    waited_us = type_coerce(deliveries.c.first_attempt_at, BigInteger) - type_coerce(
        deliveries.c.created_at, BigInteger
    )
    wait = case(
        (deliveries.c.action != "create", literal("")),
        (deliveries.c.first_attempt_at.is_(None), literal("")),
        *((waited_us <= bound * 1_000_000, literal(str(bound))) for bound in WAITS_S),
        else_=literal("inf"),
    ).label("wait")
    rows = transaction.connection.execute(
        select(
            *(deliveries.c.account, deliveries.c.action, deliveries.c.state, hour, wait, func.count()),
            func.coalesce(func.sum(waited_us), 0),
            func.sum(case((deliveries.c.reason == Reason.FOLDED.value, 1), else_=0)),
        )
        .where(deliveries.c.done_at >= stretch.begin, deliveries.c.done_at < stretch.end)
        .group_by(deliveries.c.account, deliveries.c.action, deliveries.c.state, "hours", "wait")
    )
    for account, action, state, hours, bound, number, waited, folded in rows:
        hour_at = from_us(int(hours) * _HOUR_US)
        _add(counts, FINISHED, hour_at, (account, action, state), number)
        if folded:
            _add(counts, FOLDED, hour_at, (account,), folded)
        if bound:
            _add(counts, WAITED, None, (account, bound), number)
            _add(counts, WAITED_US, None, (account,), max(0, int(waited)))
    return counts


_IS_MARK = "mark"
_COUNTED = {  # by the mark's name: how a stretch is counted, and the column that has its order
    "events": (_of_events, events.c.id),
    "alerts": (_of_alerts, alerts.c.event_id),
    "attempts": (_of_attempts, attempts.c.at),
    "deliveries": (_of_deliveries, deliveries.c.done_at),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """What one look found behind a mark, to be added if the mark still stands there.

    Of a mark that is set back, `end` is before `begin`, and what lies between goes out of the numbers.
    """

    what: str
    stretch: _Stretch
    counts: Counts
    is_last: bool


def next_piece(transaction: Transaction, what: str) -> Piece | None:
    """Count the next rows of a table; None when nothing that is settled lies behind the mark. Reads only."""
    begin = _mark(transaction, what)
    settled = transaction.now - SETTLES
    if begin > transaction.now:
        back = _Stretch(begin, settled)
        return Piece(what, back, _less(_COUNTED[what][0](transaction, _passed(back))), is_last=False)
    end = _end_of_piece(transaction, what, begin, settled, PIECE_ROWS)
    if end <= begin:
        return None
    stretch = _Stretch(begin, end)
    return Piece(what, stretch, _COUNTED[what][0](transaction, stretch), is_last=end == settled)


def tables() -> tuple[str, ...]:
    """What is counted, each with its own mark."""
    return tuple(_COUNTED)


def add_piece(transaction: Transaction, piece: Piece) -> bool:
    """The mark moves on and the numbers grow, together; False when another process was quicker."""
    connection = transaction.connection
    old, new = str(to_us(piece.stretch.begin)), str(to_us(piece.stretch.end))
    moved = update(marks).where(marks.c.what == piece.what, marks.c.reached == old).values(reached=new)
    if connection.execute(moved).rowcount == 0:
        known = connection.execute(select(marks.c.what).where(marks.c.what == piece.what)).first()
        if known is not None or piece.stretch.begin != EVER:
            return False
        connection.execute(insert(marks).values(what=piece.what, reached=new))
    counts = piece.counts
    if piece.what == "events":  # here, behind the mark's lock: pruning takes it, too, and lets go of bodies
        is_back = piece.stretch.end < piece.stretch.begin
        bodies = _bodies(transaction, _passed(piece.stretch) if is_back else piece.stretch)
        counts = counts | (_less(bodies) if is_back else bodies)
    add(transaction, counts)
    return True


def _passed(back: _Stretch) -> _Stretch:
    """What a mark had passed that is set back, as far as readers count it from now on. Beyond that it stays counted."""
    return _Stretch(back.end, min(back.begin, back.end + SETTLES + TAIL_TIME))


def _less(counts: Counts) -> Counts:
    return {key: -number for key, number in counts.items()}


def add(transaction: Transaction, counts: Mapping[tuple[str, datetime, tuple[str, ...]], int]) -> None:
    """Numbers grow by these; every one of them for its hour and for ever."""
    connection = transaction.connection
    grown: dict[tuple[str, datetime, str], int] = {}
    for (what, hour, labels), number in counts.items():
        for at in {hour, EVER}:
            key = (what, at, json.dumps(labels, ensure_ascii=False))
            grown[key] = grown.get(key, 0) + number
    rows = [
        {"what": what, "hour": hour, "labels": labels_json, "number": number}
        for (what, hour, labels_json), number in sorted(grown.items())
    ]
    _GROW[connection.dialect.name].run(connection, rows)


def _grow(dialect: Any) -> Any:
    statement = dialect.insert(tallies)
    grown = {"number": tallies.c.number + statement.excluded.number}
    return statement.on_conflict_do_update(index_elements=["what", "hour", "labels"], set_=grown)


_GROW = {
    "sqlite": InsertStatement(tallies, lambda _table: _grow(sqlite)),
    "postgresql": InsertStatement(tallies, lambda _table: _grow(postgresql)),
}


def add_now(transaction: Transaction, what: str, numbers: Mapping[tuple[str, ...], int]) -> None:
    """Numbers that no row tells of grow by these, in this hour."""
    hour = _hour(to_us(transaction.now))
    add(transaction, {(what, hour, labels): number for labels, number in numbers.items()})


def totals(transaction: Transaction) -> dict[str, dict[Labels, int]]:
    """Every number for ever, up to now: what -> labels -> number."""
    kept = select(tallies.c.what, tallies.c.labels, tallies.c.hour, tallies.c.number, literal(0))
    # each kind is named, for the key begins with it: else every scrape goes through all the hours of a month
    rows, reached = _as_of_one_instant(transaction, kept.where(tallies.c.what.in_(KINDS), tallies.c.hour == EVER))
    found: dict[str, dict[Labels, int]] = {}
    _gather(found, ((what, tuple(json.loads(labels)), number) for what, labels, _, number, _ in rows))
    for what in _COUNTED:
        beyond, _ = _tail(transaction, what, reached.get(what, EVER))
        _gather(found, ((name, labels, n) for (name, _, labels), n in beyond.items()))
    return found


def by_hour(transaction: Transaction, whats: Sequence[str], within: timedelta) -> Hours:
    """Numbers per hour, for the hours of `within` up to now."""
    since = _hour(to_us(transaction.now - within))
    kept = select(tallies.c.what, tallies.c.labels, tallies.c.hour, tallies.c.number, literal(0))
    found: dict[str, dict[Labels, dict[datetime, int]]] = {what: {} for what in whats}
    rows, reached = _as_of_one_instant(transaction, kept.where(*_hours(whats, since)))
    for what, labels, hour, number, _ in rows:
        found[what].setdefault(tuple(json.loads(labels)), {})[hour] = number
    tails, is_whole = _tails(transaction, whats, since, reached)
    for (what, hour, labels), number in tails.items():
        hours = found[what].setdefault(labels, {})
        hours[hour] = hours.get(hour, 0) + number
    return Hours(found, is_whole)


def summed(transaction: Transaction, what: str, within: timedelta, lately: timedelta) -> dict[Labels, Sum]:
    """One kind of number by its labels, over the hours of `within` and of `lately` up to now."""
    since, of_late = (_hour(to_us(transaction.now - span)) for span in (within, lately))
    kept = select(
        tallies.c.what,
        tallies.c.labels,
        func.max(tallies.c.hour),
        func.sum(tallies.c.number),
        func.sum(case((tallies.c.hour > of_late, tallies.c.number), else_=0)),
    ).group_by(tallies.c.what, tallies.c.labels)
    rows, reached = _as_of_one_instant(transaction, kept.where(*_hours([what], since)))
    found = {tuple(json.loads(row[1])): Sum(int(row[3]), int(row[4]), row[2]) for row in rows}
    for (_, hour, labels), number in _tails(transaction, [what], since, reached)[0].items():
        old = found.get(labels, Sum(0, 0, hour))
        new = number if hour > of_late else 0
        found[labels] = Sum(old.number + number, old.lately + new, max(old.last, hour))
    return found


def _hours(whats: Sequence[str], since: datetime) -> tuple[Any, ...]:
    return tallies.c.what.in_(whats), tallies.c.hour >= since, tallies.c.hour > EVER


def _as_of_one_instant(transaction: Transaction, kept: Select[Any]) -> tuple[list[Any], dict[str, datetime]]:
    """Rows of numbers (what, labels, an hour, two numbers), and where the marks stood: upkeep may go on meanwhile."""
    standing = select(
        marks.c.what, literal(_IS_MARK), literal(EVER, Instant), cast(marks.c.reached, BigInteger), literal(0)
    ).where(marks.c.what.in_(_COUNTED))
    rows, reached = [], {}
    for row in transaction.connection.execute(union_all(kept, standing)):
        if row[1] == _IS_MARK:
            reached[row[0]] = from_us(int(row[3]))
        else:
            rows.append(row)
    return rows, reached


def _tails(
    transaction: Transaction, whats: Sequence[str], since: datetime, reached: Mapping[str, datetime]
) -> tuple[Counts, bool]:
    """What lies beyond the marks of these kinds of numbers since then, and whether that is all there is."""
    found: Counts = {}
    is_whole = True
    for table in [table for table, made in _MADE_OF.items() if set(made) & set(whats)]:
        counts, is_all = _tail(transaction, table, reached.get(table, EVER))
        is_whole = is_whole and is_all
        found |= {key: number for key, number in counts.items() if key[0] in whats and key[1] >= since}
    return found, is_whole


_MADE_OF = {
    "events": (RECEIVED, BODIES),
    "alerts": (OUTCOMES, HITS),
    "attempts": (ATTEMPTS,),
    "deliveries": (FINISHED, FOLDED, WAITED, WAITED_US),
}


def all_marks(transaction: Transaction) -> dict[str, str]:
    """Every mark as it stands."""
    return {row.what: row.reached for row in transaction.connection.execute(select(marks))}


def body_bytes(transaction: Transaction) -> dict[str, int]:
    """The packed bodies that are kept, in bytes per source, as far as they are counted."""
    kept = select(tallies.c.labels, tallies.c.number).where(tallies.c.what == BODIES, tallies.c.hour == EVER)
    return {json.loads(labels)[0]: number for labels, number in transaction.connection.execute(kept)}


def counted_before(transaction: Transaction) -> str:
    """Every event with a lesser id is in the numbers. Holds the mark until the transaction ends."""
    found = select(marks.c.reached).where(marks.c.what == "events").with_for_update()
    reached = transaction.connection.execute(found).scalar()
    return earliest_at(EVER if reached is None else from_us(int(reached)))


def forget(transaction: Transaction) -> None:
    """Hours that nobody looks at any more are gone; the numbers for ever stay."""
    old = transaction.now - HOURS_KEPT
    transaction.connection.execute(delete(tallies).where(tallies.c.hour > EVER, tallies.c.hour < old))


def _tail(transaction: Transaction, what: str, begin: datetime) -> tuple[Counts, bool]:
    """The counts beyond a mark, of a bounded number of rows, and whether that is all of them."""
    latest = transaction.now + TAIL_TIME
    end = _end_of_piece(transaction, what, begin, latest, TAIL_ROWS)
    if end <= begin:
        return {}, True
    stretch = _Stretch(begin, end)
    counts = _COUNTED[what][0](transaction, stretch)
    return (counts | _bodies(transaction, stretch) if what == "events" else counts), end == latest


def _mark(transaction: Transaction, what: str) -> datetime:
    found = transaction.connection.execute(select(marks.c.reached).where(marks.c.what == what)).scalar()
    return EVER if found is None else from_us(int(found))


def _end_of_piece(transaction: Transaction, what: str, begin: datetime, latest: datetime, rows: int) -> datetime:
    """Where a piece of so many rows ends: at `latest`, or at the row that is one too many."""
    column = _COUNTED[what][1]
    is_id = column.name in ("id", "event_id")
    first: Any = earliest_at(begin) if is_id else begin
    after = select(column).where(column >= first).order_by(column).offset(rows).limit(1)
    beyond = transaction.connection.execute(after).scalar()
    if beyond is None:
        return latest
    instant = made_at(beyond) if is_id else beyond
    if instant is None:
        return latest
    if instant <= begin:  # more rows of one millisecond than a piece holds
        instant = begin + timedelta(milliseconds=1)
    return min(latest, instant)


def _ids(column: Any, stretch: _Stretch) -> tuple[Any, Any]:
    return column >= earliest_at(stretch.begin), column < earliest_at(stretch.end)


def _hour_of(span: str) -> datetime:
    """The hour of an id by its first letters."""
    made = made_at(span + "0" * (ULID_CHARS - SPAN_CHARS))
    return EVER if made is None else _hour(to_us(made))


def _whole_hours(column: Any) -> Any:
    return (type_coerce(column, BigInteger) // _HOUR_US).label("hours")


def _add(counts: Counts, what: str, hour: datetime | None, labels: Sequence[str], number: int) -> None:
    key = (what, EVER if hour is None else hour, tuple(labels))
    counts[key] = counts.get(key, 0) + int(number)


def _gather(found: dict[str, dict[Labels, int]], numbers: Iterable[tuple[str, tuple[str, ...], int]]) -> None:
    for what, labels, number in numbers:
        of = found.setdefault(what, {})
        of[labels] = of.get(labels, 0) + number
