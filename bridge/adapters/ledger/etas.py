"""When what waits in a lane may start, as far as rows and pace tell; what folds counts once."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.rows import Row, lane_from
from bridge.adapters.ledger.schema import deliveries, lanes
from bridge.domain.delivery import LaneClass
from bridge.domain.folding import carried
from bridge.domain.lane import Pace, is_critical, sane, starts_at


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
