"""Every move of an incident from one state to another, with what makes it: the table the picture is drawn from.

A test plays every state against every report and every outcome (domain.transitions) and holds this table to what
happens.
"""

from bridge.domain.incident import IncidentState as State

START = "[*]"
MOVES: tuple[tuple[State | None, State, str], ...] = (
    (None, State.PENDING, "a problem fires"),
    (State.PENDING, State.SENDING, "create or reopen is claimed"),
    (State.PENDING, State.CANCELLED, "over before it was sent"),
    (State.PENDING, State.RESOLVED, "over before it was re-opened, or the upstream will not"),
    (State.PENDING, State.DEAD, "create too old"),
    (State.PENDING, State.RESOLVING, "reopen too old, and over: it may have worked"),
    (State.SENDING, State.PENDING, "surely not sent"),
    (State.SENDING, State.CANCELLED, "surely not sent, and over"),
    (State.SENDING, State.OPEN, "delivered"),
    (State.SENDING, State.RESOLVING, "delivered, and over"),
    (State.SENDING, State.RESOLVED, "closed upstream, or not re-opened"),
    (State.SENDING, State.DEAD, "create refused or too old"),
    (State.OPEN, State.RESOLVING, "its last problem is over"),
    (State.RESOLVING, State.OPEN, "fires again before the resolve went out"),
    (State.RESOLVING, State.RESOLVED, "resolve delivered"),
    (State.RESOLVING, State.PENDING, "resolve delivered, and fires again: reopen"),
    (State.RESOLVING, State.DEAD, "resolve refused or too old"),
    (State.RESOLVED, State.PENDING, "fires again within reopen_within"),
    (State.DEAD, State.PENDING, "create replayed"),
    (State.DEAD, State.SENDING, "create replayed that may have worked"),
    (State.DEAD, State.RESOLVING, "resolve replayed"),
    (State.DEAD, State.CANCELLED, "create discarded"),
    (State.DEAD, State.RESOLVED, "resolve discarded, or replayed behind a newer episode"),
)

FOLDING_MOVES: tuple[tuple[State | None, State, str], ...] = (  # domain.folding
    (State.PENDING, State.FOLDED, "another create takes it along"),
    (State.FOLDED, State.PENDING, "its carrier is dead, or it fires on"),
    (State.FOLDED, State.RESOLVED, "its carrier is"),
    (State.FOLDED, State.CANCELLED, "its carrier is, or is dead, and over"),
)


def picture() -> str:
    """The moves as a Mermaid state diagram."""
    lines = (
        f"    {START if before is None else before} --> {after}: {why}" for before, after, why in MOVES + FOLDING_MOVES
    )
    return "\n".join(["stateDiagram-v2", *lines]) + "\n"
