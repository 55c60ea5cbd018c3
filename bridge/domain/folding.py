"""Folding: when a lane is so far behind that its creates go out together, which of them do, and what is said then.

In: a lane's Pace and state, the creates that wait in it. Out: whether it is behind, who folds into whom, the frozen
body of the carrier and the note for those that come later; and what a folded incident and its carrier do to each other.

A carrier counts the firing members of the incidents folded into it among its own (`Incident.firing`). So everything the
state machine decides about it holds for all of them: it resolves when the last one is over, whoever that is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bridge.domain.alert import Severity
from bridge.domain.delivery import Action, Delivery, LaneClass, Reason
from bridge.domain.incident import CreateBody, Incident, IncidentState, Member, Transition
from bridge.domain.lane import LaneState, Pace, interval, is_critical, tokens
from bridge.domain.transitions import on_firing

FOLD_MAX = 500  # incidents that fold in one claim
LISTED_MAX = 100  # of them, in one text; the rest are counted
LISTED_MAX_CHARS = 12_000
TITLE_SHOWN_CHARS = 200  # of one alert in a list
CAUGHT_UP_AFTER = 3  # slots that nobody took after the bucket was full again
JOINS_FOR = 5  # times max_wait: so long after its create a carrier takes more along; then somebody is paged again
GATHERS_FOR = timedelta(seconds=5)  # a note waits for more of the same;
GATHERS_CRITICAL_FOR = timedelta(seconds=1)  # one about a critical not so long
TAKES_MORE = (IncidentState.PENDING, IncidentState.SENDING, IncidentState.OPEN)  # carriers that are sent, or will be
FAR_BEHIND = "far behind: alerts of one kind go out as one incident"
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldForm:
    """What an account calls the texts of an incident, and how long they may be."""

    title_field: str
    body_field: str
    title_max_chars: int
    body_max_chars: int
    written: Callable[[Delivery], str] | None = None  # what a delivered create or note left as the incident's text


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One create that waits in a lane, never claimed before, and the incident it would open."""

    delivery: str
    incident: str
    series: str
    severity: Severity
    order_key: int
    fold_key: str
    fold_target: str
    title: str
    firing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of a list: a folded incident, and how many of its problems fire."""

    severity: Severity
    title: str
    alerts: int


# -- when


def carried(pace: Pace, state: LaneState, now: datetime) -> int | None:
    """How many creates may start within `max_wait`; None when the lane never folds."""
    if pace.max_wait is None:
        return None
    within = pace.max_wait / interval(pace, state, LaneClass.CREATE, now)
    return int(within) + max(0, int(tokens(pace, state, LaneClass.CREATE, now)))


def is_still_behind(pace: Pace, state: LaneState, now: datetime) -> bool:
    """Whether a lane that was too far behind has not caught up yet: its bucket was not full for a few slots."""
    if pace.max_wait is None or state.behind_since is None:
        return False
    return now < state.create_tat + interval(pace, state, LaneClass.CREATE, now) * CAUGHT_UP_AFTER


def behind_sentence(*, folding: bool, waiting: int) -> str | None:
    """What people read of a lane that folds; None once nothing waits, for then nobody sees anything of it."""
    return FAR_BEHIND if folding and waiting else None


def takes_more_since(pace: Pace, state: LaneState, now: datetime) -> datetime | None:
    """Carriers first sent from this instant on take more along; None: none does."""
    if pace.max_wait is None or state.behind_since is None:
        return None
    return max(state.behind_since, now - pace.max_wait * JOINS_FOR)


# -- who


def folds_with(carrier: Waiting, other: Waiting, *, by_target: bool) -> bool:
    """Whether two creates are of one kind: the same target, and the same fold key unless criticals go by target."""
    if other.fold_target != carrier.fold_target or not other.fold_target or other.delivery == carrier.delivery:
        return False
    both_critical = is_critical(carrier.order_key) and is_critical(other.order_key)
    return other.fold_key == carrier.fold_key or (by_target and both_critical)


def folded_into(carrier: Waiting, waiting: Iterable[Waiting], *, by_target: bool) -> tuple[Waiting, ...]:
    """Those that fold into a create that goes now, in their order; FOLD_MAX at most."""
    alike = [one for one in waiting if folds_with(carrier, one, by_target=by_target)]
    return tuple(sorted(alike, key=lambda one: (one.order_key, one.delivery))[:FOLD_MAX])


def most_severe(waiting: Sequence[Waiting]) -> Waiting:
    """Whose words are sent for all: the most severe, of these the first in the line."""
    return min(waiting, key=lambda one: (one.severity.rank, one.order_key, one.delivery))


def may_join(carrier: Incident, severity: Severity) -> bool:
    """Whether a note at an open carrier is enough. It pages nobody: what is more severe goes out by itself.

    So does what comes when nothing of the carrier fires any more: its resolve may wait behind its create already.
    """
    takes_more = carrier.live and carrier.state in TAKES_MORE and carrier.firing > 0
    return takes_more and severity.rank >= carrier.severity.rank


def carrying(carrier: Incident, folded: Sequence[Waiting]) -> Incident:
    """The carrier with these folded into it."""
    severity = min((carrier.severity, *(one.severity for one in folded)), key=lambda one: one.rank)
    return replace(
        carrier,
        folded=carrier.folded + len(folded),
        firing=carrier.firing + sum(one.firing for one in folded),
        severity=severity,
    )


# -- what is said


def listed(waiting: Iterable[Waiting]) -> tuple[Listed, ...]:
    """The lines of these, most severe first."""
    in_order = sorted(waiting, key=lambda one: (one.severity.rank, one.order_key, one.delivery))
    return tuple(Listed(severity=one.severity, title=one.title, alerts=max(1, one.firing)) for one in in_order)


def frozen_body(own: CreateBody, best: CreateBody, lines: Sequence[Listed], form: FoldForm) -> CreateBody:
    """The one create for all of these: the fields of the most severe, the number in the title, the list in the body.

    `own` is what the carrier would have sent alone, kept in case the others have to go by themselves after all.
    """
    number = sum(line.alerts for line in lines)
    title = f"{number} alerts: {_text(best.fields, form.title_field)}"
    told = f"{number} alerts at once, most severe first:\n{list_of(lines)}"
    room = max(0, form.body_max_chars - len(told) - 2)
    about_first = _cut(_text(best.fields, form.body_field), room)
    fields = {
        **best.fields,
        form.title_field: _cut(title, form.title_max_chars),
        form.body_field: _cut("\n\n".join(part for part in (told, about_first) if part), form.body_max_chars),
    }
    return replace(best, fields=fields, fold_key=own.fold_key, fold_target=own.fold_target, own=own)


def list_of(lines: Sequence[Listed], counted: int = 0) -> str:
    """One line each, bounded; the rest, and `counted` more that are not among them, as a number."""
    shown: list[str] = []
    chars = 0
    for line in lines[:LISTED_MAX]:
        text = f"- {line.severity.value}: {_cut(line.title, TITLE_SHOWN_CHARS)}"
        text += f" ({line.alerts} alerts)" if line.alerts > 1 else ""
        chars += len(text) + 1
        if chars > LISTED_MAX_CHARS:
            break
        shown.append(text)
    rest = counted + sum(line.alerts for line in lines[len(shown) :])
    return "\n".join([*shown, *([f"and {rest} more"] if rest else [])])


def joined_note(before: Mapping[str, Any] | None, lines: Sequence[Listed]) -> dict[str, Any]:
    """The fields of the one note about those that fold into an open carrier; `before`: of a note that still waits."""
    held = [] if before is None else [_line(one) for one in before["joined"]]
    every = sorted((*held, *lines), key=lambda line: line.severity.rank)
    kept = every[:LISTED_MAX]
    counted = (0 if before is None else int(before["counted"])) + sum(line.alerts for line in every[LISTED_MAX:])
    number = counted + sum(line.alerts for line in kept)
    text = f"{number} more {'alert' if number == 1 else 'alerts'} of this kind:\n{list_of(kept, counted)}"
    joined = [[line.severity.value, _cut(line.title, TITLE_SHOWN_CHARS), line.alerts] for line in kept]
    return {"note": text, "joined": joined, "counted": counted}


def note_due_at(before: datetime | None, lines: Iterable[Listed], now: datetime) -> datetime:
    """When that note goes out; `before`: when the one that waits would."""
    is_critical_one = any(line.severity is Severity.CRITICAL for line in lines)
    due = now + (GATHERS_CRITICAL_FOR if is_critical_one else GATHERS_FOR)
    return due if before is None else min(before, due)


def _line(stored: Sequence[Any]) -> Listed:
    severity, title, alerts = stored
    return Listed(severity=Severity(severity), title=title, alerts=alerts)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(0, limit - len(ELLIPSIS))] + ELLIPSIS


# -- what follows


def carries_on(carrier: Incident | None) -> bool:
    """Whether an incident folded into this one is still live by it."""
    return carrier is not None and carrier.live and carrier.state is not IncidentState.DEAD


def carrier_fires(
    folded: Incident,
    carrier: Incident,
    member: Member | None,
    severity: Severity,
    body: CreateBody,
    now: datetime,
    *,
    rise: bool = False,
) -> tuple[Incident, Transition | None]:
    """A problem fires in a folded incident, which is as it is after that: the folded one and its carrier follow.

    `rise`: the report has something to change upstream if it is more severe than all the carrier speaks for.
    Under a resolve that may have reached the upstream the folded incident keeps what it would open with by itself. The
    carrier's list names the folded incident, not each of its problems: no note is made of them.
    """
    step = on_firing(carrier, member, severity, body, now, rise=rise)
    if not isinstance(step, Transition):
        return folded, None
    is_late = carrier.state is IncidentState.RESOLVING and carrier.resolve_claimed
    telling = replace(carrier.telling, has_updates=step.incident.telling.has_updates)
    changed = replace(step.incident, renewal=carrier.renewal, telling=telling)
    add = tuple(action for action in step.add if action is not Action.NOTE)
    alone = _fires_late(folded, severity, body) if is_late else folded
    return alone, replace(step, incident=changed, add=add, replace_create=False)


def _fires_late(folded: Incident, severity: Severity, body: CreateBody) -> Incident:
    """A folded incident by itself, with the words of the most severe that fires since the resolve."""
    if folded.firing > 1 and severity.rank > folded.severity.rank:
        return folded
    return replace(folded, renewal=body, severity=severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Afterwards:
    """A folded incident whose carrier came to its end.

    `sends`: its create goes out by itself, with `body`, or as it was.
    """

    incident: Incident
    sends: bool = False
    body: CreateBody | None = None


def afterwards(folded: Incident, carrier: Incident, now: datetime) -> Afterwards:
    """What becomes of a folded incident: over with its carrier, or, where the upstream never had that, pending again.

    A problem that fired again while the carrier's resolve was on its way is sent by itself as well; so is what fires on
    when a person closed the carrier upstream and was left in peace long enough.
    """
    alone = replace(folded, state=IncidentState.PENDING, carrier=None, renewal=None, reason=None)
    if carrier.state is IncidentState.DEAD and carrier.confirmed_at is None:
        if folded.firing > 0:
            return Afterwards(incident=alone, sends=True, body=folded.renewal)
        over = replace(folded, state=IncidentState.CANCELLED, live=False, renewal=None, reason=Reason.RECOVERED)
        return Afterwards(incident=over)
    fires_on = carrier.reason == Reason.CLOSED_UPSTREAM and folded.stands_for is None
    if folded.firing > 0 and (folded.renewal is not None or fires_on):
        return Afterwards(incident=alone, sends=True, body=folded.renewal)
    ended = IncidentState.CANCELLED if carrier.state is IncidentState.CANCELLED else IncidentState.RESOLVED
    reason = None if carrier.state is IncidentState.DEAD else carrier.reason
    return Afterwards(incident=replace(folded, state=ended, live=False, renewal=None, resolved_at=now, reason=reason))


def without_folded(carrier: Incident, folded: Iterable[Incident]) -> Incident:
    """A carrier that came to its end, with nobody but its own members."""
    return replace(carrier, folded=0, firing=max(0, carrier.firing - sum(one.firing for one in folded)))
