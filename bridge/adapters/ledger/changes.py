"""What one transaction will write about incidents and deliveries, gathered while the domain decides, written at once.

Settling webhooks and recording attempts both end here. The statements are `executemany`, so that a batch of webhooks
costs as many statements as one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Connection, Text, and_, bindparam, case, func, or_, select, update

from bridge.adapters.ledger import folded, untold
from bridge.adapters.ledger.compiled import InsertStatement, Statement
from bridge.adapters.ledger.rows import (
    PENDING_AGAIN,
    content_json,
    create_body_json,
    dumps,
    fields_json,
    incident_row,
    member_row,
    names_json,
    policy_json,
    telling_json,
)
from bridge.adapters.ledger.schema import deliveries, incidents, members, series, to_us
from bridge.adapters.ledger.telling import part_of
from bridge.domain.alert import Severity
from bridge.domain.decision import Change
from bridge.domain.delivery import Action, DeliveryState, LaneClass, Reason, lane_class
from bridge.domain.folding import FoldForm
from bridge.domain.incident import CreateBody, Incident, IncidentState, Member, Transition
from bridge.domain.lane import CRITICAL_FIRST, Pace, order_key
from bridge.domain.plain import PlainForm
from bridge.domain.plan_b import PlanB
from bridge.domain.retry import first_phase
from bridge.domain.telling import note_due_at
from bridge.domain.text import storable
from bridge.domain.truth import Trust

TRUST = Trust()  # as the settings have it when they say nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where an account's deliveries wait, and at what pace they go."""

    lane: str
    pace: Pace
    required: frozenset[str] = frozenset()  # fields the upstream's create does not go without
    defaults: Mapping[str, str] = field(default_factory=dict)  # the account's own fallbacks per field
    fold: FoldForm | None = None  # how several creates become one; None: the account never folds
    keeps: frozenset[str] | None = None  # fields that a plain create keeps; None: the account knows no plain creates
    rises: frozenset[str] = frozenset()  # fields that a higher severity changes, unless the rule says which
    reopens: frozenset[str] | None = None  # fields that are said again to re-open; None: the upstream cannot
    trust: Trust = TRUST
    plan_b: PlanB | None = None

    @property
    def plain(self) -> PlainForm | None:
        """What a refused create becomes here."""
        if self.keeps is None:
            return None
        return PlainForm(keeps=self.keeps, required=self.required, defaults=self.defaults)


_UNROUTED = Pace(  # of an account that is no longer configured: its deliveries wait, and are shown
    interval=timedelta(minutes=1),
    burst=1,
    reserve=0,
    update_interval=timedelta(minutes=1),
    promote_after=timedelta(minutes=1),
    give_up_after=timedelta(hours=24),
)


def route_of(routes: Mapping[str, Route], account: str) -> Route:
    """Where an account's deliveries go; of one that is no longer configured, into a lane that nobody works."""
    route = routes.get(account)
    return Route(lane=account, pace=_UNROUTED) if route is None else route


_EMPTY = fields_json({})
_CANCEL = Statement(
    update(deliveries)
    .where(
        deliveries.c.incident_id == bindparam("of_incident"),
        deliveries.c.action == bindparam("of_action"),
        deliveries.c.state == DeliveryState.PENDING.value,
        or_(deliveries.c.sent.is_(False), bindparam("even_sent", type_=Boolean)),
        or_(deliveries.c.fields == _EMPTY, bindparam("even_full", type_=Boolean)),
    )
    .values(state=DeliveryState.CANCELLED.value, reason=bindparam("why"), done_at=bindparam("at"))
)
_later = deliveries.alias("later")
_REVIVE = Statement(
    update(deliveries)
    .where(
        deliveries.c.incident_id == bindparam("of_incident"),
        deliveries.c.action == bindparam("of_action"),
        deliveries.c.state == DeliveryState.CANCELLED.value,
        deliveries.c.reason != Reason.DISCARDED.value,
        deliveries.c.no
        == select(func.max(_later.c.no))
        .where(and_(_later.c.incident_id == bindparam("of_incident"), _later.c.action == bindparam("of_action")))
        .scalar_subquery(),
    )
    .values(**PENDING_AGAIN)
)
_EVEN_SENT = frozenset({Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE})  # whether they arrived changes nothing later
_REPLACE_CREATE = Statement(
    update(deliveries)
    .where(
        deliveries.c.incident_id == bindparam("of_incident"),
        deliveries.c.action == Action.CREATE.value,
        or_(
            deliveries.c.state == DeliveryState.PENDING.value,
            and_(deliveries.c.state == DeliveryState.CANCELLED.value, deliveries.c.reason == Reason.FOLDED.value),
        ),
        deliveries.c.sent.is_(False),
    )
    .values(
        fields=bindparam("new_fields"),
        names=bindparam("new_names"),
        notes=bindparam("new_notes"),
        order_key=bindparam("new_order_key"),
        ids=bindparam("new_ids"),
        # what a person took out of a fold, or wrote about, goes by itself whatever it becomes
        fold_key=case((deliveries.c.fold_target.is_not(None), bindparam("new_fold_key"))),
        fold_target=case((deliveries.c.fold_target.is_not(None), bindparam("new_fold_target"))),
    )
)
_PROMOTE = Statement(
    update(deliveries)
    .where(
        deliveries.c.incident_id == bindparam("of_incident"),
        deliveries.c.action == Action.CREATE.value,
        deliveries.c.state == DeliveryState.PENDING.value,
    )
    .values(order_key=bindparam("new_order_key"))
)
_INCIDENT_CHANGES = (
    "key", "episode_n", "state", "live", "severity", "firing", "acknowledged", "claimed", "resolve_claimed", "renewal",
    "upstream_id", "upstream_url", "confirmed_at", "resolved_at", "reason", "telling", "summary", "carrier", "folded",
    "renews_at", "policy",
)  # fmt: skip
_UPDATE_INCIDENT = Statement(
    update(incidents)
    .where(incidents.c.id == bindparam("of_incident"))
    .values({name: bindparam("new_" + name) for name in _INCIDENT_CHANGES})
)
_UPDATE_MEMBER = Statement(
    update(members)
    .where(members.c.incident_id == bindparam("of_incident"), members.c.problem_id == bindparam("of_problem"))
    .values(
        firing=bindparam("new_firing"),
        severity=bindparam("new_severity"),
        joined_at=bindparam("new_joined_at"),
        left_at=bindparam("new_left_at"),
    )
)
_UPDATE_SERIES = Statement(
    update(series)
    .where(series.c.id == bindparam("of_series"))
    .values(
        next_no=bindparam("new_next_no"),
        last_incident=func.coalesce(bindparam("new_last", type_=Text), series.c.last_incident),
    )
)
_INSERT_INCIDENTS = InsertStatement(incidents)
_INSERT_MEMBERS = InsertStatement(members)
_INSERT_DELIVERIES = InsertStatement(deliveries)
_INSERT_SERIES = InsertStatement(series)


@dataclass(slots=True)
class Changes:
    """The changes of one transaction. Mutable on purpose, and gone when the transaction ends."""

    now: datetime
    routes: Mapping[str, Route]
    new_id: Callable[[], str]
    next_no: dict[str, int] = field(default_factory=dict)  # series -> number of its next delivery
    new_series: dict[str, dict[str, Any]] = field(default_factory=dict)  # rows to insert
    lanes: set[str] = field(default_factory=set)  # lanes that got something to do
    _new_incidents: dict[str, Incident] = field(default_factory=dict)
    _changed_incidents: dict[str, Incident] = field(default_factory=dict)
    _new_members: dict[tuple[str, str], Member] = field(default_factory=dict)
    _changed_members: dict[tuple[str, str], Member] = field(default_factory=dict)
    _deliveries: list[dict[str, Any]] = field(default_factory=list)
    _cancels: list[dict[str, Any]] = field(default_factory=list)
    _revivals: list[dict[str, Any]] = field(default_factory=list)
    _replaces: list[dict[str, Any]] = field(default_factory=list)
    _promotions: list[dict[str, Any]] = field(default_factory=list)
    _goes_on: set[str] = field(default_factory=set)  # incidents whose notes of others are told after all
    _last: dict[str, str] = field(default_factory=dict)  # series -> the incident opened last
    _touched_series: set[str] = field(default_factory=set)

    def open(self, incident: Incident, body: CreateBody) -> None:
        """A new incident with its create."""
        self._new_incidents[incident.id] = incident
        self._last[incident.series] = incident.id
        self.add_delivery(incident, Action.CREATE, body)

    def put(self, incident: Incident) -> None:
        """An incident as it is from now on."""
        kept = self._new_incidents if incident.id in self._new_incidents else self._changed_incidents
        kept[incident.id] = incident

    def changed(self, incident: str) -> Incident | None:
        """An incident as this transaction has it, if it touched it."""
        return self._new_incidents.get(incident) or self._changed_incidents.get(incident)

    def put_member(self, member: Member, *, is_new: bool) -> None:
        """A member as it is from now on."""
        key = (member.incident, member.problem)
        if is_new or key in self._new_members:
            self._new_members[key] = member
        else:
            self._changed_members[key] = member

    def apply(
        self,
        transition: Transition,
        body: CreateBody | None = None,
        severity: Severity | None = None,
        rise: Change | None = None,
    ) -> None:
        """What the domain decided about one incident; `body`, `severity` and `rise` are the joining alert's."""
        incident = transition.incident
        self.put(incident)
        over = Reason.JOINED_AGAIN if incident.firing else Reason.RECOVERED
        for action in transition.cancel:
            self.cancel(incident.id, action, Reason.SUPERSEDED if action in transition.add else over)
        for action in transition.revive:
            if action is Action.NOTE:
                self._goes_on.add(incident.id)
            else:
                self._revive(incident, action)
        add = transition.add
        if incident.telling.note_waits and add and Action.NOTE not in add:  # it waits for others: they go before it
            self.cancel(incident.id, Action.NOTE, Reason.SUPERSEDED)
            add = (*add, Action.NOTE)
        for action in sorted(add, key=lambda one: one is Action.NOTE):
            self.add_delivery(incident, action, self._content(incident, action, rise))
        if transition.replace_create and body is not None and severity is not None:
            self._replace_create(incident, body, severity)
        if transition.promotes:
            route = route_of(self.routes, incident.account)
            key = order_key(incident.severity, to_us(incident.opened_at), route.pace.promote_after)
            self.lanes.add(route.lane)
            self._promotions.append({"of_incident": incident.id, "new_order_key": key})

    def cancel(self, incident: str, action: Action, why: Reason) -> None:
        """Cancel what waits of this action and surely was never sent."""
        # a note that holds the list of folded alerts stays: it is said nowhere else
        full_too = action is not Action.NOTE or why is not Reason.SUPERSEDED
        for row in self._deliveries:
            if row["incident_id"] == incident and row["action"] == action and row["state"] == DeliveryState.PENDING:
                row.update(state=DeliveryState.CANCELLED.value, reason=why.value, done_at=self.now)
        cancel = {"of_incident": incident, "of_action": action.value, "why": why.value, "at": self.now}
        self._cancels.append({**cancel, "even_sent": action in _EVEN_SENT, "even_full": full_too})

    def _revive(self, incident: Incident, action: Action) -> None:
        """What was cancelled is to be told after all."""
        known = [row for row in self._deliveries if row["incident_id"] == incident.id and row["action"] == action]
        if known:
            known[-1].update(state=DeliveryState.PENDING.value, reason=None, done_at=None)
            return
        self.lanes.add(route_of(self.routes, incident.account).lane)
        give_up_at = self.now + self.pace_of(incident.account).give_up_after
        about = {"of_incident": incident.id, "of_action": action.value}
        self._revivals.append({**about, "at": self.now, "new_give_up_at": give_up_at})

    def _content(self, incident: Incident, action: Action, rise: Change | None) -> CreateBody | None:
        """What a delivery holds beside its incident."""
        if action is Action.UPDATE and rise is not None:
            return CreateBody(fields=rise.fields, names=rise.names, notes=rise.notes)
        if action is Action.REOPEN and incident.renewal is not None:
            return part_of(incident.renewal, route_of(self.routes, incident.account).reopens or ())
        return None

    def pace_of(self, account: str) -> Pace:
        """The pace of an account's lane."""
        return route_of(self.routes, account).pace

    def as_changed(self, incident: Incident) -> Incident:
        """An incident as it is after everything gathered so far."""
        return self._changed_incidents.get(incident.id, incident)

    def add_delivery(
        self, incident: Incident, action: Action, body: CreateBody | None, *, after_all_others: bool = False
    ) -> str:
        """One more thing to tell the upstream, behind everything the series already has to tell; its id.

        `after_all_others`: it goes when nothing else of its class waits in the lane.
        """
        route = route_of(self.routes, incident.account)
        no = self.take_no(incident.series)
        self.lanes.add(route.lane)
        phase = first_phase(action, incident.key_rule)
        of = lane_class(action, phase)
        created_us = to_us(self.now)
        is_create = of is LaneClass.CREATE
        hold = self._hold(incident, action)
        content = {"resolution": incident.policy.resolution} if action is Action.RESOLVE else {}
        self._deliveries.append(
            {
                "id": self.new_id(),
                "incident_id": incident.id,
                "series": incident.series,
                "no": no,
                "lane": route.lane,
                "account": incident.account,
                "action": action.value,
                "class": of.value,
                "phase": phase.value,
                "state": DeliveryState.PENDING.value,
                "reason": None,
                "detail": None,
                "order_key": order_key(incident.severity, created_us, route.pace.promote_after)
                if is_create
                else created_us + (CRITICAL_FIRST if after_all_others else 0),
                "next_at": self.now + hold,
                "created_at": self.now,
                "give_up_at": self.now + hold + route.pace.give_up_after,
                "first_attempt_at": None,
                "done_at": None,
                "attempts": 0,
                "sent": False,
                "strikes": 0,
                "lease_token": None,
                "lease_until": None,
                "key": storable(incident.key),
                "fields": fields_json(content) if body is None else content_json(body),
                "names": "[]" if body is None else names_json(body.names),
                "ids": "{}",
                "notes": "[]" if body is None or not body.notes else dumps(body.notes),
                "fold_key": None if body is None else body.fold_key or None,
                "fold_target": None if body is None else body.fold_target or None,
            }
        )
        return str(self._deliveries[-1]["id"])

    def take_no(self, series_id: str) -> int:
        """The number of the next delivery of a series."""
        no = self.next_no.get(series_id, 0)
        self.next_no[series_id] = no + 1
        self._touched_series.add(series_id)
        return no

    def flush(self, connection: Connection) -> None:
        """Write everything gathered; one statement per kind of change."""
        for incident in [one for one in self._changed_incidents.values() if one.folded]:
            folded.follow(connection, self, incident)
        _CANCEL.run(connection, self._cancels)
        _REVIVE.run(connection, self._revivals)
        going_on = sorted(self._goes_on & self._changed_incidents.keys())
        untold.tell_after_all(connection, self, [self._changed_incidents[one] for one in going_on])
        _REPLACE_CREATE.run(connection, self._replaces)
        _PROMOTE.run(connection, self._promotions)
        # a superseded incident must stop being live before its successor starts
        _UPDATE_INCIDENT.run(connection, (_incident_change(i) for i in self._changed_incidents.values()))
        _INSERT_INCIDENTS.run(connection, (_new_incident_row(i) for i in self._new_incidents.values()))
        _INSERT_MEMBERS.run(connection, (member_row(m) for m in self._new_members.values()))
        _UPDATE_MEMBER.run(connection, (_member_change(m) for m in self._changed_members.values()))
        _INSERT_DELIVERIES.run(connection, self._deliveries)
        fresh = (
            {**row, "next_no": self.next_no.get(s, 0), "last_incident": self._last.get(s)}
            for s, row in self.new_series.items()
        )
        _INSERT_SERIES.run(connection, fresh)
        known = sorted(self._touched_series - self.new_series.keys())
        _UPDATE_SERIES.run(
            connection,
            ({"of_series": s, "new_next_no": self.next_no[s], "new_last": self._last.get(s)} for s in known),
        )

    def _hold(self, incident: Incident, action: Action) -> timedelta:
        """How long a delivery waits before it may go."""
        match action:
            case Action.RESOLVE:
                return incident.policy.hold_resolve
            case Action.NOTE:
                return note_due_at(incident.telling, self.now) - self.now
            case _:
                return timedelta(0)

    def _replace_create(self, incident: Incident, body: CreateBody, severity: Severity) -> None:
        route = route_of(self.routes, incident.account)
        key = order_key(severity, to_us(incident.opened_at), route.pace.promote_after)
        new = {
            "fields": content_json(body),
            "names": names_json(body.names),
            "notes": dumps(body.notes),
            "order_key": key,
            "ids": "{}",  # looked up for the body that is replaced
            "fold_key": body.fold_key or None,
            "fold_target": body.fold_target or None,
        }
        for row in self._deliveries:
            if row["incident_id"] == incident.id and row["action"] == Action.CREATE:
                row.update(new)
                return
        self._replaces.append({"of_incident": incident.id, **{"new_" + name: new[name] for name in new}})


def renewed(old: Incident, *, new_id: str, key: str, episode_id: str, episode_n: int, now: datetime) -> Incident:
    """The next episode of an incident whose problems fired again while its resolve was on its way."""
    fresh = replace(old, id=new_id, key=key, episode_id=episode_id, episode_n=episode_n, opened_at=now, folded=0)
    return restarted(fresh)


def restarted(incident: Incident) -> Incident:
    """The same incident with nothing told to the upstream yet."""
    return replace(
        incident,
        state=IncidentState.PENDING,
        live=True,
        acknowledged=False,
        claimed=False,
        resolve_claimed=False,
        renewal=None,
        upstream_id=None,
        upstream_url=None,
        confirmed_at=None,
        resolved_at=None,
        reason=None,
        telling=incident.telling.next_episode(),
        summary=None,
        renews_at=None,
    )


def _new_incident_row(incident: Incident) -> dict[str, Any]:
    row = incident_row(incident)
    row["title"] = storable(row["title"])
    row["key"] = storable(row["key"])
    return row


def _incident_change(incident: Incident) -> dict[str, Any]:
    change = {"new_" + name: getattr(incident, name) for name in _INCIDENT_CHANGES}
    change["new_renewal"] = None if incident.renewal is None else create_body_json(incident.renewal)
    change["new_telling"] = telling_json(incident.telling)
    change["new_policy"] = policy_json(incident.policy)
    change["of_incident"] = incident.id
    return change


def _member_change(member: Member) -> dict[str, Any]:
    return {
        "of_incident": member.incident,
        "of_problem": member.problem,
        "new_firing": member.firing,
        "new_severity": member.severity,
        "new_joined_at": member.joined_at,
        "new_left_at": member.left_at,
    }
