"""What a batch of webhooks can touch: locked and read when its transaction begins, kept up to date, and its problems
written at the end.

Problems are locked first, in sorted order, then series, in sorted order; a lane row never is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from bridge.adapters.ledger import sightings
from bridge.adapters.ledger.changes import Changes
from bridge.adapters.ledger.compiled import InsertStatement, SizedStatement, listed, padded
from bridge.adapters.ledger.receipts import Receipt
from bridge.adapters.ledger.rows import incident_from, member_from
from bridge.adapters.ledger.schema import incidents, members, problems, series, silences
from bridge.domain.alert import Alert, Notice, Sighted, Status
from bridge.domain.decision import Decision, Mode
from bridge.domain.delivery import Reason
from bridge.domain.folding import carries_on
from bridge.domain.incident import Incident, IncidentState, Member
from bridge.domain.plan_b import PlanB
from bridge.domain.reports import LastReport, last_report
from bridge.domain.silences import Silence, hiding
from bridge.domain.text import storable
from bridge.domain.transitions import is_recent

_carriers = incidents.alias("carriers")
_FIRING_MEMBERS = SizedStatement(
    lambda ids: (
        select(members.c.problem_id, incidents.c.series, _carriers.c.series.label("carrier_series"))
        .join_from(members, incidents, incidents.c.id == members.c.incident_id)
        .outerjoin(_carriers, _carriers.c.id == incidents.c.carrier)
        .where(members.c.problem_id.in_(listed("ids", ids)), members.c.firing, incidents.c.live)
    )
)
_LAST_REPORTS = SizedStatement(
    lambda ids: (
        select(problems.c.id, problems.c.status, problems.c.episode, problems.c.reported_at)
        .where(problems.c.id.in_(listed("ids", ids)))
        .order_by(problems.c.id)
        .with_for_update()
    )
)
_LOCK_SERIES = SizedStatement(
    lambda ids: (
        select(series.c.id, series.c.next_no)
        .where(series.c.id.in_(listed("ids", ids)))
        .order_by(series.c.id)
        .with_for_update()
    )
)
_LAST_INCIDENTS = SizedStatement(
    lambda ids: (
        select(incidents)
        .join_from(series, incidents, incidents.c.id == series.c.last_incident)
        .where(series.c.id.in_(listed("ids", ids)))
    )
)
_SERIES_OF = SizedStatement(
    lambda ids: select(incidents.c.id, incidents.c.series).where(incidents.c.id.in_(listed("ids", ids)))
)
_MEMBERS_OF = SizedStatement(
    lambda of, ids: select(members).where(
        members.c.incident_id.in_(listed("of", of)), members.c.problem_id.in_(listed("ids", ids))
    )
)
_FIRING_IN = SizedStatement(
    lambda ids: select(members).where(members.c.incident_id.in_(listed("ids", ids)), members.c.firing)
)
_LAST_N = SizedStatement(
    lambda ids, episodes: (
        select(incidents.c.series, incidents.c.episode_id, func.max(incidents.c.episode_n).label("n"))
        .where(
            incidents.c.series.in_(listed("ids", ids)),
            incidents.c.episode_id.in_(listed("episodes", episodes)),
            incidents.c.claimed,
        )
        .group_by(incidents.c.series, incidents.c.episode_id)
    )
)
_ENDED_BY_HAND = SizedStatement(
    lambda ids: select(silences.c.id).where(silences.c.id.in_(listed("ids", ids)), silences.c.ended_at.is_not(None))
)


@dataclass(slots=True)
class World:
    """What the transaction knows of the batch's problems and series; kept up to date as reports are applied."""

    changes: Changes
    connection: Connection
    last: dict[str, LastReport] = field(default_factory=dict)  # problem -> its last applied report
    applied: dict[str, Alert] = field(default_factory=dict)  # problem -> what was applied now
    live: dict[str, Incident] = field(default_factory=dict)  # series -> its live incident
    ended: dict[str, Incident] = field(default_factory=dict)  # series without one -> its last incident
    series_of: dict[str, str] = field(default_factory=dict)  # carrier -> its series
    members: dict[tuple[str, str], Member] = field(default_factory=dict)  # (incident, problem)
    of_problem: dict[str, list[str]] = field(default_factory=dict)  # problem -> series it fires in
    sighted: sightings.Known = field(default_factory=dict)  # what events of upstreams are about
    next_n: dict[tuple[str, str], int] = field(default_factory=dict)  # (series, episode) -> n of its next incident
    unsilenced: frozenset[str] = frozenset()  # silences that a person ended, which a process may not know yet

    def hiding(self, decision: Decision) -> Silence | None:
        """The silence that hides what a decision would open."""
        return hiding(decision.silences, decision.severity, self.changes.now, self.unsilenced)

    def carrier_of(self, incident: Incident) -> Incident | None:
        """The live incident that this one is folded into."""
        found = self.live.get(self.series_of.get(incident.carrier or "", ""))
        return found if found is not None and found.id == incident.carrier else None

    def standing(self, series_id: str) -> Incident | None:
        """The live incident of a series; one whose carrier ended earlier in this batch has ended with it."""
        incident = self.live.get(series_id)
        if incident is None or incident.carrier is None or carries_on(self.carrier_of(incident)):
            return incident
        self.changes.put(replace(incident, state=IncidentState.CANCELLED, live=False, reason=Reason.RECOVERED))
        del self.live[series_id]
        return None


def load(connection: Connection, changes: Changes, batch: Sequence[Receipt]) -> World:
    """Lock and read everything the batch can touch: problems first, then series."""
    world = World(changes=changes, connection=connection)
    readings = {item.problem: item.decided.reading for one in batch for item in one.alerts if item.problem}
    all_readings = (item.decided.reading for one in batch for item in one.alerts)
    world.sighted = sightings.find(connection, (one for one in all_readings if isinstance(one, Sighted)))
    touched = {series_id for _, series_id in world.sighted.values()}
    problem_ids = padded(problem for problem in readings if problem)
    if problem_ids:
        _load_problems(connection, world, readings, problem_ids)
    for row in _FIRING_MEMBERS.rows(connection, ids=problem_ids) if problem_ids else ():
        world.of_problem.setdefault(row["problem_id"], []).append(row["series"])
        touched.add(row["series"])
        if row["carrier_series"] is not None:
            touched.add(row["carrier_series"])
    decisions = [d for one in batch for item in one.alerts for d in item.decided.decisions if d.mode is Mode.LIVE]
    matching = padded(silence.id for decision in decisions for silence in decision.silences)
    if matching:
        world.unsilenced = frozenset(row["id"] for row in _ENDED_BY_HAND.rows(connection, ids=matching))
    wanted = {d.series: d for d in decisions if world.hiding(d) is None}
    touched |= wanted.keys()
    if touched:
        lock_series(connection, world.changes, touched, wanted)
        _load_incidents(connection, world, problem_ids, batch)
    return world


def _load_problems(
    connection: Connection, world: World, readings: Mapping[str, Alert | Notice], problem_ids: list[str]
) -> None:
    """The last report of each problem. On PostgreSQL this locks them: new ones get a row first, in sorted order."""
    if connection.dialect.name == "postgresql":
        fresh = {problem: reading for problem, reading in readings.items() if isinstance(reading, Alert)}
        _CLAIM_PROBLEMS.run(connection, _problem_rows(fresh, world.changes.now, status=_NO_REPORT))
    for row in _LAST_REPORTS.rows(connection, ids=problem_ids):
        if row["status"] != _NO_REPORT:
            status = Status(row["status"])
            world.last[row["id"]] = LastReport(status=status, episode=row["episode"], reported_at=row["reported_at"])


def lock_series(
    connection: Connection, changes: Changes, touched: set[str], wanted: Mapping[str, Decision | PlanB]
) -> None:
    """Lock the series that exist; make the `wanted` others (on SQLite, whose one lock is held already, at the end).

    They are made only where there is none to lock: one that is merely found to be there may be pruned before it is
    locked. Another one that was found and is gone now was pruned just then, with all its incidents.
    """
    for row in _LOCK_SERIES.rows(connection, ids=padded(touched)):
        changes.next_no[row["id"]] = row["next_no"]
    missing = sorted(wanted.keys() - changes.next_no.keys())
    if not missing:
        return
    rows = [{"id": s, "account": wanted[s].account, "scope": storable(wanted[s].scope), "next_no": 0} for s in missing]
    if connection.dialect.name == "sqlite":
        changes.new_series = {str(row["id"]): row for row in rows}
        return
    _MAKE_SERIES.run(connection, rows)
    for row in _LOCK_SERIES.rows(connection, ids=padded(missing)):
        changes.next_no[row["id"]] = row["next_no"]


def _load_incidents(connection: Connection, world: World, problem_ids: list[str], batch: Sequence[Receipt]) -> None:
    """What the locked series hold: their live incidents, the batch's members of them, and episodes that were used."""
    seen = [series_id for series_id, next_no in world.changes.next_no.items() if next_no > 0]
    if not seen:
        return
    series_ids = padded(seen)
    for row in _LAST_INCIDENTS.rows(connection, ids=series_ids):
        (world.live if row["live"] else world.ended)[row["series"]] = incident_from(row)
    if any(incident.carrier is not None for incident in world.live.values()):
        _load_carriers(connection, world)
    recent = [ended for ended in world.ended.values() if is_recent(ended, world.changes.now)]
    if world.live or recent:
        of = padded(incident.id for incident in (*world.live.values(), *recent))
        for row in _MEMBERS_OF.rows(connection, of=of, ids=problem_ids) if problem_ids else ():
            member = member_from(row)
            world.members[(member.incident, member.problem)] = member
        dead = [incident.id for incident in world.live.values() if incident.state is IncidentState.DEAD]
        for member in firing_in(connection, padded(dead)) if dead else ():  # a new episode takes them along
            world.members[(member.incident, member.problem)] = member
    readings = [item.decided.reading for one in batch for item in one.alerts]
    episodes = [storable(r.episode) for r in readings if isinstance(r, Alert) and r.episode is not None]
    if episodes:
        for row in _LAST_N.rows(connection, ids=series_ids, episodes=padded(episodes)):
            world.next_n[(row["series"], row["episode_id"])] = row["n"] + 1


def _load_carriers(connection: Connection, world: World) -> None:
    """Lock and read the carriers of folded incidents too; what is folded is read again, for they may have ended."""
    wanted = padded(incident.carrier for incident in world.live.values() if incident.carrier is not None)
    world.series_of = {row["id"]: row["series"] for row in _SERIES_OF.rows(connection, ids=wanted)}
    missing = sorted(set(world.series_of.values()) - world.changes.next_no.keys())
    for row in _LOCK_SERIES.rows(connection, ids=padded(missing)) if missing else ():
        world.changes.next_no[row["id"]] = row["next_no"]
    known = padded([*world.live, *world.ended, *world.series_of.values()])
    world.live, world.ended = {}, {}
    for row in _LAST_INCIDENTS.rows(connection, ids=known):
        (world.live if row["live"] else world.ended)[row["series"]] = incident_from(row)


def firing_in(connection: Connection, ids: Sequence[str]) -> list[Member]:
    """The members of these incidents that fire, as they stand in the ledger."""
    return [member_from(row) for row in _FIRING_IN.rows(connection, ids=ids)]


def put_problems(connection: Connection, world: World) -> None:
    """Write the last applied reports, in sorted order."""
    _UPSERT_PROBLEM[connection.dialect.name].run(connection, _problem_rows(world.applied, world.changes.now))


def _problem_rows(reports: Mapping[str, Alert], now: datetime, status: str | None = None) -> list[dict[str, Any]]:
    rows = []
    for problem, alert in sorted(reports.items()):
        kept = last_report(alert, now)
        rows.append(
            {
                "id": problem,
                "source": alert.source,
                "fingerprint": storable(alert.fingerprint),
                "status": kept.status.value if status is None else status,
                "episode": None if kept.episode is None else storable(kept.episode),
                "reported_at": kept.reported_at,
                "updated_at": now,
            }
        )
    return rows


def _upsert(dialect: Any) -> Any:
    statement = dialect.insert(problems)
    new = {name: statement.excluded[name] for name in ("status", "episode", "reported_at", "updated_at")}
    return statement.on_conflict_do_update(index_elements=["id"], set_=new)


_NO_REPORT = ""  # of a problem's row that only holds its lock: nothing was applied yet
_CLAIM_PROBLEMS = InsertStatement(problems, lambda table: postgresql.insert(table).on_conflict_do_nothing())
_MAKE_SERIES = InsertStatement(series, lambda table: postgresql.insert(table).on_conflict_do_nothing())
_UPSERT_PROBLEM = {
    "sqlite": InsertStatement(problems, lambda _table: _upsert(sqlite)),
    "postgresql": InsertStatement(problems, lambda _table: _upsert(postgresql)),
}
