"""The ledger: the only record of what is owed. One method per transaction, named after what becomes true."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from bridge.adapters.files import Meanwhile
from bridge.adapters.ids import Ulids
from bridge.adapters.ledger import (
    activity,
    alarms,
    audit,
    books,
    callbacks,
    desk,
    fetches,
    hands,
    history,
    letters,
    mended,
    names,
    overview,
    plan_b,
    probes,
    pruning,
    reads,
    renewals,
    shadows,
    silences,
    tallies,
    truth,
    upkeep,
)
from bridge.adapters.ledger.books import InForce, Origin, RulesState, StoredBook
from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Database, Transaction, is_contention
from bridge.adapters.ledger.fetches import Fetch, Fetched
from bridge.adapters.ledger.history import StoredEvent, Stretch
from bridge.adapters.ledger.lanes import Claim, Claimed, Finished, LaneBusy, LaneWork, NamesNeeded, Recorded
from bridge.adapters.ledger.names import NameBook, NameList
from bridge.adapters.ledger.overview import Overview
from bridge.adapters.ledger.reads import EventQuery, Page, Payloads
from bridge.adapters.ledger.settle import Receipt, Settled, receipt, settle
from bridge.adapters.ledger.silences import Preview
from bridge.adapters.ledger.upkeep import Heartbeat
from bridge.domain.access import Deed
from bridge.domain.alarms import Cause
from bridge.domain.alert import Alert
from bridge.domain.delivery import NamedThing
from bridge.domain.errors import LedgerUnavailable
from bridge.domain.incident import CreateBody
from bridge.domain.lane import Line, Pace
from bridge.domain.shadow import ShadowRule, shadow_report
from bridge.domain.silences import Silence

__all__ = [
    "Claim", "Claimed", "EventQuery", "Fetch", "Fetched", "Finished", "Heartbeat", "InForce", "Ledger", "NamesNeeded",
    "Origin", "Page", "Preview", "Receipt", "Recorded", "Route", "RulesState", "Settled", "StoredBook", "StoredEvent",
    "Stretch", "receipt",
]  # fmt: skip

REDO_MAX = 3
TRIM_STEPS_MAX = 20  # of each source, in one round
PRUNE_FOR_S = 1.0  # in one round, and at least a step of each kind
TALLY_FOR_S = 0.5  # in one round, and at least a piece of each table
NOTHING: Mapping[str, str] = MappingProxyType({})
T = TypeVar("T")


class Ledger:
    """The ledger as one process uses it. Make it after forking; any number of threads may call it."""

    def __init__(
        self, database: Database, routes: Mapping[str, Route], payloads: Payloads = lambda _source, _headers, _body: ()
    ) -> None:
        """`routes` gives every configured account its lane and pace; `payloads` reads a stored body again."""
        self._payloads = payloads
        self.database = database
        self.routes = dict(routes)
        self.paces: dict[str, Pace] = upkeep.routes_paces(self.routes)
        self.new_id = Ulids()
        self.names = NameBook()
        self._served = ""  # the last lane of a round that had no room for all
        self._days = activity.DayBook()

    # -- web

    def settle(
        self,
        batch: Sequence[Receipt],
        more: Callable[[], Sequence[Receipt]] = tuple,
        meanwhile: Meanwhile | None = None,
    ) -> tuple[list[Settled], frozenset[str]]:
        """These webhooks and all that follows from them are on disk; also answers the lanes with something to do.

        `meanwhile` runs while another process has the ledger; `more` is asked once, when we have it: what came
        meanwhile goes along. A deadlock, or another process that settled the same key first,
        redoes it; raises LedgerUnavailable after that.
        """
        gathered: list[Receipt] | None = None

        def settled(transaction: Transaction) -> tuple[list[Settled], frozenset[str]]:
            nonlocal gathered
            if gathered is None:
                gathered = [*batch, *more()]
            return settle(transaction, gathered, self.routes, self.new_id)

        return self._written(settled, meanwhile)

    def _written(self, work: Callable[[Transaction], T], meanwhile: Meanwhile | None = None) -> T:
        """What `work` answers once its transaction is committed.

        A deadlock, or somebody else who wrote the same row first, redoes it all; LedgerUnavailable after three times.
        """
        for attempt in range(REDO_MAX + 1):
            try:
                with self.database.writing(meanwhile) as transaction:
                    return work(transaction)
            except Exception as error:
                if not is_contention(error):
                    raise
                if attempt == REDO_MAX:
                    raise LedgerUnavailable("the ledger is contended; nothing was written") from error
        raise AssertionError("unreachable")

    # -- workers

    def claim(self, lane: str) -> Claim:
        """The lane's next due delivery is leased to the caller.

        Nothing is, while another worker is at the lane: that one goes on with it, or the clock sees what is left. A
        lane in a storm, whose claims take long, so keeps one worker, and the others serve other lanes.
        """
        try:
            return self._at_lane(lane, lambda work: work.claim(), waits=False)
        except LaneBusy:
            return None

    def record(self, finished: Finished, *, claim_next: bool) -> tuple[Recorded, Claim]:
        """An attempt is on record with what follows from it, and the lane's next delivery is leased if asked for."""
        return self._at_lane(
            finished.claimed.lane, lambda work: (work.record(finished), work.claim() if claim_next else None)
        )

    def _at_lane(self, lane: str, does: Callable[[LaneWork], T], *, waits: bool = True) -> T:
        def worked(transaction: Transaction) -> T:
            work = self._work(transaction, lane, waits=waits)
            done = does(work)
            work.save()
            return done

        return self._written(worked)

    def _work(self, transaction: Transaction, lane: str, *, waits: bool = True) -> LaneWork:
        return LaneWork(
            transaction,
            lane,
            pace=self.paces[lane],
            routes=self.routes,
            names=self.names,
            new_id=self.new_id,
            waits=waits,
        )

    def put_back(self, claimed: Claimed, kinds: tuple[str, ...]) -> NamesNeeded | None:
        """A claimed delivery waits for lists of names instead of being sent; it was no attempt."""
        return self._at_lane(claimed.lane, lambda work: work.put_back(claimed, kinds))

    def names_stored(self, account: str, kind: str, things: Sequence[NamedThing]) -> None:
        """A complete list of the upstream replaces the last one."""

        def stored(transaction: Transaction) -> None:
            self._work(transaction, self.routes[account].lane)
            whole = fetches.Whole(rows=fetches.rows_of(things), began_at=transaction.now)
            names.store(transaction, account, kind, whole)

        self._written(stored)
        self.names.forget()

    def fetch_begun(self, account: str, kind: str) -> Fetch | None:
        """The caller alone fetches this list now; None when somebody does, when it is too early, or not allowed."""

        def begun(transaction: Transaction) -> Fetch | None:
            if account not in self.routes or not self._work(transaction, self.routes[account].lane).may_ask():
                return None
            return fetches.begin(transaction, account, kind, self.new_id())

        return self._written(begun)

    def fetch_recorded(self, fetched: Fetched) -> bool:
        """The pages a job brought are kept; True when the list is whole by that, and visible from now on."""
        fetch = fetched.fetch

        def recorded(transaction: Transaction) -> bool:
            work = self._work(transaction, self.routes[fetch.account].lane)
            whole = fetches.record(transaction, fetched)
            if fetched.failure is not None:
                work.no_list_came(fetched.failure)
            if whole is not None:
                names.store(transaction, fetch.account, fetch.kind, whole)
            work.save()
            return whole is not None

        is_whole = self._written(recorded)
        self.names.forget()
        return is_whole

    def fetches_asked(self) -> list[tuple[str, str]]:
        """(account, kind) of the lists that somebody is to fetch now; nobody else is told so for a while."""
        with self.database.reading() as transaction:
            if not fetches.any_due(transaction, self.routes):
                return []
        return self._written(lambda transaction: fetches.ask(transaction, self.routes))

    def name_list(self, account: str, kind: str) -> NameList | None:
        """The cached list of the upstream; None when it was never fetched."""
        with self.database.reading() as transaction:
            return self.names.list_of(transaction.connection, account, kind)

    # -- clock

    def due_lanes(self, most: int) -> list[str]:
        """Up to `most` lanes to send a job to; they are armed, so that nobody else sends one for a lease.

        Where more are due, the others have their turn the next time. Failing lanes are probed: they come last, and
        never more of them than half of the living workers.
        """
        with self.database.reading() as transaction:
            widowed = upkeep.leases_of_gone(transaction)
            found = self._due(transaction, most)
        if widowed:
            self._written(lambda transaction: upkeep.end_leases(transaction, widowed))
            with self.database.reading() as transaction:
                found = self._due(transaction, most)
        if not found:
            return []

        def armed(transaction: Transaction) -> list[str]:
            due = self._due(transaction, most, found)
            if due:
                upkeep.arm(transaction, due)
            return due

        due = self._written(armed)
        self._served = due[-1] if len(due) == most else ""
        return due

    def _due(self, transaction: Transaction, most: int, only: Sequence[str] | None = None) -> list[str]:
        return upkeep.due_lanes(transaction, self.paces, self.routes, most=most, behind=self._served, only=only)

    def lanes_disarmed(self, lane: str | None = None) -> None:
        """The jobs sent to this lane, or to all lanes, are known to be lost: they may be sent again."""
        self._written(lambda transaction: upkeep.disarm(transaction, lane))

    def lanes_ensured(self) -> None:
        """Every configured lane has its row, and every unfinished delivery waits in the lane of its account.

        A lane's name follows the configuration: call it at start, and now and then while old processes may still run.
        """
        with self.database.reading() as transaction:
            if upkeep.are_lanes_ensured(transaction, self.routes):
                return
        self._written(lambda transaction: upkeep.ensure_lanes(transaction, self.routes))

    def heartbeat(self, beat: Heartbeat) -> None:
        """A process reported itself."""
        self._written(lambda transaction: upkeep.beat(transaction, beat))

    def heartbeat_ended(self, process: str) -> None:
        """A process ended in an orderly way."""
        self._written(lambda transaction: upkeep.silence(transaction, process))

    def given_up(self, told: Callable[[str, str], None] = lambda _account, _delivery: None) -> int:
        """Deliveries that waited longer than give_up_after are dead letters; how many became it now.

        `told` hears the account and the id of each. Those of accounts that are not configured wait on, and are shown.
        """
        with self.database.reading() as transaction:
            old = upkeep.too_old(transaction, self.routes)
        gone = 0
        for lane, account, one in old:
            if self._at_lane(lane, partial(LaneWork.give_up, delivery_id=one)):
                told(account, one)
                gone += 1
        return gone

    def renewals_opened(self) -> int:
        """Incidents that a person closed, and whose problems still fire, are new episodes once their window is over."""
        with self.database.reading() as transaction:
            ids = renewals.due(transaction, self.routes)
        if not ids:
            return 0
        return self._written(lambda transaction: renewals.open_due(transaction, self.routes, self.new_id, ids))

    def swept(self) -> int:
        """Incidents that nobody has looked at for long have a check in their lane; how many got one now."""
        with self.database.reading() as transaction:
            due = truth.sweep_due(transaction, self.routes)
        return sum(self._written(partial(truth.sweep, routes=self.routes, new_id=self.new_id, account=a)) for a in due)

    def plan_b_opened(self) -> int:
        """Critical incidents that their account cannot take are at its plan B as well, once; how many got there now."""
        if not any(route.plan_b is not None for route in self.routes.values()):
            return 0
        with self.database.reading() as transaction:
            waiting = plan_b.waiting(transaction, self.routes)
            lagging = plan_b.lagging(transaction)
        for one in lagging:
            self._written(partial(plan_b.catch_up, routes=self.routes, new_id=self.new_id, one=one))
        opened = (
            self._written(partial(plan_b.open_one, routes=self.routes, new_id=self.new_id, account=a, create=c))
            for a, c in waiting
        )
        return sum(opened)

    def waits_shortened(self) -> None:
        """No waiting delivery is further ahead than it was meant to be (a clock may have jumped back)."""
        with self.database.reading() as transaction:
            if not upkeep.far_ahead(transaction):
                return
        self._written(upkeep.shorten_waits)

    def pruned(self, bodies: timedelta, history: timedelta) -> int:
        """Bodies and history past their retention are gone, a bounded number at a time; how many rows.

        In steps of one transaction each, between which others write; after PRUNE_FOR_S the rest is left for another.
        """
        until = time.monotonic() + PRUNE_FOR_S
        steps: tuple[tuple[Callable[[Transaction], int], int], ...] = (
            (lambda transaction: pruning.bodies_past(transaction, bodies), pruning.STEP_BODIES),
            (lambda transaction: pruning.events_past(transaction, history), pruning.STEP_EVENTS),
            (lambda transaction: pruning.incidents_past(transaction, history), pruning.STEP_INCIDENTS),
            (lambda transaction: pruning.rest_past(transaction, history), pruning.STEP_AUDIT),
            (lambda transaction: silences.prune(transaction, history), pruning.STEP_AUDIT),
        )
        gone = 0
        for step, whole in steps:
            while True:
                went = self._written(step)
                gone += went
                if went < whole or time.monotonic() > until:
                    break
        return gone

    def bodies_trimmed(self, most_bytes: int, owed: Mapping[str, str] = NOTHING) -> None:
        """No source keeps more bytes of packed bodies than this: its oldest bodies are gone.

        `owed` has the fingerprint of the Notices, by source, whose sender waits for a call of ours: their bodies stay.
        """
        with self.database.reading() as transaction:
            crowded = pruning.crowded(transaction, most_bytes)
            kept = frozenset(callbacks.owed(transaction, owed)) if crowded else frozenset()
        for source in crowded:
            for _ in range(TRIM_STEPS_MAX):
                step = partial(pruning.bodies_beyond, source=source, most_bytes=most_bytes, owed=kept)
                if not self._written(step):
                    break

    def tallied(self) -> None:
        """What came in and what became of it is counted, up to half a minute ago; after a long pause in several calls.

        The rows are looked through without a lock; only the sums are written.
        """
        until = time.monotonic() + TALLY_FOR_S
        for what in tallies.tables():
            while True:
                with self.database.reading() as transaction:
                    piece = tallies.next_piece(transaction, what)
                if piece is None:
                    break
                self._written(partial(tallies.add_piece, piece=piece))
                if piece.is_last or time.monotonic() > until:
                    break

    def marks(self) -> dict[str, str]:
        """How far everything that goes through a table in pieces has come."""
        with self.database.reading() as transaction:
            return tallies.all_marks(transaction)

    def tallied_more(self, what: str, numbers: Mapping[tuple[str, ...], int]) -> None:
        """Numbers that no row tells of have grown by these, by their labels."""
        if numbers:
            self._written(lambda transaction: tallies.add_now(transaction, what, numbers))

    def totals(self) -> dict[str, dict[tuple[str, ...], int]]:
        """Everything that is counted, for ever: what (`tallies`) -> labels -> number. Looks through no large table."""
        with self.database.reading() as transaction:
            return tallies.totals(transaction)

    def by_hour(self, what: str, within: timedelta) -> dict[tuple[str, ...], dict[datetime, int]]:
        """One of those numbers per hour: labels -> beginning of the hour -> number."""
        with self.database.reading() as transaction:
            return tallies.by_hour(transaction, what, within)

    def alarms_standing(self, max_waits: Mapping[str, timedelta]) -> tuple[Cause, ...]:
        """Everything that needs a person now; `max_waits` are those of the configured accounts."""
        with self.database.reading() as transaction:
            return alarms.standing(transaction, self.routes, max_waits)

    def alarms_due(self, max_waits: Mapping[str, timedelta]) -> list[Cause]:
        """Those of them that the caller is to tell now: nobody told them in the last 15 minutes."""
        found = self.alarms_standing(max_waits)
        return self._written(lambda transaction: alarms.claim(transaction, found)) if found else []

    def alarm_unsaid(self, cause: Cause) -> None:
        """A cause could not be told; it is due again in a minute."""
        self._written(lambda transaction: alarms.unsaid(transaction, cause))

    def callbacks_owed(self, marks: Mapping[str, str]) -> list[str]:
        """Events whose sender waits for a call of ours; `marks` has the fingerprint of their Notice by source."""
        with self.database.reading() as transaction:
            return callbacks.owed(transaction, marks)

    def event_remarked(self, event_id: str, text: str) -> None:
        """An accepted event says how the call it asked for ended; it is owed no more."""
        self._written(lambda transaction: callbacks.remark(transaction, event_id, text))

    # -- the rule book in force, and silences

    def book_started(self, book: StoredBook, origin: Origin) -> bool:
        """A process started with this book; True when it is in force by that: see books.start."""
        return self._written(lambda transaction: books.start(transaction, book, origin))

    def book_taken(self, book: StoredBook, origin: Origin) -> bool:
        """This book is in force on every host; False when it was already."""
        return self._written(lambda transaction: books.take(transaction, book, origin))

    def reload_refused(self, problems: Sequence[Mapping[str, Any]], by: str, origin: Origin | None = None) -> None:
        """A reload was refused, with these problems; the book in force stays.

        Without an origin: a process could not take the book in force.
        """
        self._written(lambda transaction: books.refuse(transaction, problems, by, origin))

    def book_kept(self, book: StoredBook) -> None:
        """The book is on record, though another one is in force."""
        self._written(lambda transaction: books.keep(transaction, book))

    def files_seen(self, place: str) -> str | None:
        """The digest of the rules' files as they were last taken, or refused, from a place."""
        with self.database.reading() as transaction:
            return books.seen(transaction, place)

    def in_force(self) -> InForce:
        """Which book decides, and the numbers that say whether anything changed."""
        with self.database.reading() as transaction:
            return books.numbers(transaction)

    def rules_state(self) -> RulesState:
        """Since when which book decides, and what became of the last reload."""
        with self.database.reading() as transaction:
            return books.state(transaction)

    def book(self, book_hash: str) -> StoredBook | None:
        """A rule book on record, with the texts it is compiled from; None when there is none."""
        with self.database.reading() as transaction:
            return books.stored(transaction, book_hash)

    def parked_probed(self) -> frozenset[str]:
        """Lanes whose key or permission was refused may be tried now; which they are."""
        return self._written(lambda transaction: probes.unpark(transaction))

    def silence_added(self, silence: Silence) -> dict[str, Any]:
        """A silence holds; answers it as the API shows it."""

        def added(transaction: Transaction) -> dict[str, Any]:
            silences.add(transaction, silence)
            return silences.one(transaction, silence.id) or {}

        return self._written(added)

    def silence_ended(self, silence_id: str, by: str) -> dict[str, Any] | None:
        """A silence is over before its time, and stays on record; None when there is none of this id."""
        return self._written(lambda transaction: silences.end(transaction, silence_id, by))

    def silence(self, silence_id: str) -> dict[str, Any] | None:
        with self.database.reading() as transaction:
            return silences.one(transaction, silence_id)

    def silences(self, *, limit: int = silences.LIST_MAX, before: str | None = None) -> Page:
        """Silences: active and pending first, then those that are over."""
        with self.database.reading() as transaction:
            return silences.listed(transaction, limit=limit, before=before)

    def silences_standing(self) -> tuple[Silence, ...]:
        """Those that are not over."""
        with self.database.reading() as transaction:
            return silences.standing(transaction)

    def silence_preview(
        self, matches: Callable[[Alert], bool], *, criticals: bool, within: timedelta, reads_payload: bool
    ) -> Preview:
        """What a silence would have hidden lately."""
        payloads = self._payloads if reads_payload else None
        with self.database.reading() as transaction:
            return silences.preview(transaction, matches, payloads, criticals=criticals, within=within)

    def shadowed(
        self, within: timedelta, *, rules: Sequence[str] = (), most: int
    ) -> tuple[tuple[ShadowRule, ...], str | None]:
        """What shadow rules would have done, of the newest `most` alerts; and a sentence when there were more.

        `rules` are listed, too, when they did nothing.
        """
        with self.database.reading() as transaction:
            cut = shadows.is_cut(transaction, within, most)
            found = shadow_report(shadows.lines(transaction, within, cut), rules)
        return found, None if cut is None else f"only the newest {most:,} alerts were looked at"

    # -- people

    def replayed(self, delivery_id: str) -> str:
        """A dead letter waits in its lane again; answers the lane. Raises LetterError."""
        return self._written(lambda transaction: letters.replay(transaction, self.routes, self.new_id, delivery_id))

    def discarded(self, delivery_id: str, why: str) -> None:
        """A dead letter is put aside with a person's reason. Raises LetterError."""
        self._written(lambda transaction: letters.discard(transaction, self.routes, delivery_id, why))

    def replayed_mended(self, delivery_id: str, body: CreateBody) -> str:
        """A dead create waits in its lane again, with another body; answers the lane. Raises LetterError."""
        return self._written(
            lambda transaction: mended.replay_mended(transaction, self.routes, self.new_id, delivery_id, body)
        )

    def letter(self, delivery_id: str) -> mended.Letter | None:
        """A dead letter with what it holds; None when there is none of this id."""
        with self.database.reading() as transaction:
            return mended.letter(transaction, delivery_id)

    def dead_causes(self) -> list[dict[str, Any]]:
        """Dead letters counted by account, rule and reason."""
        with self.database.reading() as transaction:
            return desk.causes(transaction)

    def dead_letters(self, *, account: str, rule: str, reason: str, limit: int, before: str | None = None) -> Page:
        """The dead letters of one cause, newest first."""
        with self.database.reading() as transaction:
            return desk.letters(transaction, account=account, rule=rule, reason=reason, limit=limit, before=before)

    def opening_event(self, incident_id: str) -> tuple[str, int] | None:
        """The event that opened an incident, and the position of the alert in it."""
        with self.database.reading() as transaction:
            return desk.opening_event(transaction, incident_id)

    def incident_story(self, incident_id: str) -> dict[str, Any]:
        """Beside an incident's record: its newest reports, its flaps, its place in the lane."""
        with self.database.reading() as transaction:
            return {
                "reports": desk.reports(transaction, incident_id),
                "telling": desk.telling(transaction, incident_id),
                "place": desk.place(transaction, self.routes, self.paces, incident_id),
            }

    def finish_s(self, account: str, number: int) -> float | None:
        """In how many seconds the last of that many creates would go, put into their lane now."""
        with self.database.reading() as transaction:
            return desk.finish_s(transaction, self.routes, self.paces, account, number)

    def day(self) -> activity.Day:
        """The last 24 hours by the hour."""
        with self.database.reading() as transaction:
            return self._days.day(transaction)

    def troubles(self, book: str) -> dict[str, Any]:
        """What the first page says beside its numbers: templates that fail under this rule book, what is open."""
        with self.database.reading() as transaction:
            return {
                "templates": activity.broken_templates(transaction, book),
                "open": activity.open_by_account(transaction),
                "proven": reads.rfc3339(activity.last_proven(transaction)),
            }

    def probed(self, account: str) -> str | None:
        """An account that refused us is asked again at once. Its lane; None without such an account."""
        route = self.routes.get(account)
        if route is None:
            return None
        self._written(lambda transaction: probes.probe_now(transaction, self.routes, route.lane))
        return route.lane

    def incident_resolved(self, incident_id: str) -> hands.Done:
        """A person ends an incident: it is resolved upstream, or never sent. Raises IncidentError."""
        return self._written(lambda transaction: hands.resolve(transaction, self.routes, self.new_id, incident_id))

    def incident_detached(self, incident_id: str) -> hands.Done:
        """The bridge lets go of an incident; a folded one goes out by itself. Raises IncidentError."""
        return self._written(lambda transaction: hands.detach(transaction, self.routes, self.new_id, incident_id))

    def incident_resent(self, incident_id: str) -> hands.Done:
        """Whoever an incident pages is paged anew; answers the incident that is sent. Raises IncidentError."""
        return self._written(lambda transaction: hands.resend(transaction, self.routes, self.new_id, incident_id))

    def incident_noted(self, incident_id: str, text: str) -> hands.Done:
        """A person's note waits to be said in the upstream's incident. Raises IncidentError."""
        return self._written(lambda transaction: hands.note(transaction, self.routes, self.new_id, incident_id, text))

    def did(self, deed: Deed) -> None:
        """Somebody did something: a line of the audit."""
        self._written(lambda transaction: audit.did(transaction, self.new_id(), deed))

    def audit(
        self, *, limit: int, before: str | None = None, actor: str | None = None, action: str | None = None
    ) -> Page:
        """Who did what, newest first."""
        with self.database.reading() as transaction:
            return audit.entries(transaction, limit=limit, before=before, actor=actor, action=action)

    def guess(self, keys: Sequence[str]) -> bool:
        """One guess of a password is spent for each key; False, and nothing is, when one of them has none left."""
        with self.database.reading() as transaction:
            if not audit.may_guess_now(transaction, keys):
                return False
        return self._written(lambda transaction: audit.guess(transaction, keys))

    def guess_was_right(self, *, whole: str, one: str) -> None:
        """The password was right: one key has all its guesses again, the other the one that was spent."""
        self._written(lambda transaction: audit.was_right(transaction, whole=whole, one=one))

    def events(self, query: EventQuery) -> Page:
        with self.database.reading() as transaction:
            return reads.list_events(transaction, query)

    def event_lines(self, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        with self.database.reading() as transaction:
            return reads.event_alerts(transaction, ids)

    def event(self, event_id: str) -> dict[str, Any] | None:
        with self.database.reading() as transaction:
            return reads.one_event(transaction, event_id, self._payloads)

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
            return reads.list_incidents(
                transaction, state=state, account=account, live=live, limit=limit, before=before
            )

    def incident(self, incident_id: str) -> dict[str, Any] | None:
        with self.database.reading() as transaction:
            return reads.one_incident(transaction, incident_id)

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
            return reads.list_deliveries(
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
            return reads.one_delivery(transaction, self.routes, self.paces, delivery_id)

    def lanes(self, rates: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
        with self.database.reading() as transaction:
            return reads.list_lanes(transaction, self.routes, rates)

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

    def line(self, account: str) -> Line | None:
        """What one more create of an account would find in its lane; None when there is no such lane."""
        route = self.routes.get(account)
        if route is None:
            return None
        with self.database.reading() as transaction:
            return history.line(transaction, route)

    def alive(self, within: timedelta) -> list[dict[str, Any]]:
        with self.database.reading() as transaction:
            return reads.alive(transaction, within)

    def overview(self) -> Overview:
        """The numbers of the first page."""
        with self.database.reading() as transaction:
            return overview.overview(transaction)

    def paused(self, account: str) -> str | None:
        """An operator pauses the account's lane: nothing is sent. Its name; None without such an account."""
        return self._pause(account, pause=True)

    def resumed(self, account: str) -> str | None:
        """A paused lane goes on. Its name; None without such an account."""
        return self._pause(account, pause=False)

    def _pause(self, account: str, *, pause: bool) -> str | None:
        route = self.routes.get(account)
        if route is None:
            return None
        lane = route.lane
        self._written(lambda transaction: upkeep.pause(transaction, lane, pause=pause))
        return lane

    def is_writable(self) -> bool:
        """Whether a transaction that writes can be begun now."""
        try:
            with self.database.writing():
                return True
        except LedgerUnavailable:
            return False

    def time(self) -> datetime:
        """The database's clock."""
        with self.database.reading() as transaction:
            return transaction.now

    def close(self) -> None:
        """Close the connections."""
        self.database.close()
