"""Plan B: a critical page that its own account cannot take goes out through another one, once, and says so.

In: how a page (a create, or a re-opening) waits, and the state of its lane. Out: why it goes to plan B, or nothing; and
the incident that stands for it there, with a plain create. The two are over together: the one that stands in has the
other's firing members.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bridge.domain import keys
from bridge.domain.decision import KeyRule, Policy
from bridge.domain.delivery import Action, DeliveryState, LaneClass, NameRef, Phase, Reason, lane_class
from bridge.domain.incident import CreateBody, Incident, IncidentState, Transition
from bridge.domain.lane import LaneState, is_failing

_REFUSED = frozenset({Reason.AUTH, Reason.FORBIDDEN})  # parked until a person has done something


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanB:
    """What an account's settings say of the account that steps in, and how a create to that one is written."""

    account: str
    after: timedelta
    key_rule: KeyRule
    title_field: str
    body_field: str
    scope_field: str | None
    reads_body: str  # the field of the account's own creates that holds their text
    defaults: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)  # which list knows what a default names

    @property
    def scope(self) -> str:
        """Where a key is unique there."""
        return "" if self.scope_field is None else self.defaults.get(self.scope_field, "")


def why_now(
    state: DeliveryState, action: Action, created_at: datetime, lane: LaneState, plan: PlanB, now: datetime
) -> str | None:
    """Why a page goes to plan B now; None: it does not. What is known to wait longer than allowed goes at once."""
    if state is DeliveryState.DEAD:
        return "could not deliver it"
    if lane.paused_at is not None:
        return "is paused by an operator"
    if is_failing(lane):
        return f"brought no usable answer {lane.failures} times in a row"
    until, parked_why = lane.create_parked_until, lane.create_parked_why
    if lane_class(action, Phase.SEND) is LaneClass.UPDATE:
        until, parked_why = lane.update_parked_until, lane.update_parked_why
    if until is not None and until > now:
        if parked_why in _REFUSED:
            return "refuses the bridge's key"
        if until > created_at + plan.after:
            return f"takes no incidents until {until.isoformat(timespec='seconds')}"
    if now >= created_at + plan.after:
        return f"has not taken it for {max(1, int((now - created_at) / timedelta(minutes=1)))} min"
    return None


def series_for(incident: Incident, plan: PlanB) -> str:
    """What stands for the episodes of one series, one at a time."""
    return keys.series(plan.account, plan.scope, ["plan_b", incident.series])


def stand_in(incident: Incident, plan: PlanB, *, new_id: str, now: datetime, members: int, n: int) -> Incident:
    """The incident at plan B that stands for one of the account; `n` others of it did so before, and used their keys.

    A problem that is over at plan B, and fires again before its own account took it, is another episode there.
    """
    series = series_for(incident, plan)
    return Incident(
        id=new_id,
        account=plan.account,
        series=series,
        scope=plan.scope,
        rule=incident.rule,
        key=keys.upstream_key(plan.key_rule, series, None, keys.episode(incident.id, incident.id, n)),
        key_rule=plan.key_rule,
        key_text=None,
        episode_id=incident.id,
        episode_n=n,
        state=IncidentState.PENDING,
        severity=incident.severity,
        title=incident.title,
        policy=Policy(),
        firing=members,
        opened_at=now,
        stands_for=incident.id,
    )


def gives_way(held: Incident) -> bool:
    """Whether what stands for an earlier episode is in nobody's way: a dead letter, by which nobody was told.

    The next one takes its place, as with the account's own.
    """
    return held.state is IncidentState.DEAD


def silenced_by_hand(step: Transition, stands_for: Incident) -> Transition:
    """A person resolves what stands for an incident: its problems fire on there, and that person has heard of them.

    If they are over there as well, it ends like any other, and what fires again is another page.
    """
    if stands_for.firing == 0:
        return step
    return replace(step, incident=replace(step.incident, reason=Reason.RESOLVED_BY_HAND))


def body_for(incident: Incident, body: CreateBody, plan: PlanB, why: str) -> CreateBody:
    """A plain create: the account's defaults, the title, and a text that says where it comes from."""
    told = body.fields.get(plan.reads_body)
    text = "\n\n".join(
        part
        for part in (
            f"Sent here because account '{incident.account}' {why}. "
            f"It may still arrive there; both are resolved when the problem is over. "
            f"Incident {incident.id} of the bridge.",
            f"Severity: {incident.severity.value}",
            told if isinstance(told, str) else "",
        )
        if part
    )
    fields = {**plan.defaults, plan.title_field: incident.title, plan.body_field: text}
    names = tuple(
        NameRef(field=name, kind=kind, text=plan.defaults[name])
        for name, kind in sorted(plan.lists.items())
        if name in plan.defaults
    )
    return CreateBody(fields=fields, names=names, notes=(), is_plain=True)
