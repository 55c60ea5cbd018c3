"""The ledger as it is read: what the API, the pages and the command line show. Nothing here writes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from bridge.adapters.ledger import (
    activity,
    desk,
    history,
    mended,
    read_deliveries,
    read_events,
    read_incidents,
    read_lanes,
    tallies,
)
from bridge.adapters.ledger.front.base import Base
from bridge.adapters.ledger.history import StoredEvent, Stretch
from bridge.adapters.ledger.read_events import EventQuery
from bridge.adapters.ledger.reads import Page, rfc3339
from bridge.domain.lane import Line


class ForReading(Base):
    """What is so."""

    def events(self, query: EventQuery) -> Page:
        with self.database.reading() as transaction:
            return read_events.list_events(transaction, query)

    def event_lines(
        self, ids: Sequence[str], most: int | None = None, query: EventQuery = read_events.EVERYTHING
    ) -> dict[str, list[dict[str, Any]]]:
        """A line per alert of these events; of each event `most`, those first that a query asks for."""
        with self.database.reading() as transaction:
            return read_events.event_alerts(transaction, ids, most, query)

    def event(self, event_id: str) -> dict[str, Any] | None:
        with self.database.reading() as transaction:
            return read_events.one_event(transaction, event_id, self._payloads)

    def stored(self, event_id: str) -> StoredEvent | None:
        """One webhook as it came, to be read again; None when there is none of this id."""
        with self.database.reading() as transaction:
            return history.stored(transaction, event_id)

    def history(self, stretch: Stretch) -> Iterator[StoredEvent]:
        """Accepted webhooks whose body is still kept, oldest first; any number of them, a page held at a time."""
        return history.pages(self.database.reading, stretch)

    def history_size(self, stretch: Stretch) -> int:
        """How many accepted webhooks a stretch holds, with their body or without."""
        with self.database.reading() as transaction:
            return history.size(transaction, stretch)

    def letter(self, delivery_id: str) -> mended.Letter | None:
        """A dead letter with what it holds; None when there is none of this id."""
        with self.database.reading() as transaction:
            return mended.letter(transaction, delivery_id)

    def dead_causes(self) -> list[dict[str, Any]]:
        """Dead letters counted by account, rule and reason."""
        with self.database.reading() as transaction:
            return desk.causes(transaction)

    def dead_letters(
        self,
        *,
        account: str,
        rule: str,
        reason: str,
        limit: int,
        before: str | None = None,
        among: Collection[str] = (),
    ) -> Page:
        """The dead letters of one cause, newest first; those of them that are `among` these ids, when any are given."""
        cause = {"account": account, "rule": rule, "reason": reason}
        with self.database.reading() as transaction:
            return desk.letters(transaction, **cause, limit=limit, before=before, among=among)

    def opening_event(self, incident_id: str) -> tuple[str, int] | None:
        """The event that opened an incident, and the position of the alert in it."""
        with self.database.reading() as transaction:
            return desk.opening_event(transaction, incident_id)

    def last_firing(self, incident_id: str) -> list[tuple[str, int]]:
        """The event, and the position in it, of the last report of each problem that fires in an incident."""
        with self.database.reading() as transaction:
            return desk.last_firing(transaction, incident_id)

    def incidents(
        self,
        *,
        state: str | None = None,
        account: str | None = None,
        live: bool | None = None,
        limit: int,
        before: str | None = None,
    ) -> Page:
        with self.database.reading() as transaction:
            return read_incidents.list_incidents(
                transaction, state=state, account=account, live=live, limit=limit, before=before
            )

    def incident(self, incident_id: str) -> dict[str, Any] | None:
        with self.database.reading() as transaction:
            return read_incidents.one_incident(transaction, incident_id)

    def incident_story(self, incident_id: str) -> dict[str, Any]:
        """Beside an incident's record: its newest reports, its flaps, its place in the lane."""
        with self.database.reading() as transaction:
            return {
                "reports": desk.reports(transaction, incident_id),
                "telling": desk.telling(transaction, incident_id),
                "place": desk.place(transaction, self.routes, self.paces, incident_id),
            }

    def deliveries(
        self,
        *,
        state: str | None = None,
        account: str | None = None,
        incident: str | None = None,
        limit: int,
        before: str | None = None,
    ) -> Page:
        with self.database.reading() as transaction:
            return read_deliveries.list_deliveries(
                transaction,
                self.routes,
                self.paces,
                state=state,
                account=account,
                incident=incident,
                limit=limit,
                before=before,
            )

    def delivery(self, delivery_id: str) -> dict[str, Any] | None:
        with self.database.reading() as transaction:
            return read_deliveries.one_delivery(transaction, self.routes, self.paces, delivery_id)

    def lanes(self, rates: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
        with self.database.reading() as transaction:
            return read_lanes.list_lanes(transaction, self.routes, rates)

    def last_said(self, account: str) -> str | None:
        """Why the first of an account's deliveries that are tried again was not delivered."""
        with self.database.reading() as transaction:
            return read_lanes.last_said(transaction, self.routes, account)

    def unconfigured(self, accounts: Collection[str]) -> list[dict[str, Any]]:
        """What is bound to accounts other than these, which are all that are configured: nobody sends it."""
        with self.database.reading() as transaction:
            return read_lanes.unconfigured(transaction, accounts)

    def unheard(self, sources: Collection[str]) -> dict[str, int]:
        """Of other sources than these: how many live incidents wait for one to say that its problem is over."""
        with self.database.reading() as transaction:
            return read_lanes.unheard(transaction, sources)

    def line(self, account: str) -> Line | None:
        """What one more create of an account would find in its lane; None when there is no such lane."""
        route = self.routes.get(account)
        if route is None:
            return None
        with self.database.reading() as transaction:
            return history.line(transaction, route)

    def finish_s(self, account: str, number: int) -> float | None:
        """In how many seconds the last of that many creates would go, put into their lane now."""
        with self.database.reading() as transaction:
            return desk.finish_s(transaction, self.routes, self.paces, account, number)

    def alive(self, within: timedelta) -> list[dict[str, Any]]:
        with self.database.reading() as transaction:
            return read_lanes.alive(transaction, within)

    def day(self) -> activity.Day:
        """The last 24 hours by the hour."""
        with self.database.reading() as transaction:
            return activity.day(transaction)

    def lately(self) -> activity.Lately:
        """The last hour in numbers."""
        with self.database.reading() as transaction:
            return activity.lately(transaction)

    def troubles(self, book: str) -> dict[str, Any]:
        """What the first page says beside its numbers: templates that fail under this rule book, what is open."""
        with self.database.reading() as transaction:
            return {
                "templates": activity.broken_templates(transaction, book),
                "open": activity.open_by_account(transaction),
                "proven": rfc3339(activity.last_proven(transaction)),
            }

    def turned_away(self) -> dict[str, int]:
        """Sources that lately refused every webhook as not authentic, and how many."""
        with self.database.reading() as transaction:
            return activity.turned_away(transaction)

    def hits(self, within: timedelta, lately: timedelta) -> dict[str, tallies.Sum]:
        """How often each rule decided, within two spans of time up to now."""
        with self.database.reading() as transaction:
            found = tallies.summed(transaction, tallies.HITS, within, lately)
            return {rule: number for (rule,), number in found.items()}

    def totals(self) -> dict[str, dict[tuple[str, ...], int]]:
        """Everything that is counted, for ever: what (`tallies`) -> labels -> number. Looks through no large table."""
        with self.database.reading() as transaction:
            return tallies.totals(transaction)

    def marks(self) -> dict[str, str]:
        """How far everything that goes through a table in pieces has come."""
        with self.database.reading() as transaction:
            return tallies.all_marks(transaction)
