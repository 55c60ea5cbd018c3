"""Rule tests run here: the code of production on a ledger in memory, a clock of its own, and stand-ins in this process.

A Stage plays one Case: webhooks are read, decided and settled, lanes are drained and retried as time goes by, and the
upstreams answer as the case says. Nothing waits: the clock jumps to where something is due.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, exists, or_, select

from bridge import wiring
from bridge.adapters.http import Http
from bridge.adapters.ledger import Ledger, receipt
from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.engine import Database
from bridge.adapters.ledger.schema import UNFINISHED, deliveries, metadata
from bridge.config.names_lock import read_lock
from bridge.config.rule_tests import Answer, Case, Expect, Send, Step
from bridge.destinations.base import Destination
from bridge.domain.alert import Alert, Notice, Webhook
from bridge.domain.decision import Decided, Decision
from bridge.domain.delivery import HttpRequest, HttpResponse, NamedThing, NoAnswer, Reason
from bridge.domain.errors import DecodeError, Place
from bridge.entrypoints.worker import Drainer
from bridge.pipeline import decide
from bridge.rules.coverage import Coverage
from bridge.rules.expectations import changed, differences, shown
from bridge.sandbox import clock
from bridge.sandbox.app import Sandbox
from bridge.sandbox.calls import Deed, Scripted
from bridge.sandbox.limits import Rates
from bridge.sandbox.pages import state_of
from bridge.sandbox.store import APIS, Record

UNLIMITED = Rates(pagerduty=None, pagerduty_create=None, incident_io=None, incident_io_create=None)
OPEN = frozenset({"triggered", "acknowledged", "triage", "live", "paused"})
BEGINS_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)  # every case
ROUNDS_MAX = 20_000  # looks at the lanes in one case
STEPS_S = ((120, 1.0), (3600, 10.0), (float("inf"), 300.0))  # how far the clock jumps, by how long nothing happened
FROM = "incident-bridge@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """One expectation that does not hold."""

    place: Place
    at: timedelta
    sentences: tuple[str, ...]
    today: tuple[tuple[tuple[Any, ...], Any], ...] = ()  # what would hold: (path in the expectation, value)
    yours: tuple[str, ...] = ()  # those of the sentences that no value written there would mend


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What became of one case."""

    case: Case
    misses: tuple[Miss, ...]
    matched: frozenset[str]  # rules that matched any alert of it


class _VirtualDatabase(Database):
    """A ledger in memory whose time is the case's."""

    virtual: datetime = BEGINS_AT

    def now(self, connection: Connection) -> datetime:  # noqa: ARG002 - the parent's signature
        return self.virtual


_IS_UNFINISHED = or_(*(deliveries.c.state == state for state in UNFINISHED))
_OWED = Statement(select(exists().where(_IS_UNFINISHED).label("is_owed")))


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


class _Died(BaseException):
    """The worker of the case dies here, between the upstream's answer and writing it down."""


class _Line:
    """The socket a stand-in hangs up."""

    def __init__(self) -> None:
        self.is_cut = False

    def shutdown(self, _how: int) -> None:
        """The stand-in drops the call."""
        self.is_cut = True


class _InProcess(Http):
    """Calls that go to stand-ins of this process: one sandbox per account, so that each answers for itself."""

    def __init__(self, sandboxes: Mapping[str, Sandbox]) -> None:
        self._clients = {name: one.app.test_client() for name, one in sandboxes.items()}
        self.to_come: Mapping[str, deque[tuple[Step, Answer]]] = {name: deque() for name in sandboxes}  # one a call

    def send(self, request: HttpRequest) -> HttpResponse | NoAnswer:
        """One call."""
        url = urlsplit(request.url)
        account, _, path = url.path.lstrip("/").partition("/")
        line = _Line()
        answer = self._clients[account].open(
            f"/{path}?{url.query}" if url.query else f"/{path}",
            method=request.method,
            headers=list(request.headers.items()),
            data=request.body,
            environ_overrides={"bridge.sandbox.socket": line},
        )
        told = self.to_come[account]
        if told and told.popleft()[1].crash:
            raise _Died
        if line.is_cut:
            return NoAnswer(reason=Reason.CONNECTION_LOST, sent=True, detail="the answer was lost")
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return HttpResponse(status=answer.status_code, headers=headers, body=answer.data)

    def close(self) -> None:
        """Nothing: no connection is kept between two calls."""


class Stage:
    """Everything the cases of one configuration are played on; made once, swept between them, closed by its owner."""

    def __init__(self, loaded: wiring.Loaded) -> None:
        self._settings, self._book = loaded.settings, loaded.book
        self._sources = wiring.sources(loaded.settings)
        own = wiring.destinations(loaded.settings)
        self._sandboxes = {name: Sandbox(rates=UNLIMITED) for name in own}
        self._destinations = {name: _here(name, one) for name, one in own.items()}
        self._http = _InProcess(self._sandboxes)
        self._routes = wiring.routes(loaded.settings)
        self._database = _VirtualDatabase("sqlite://")
        self._empty = self._empty_ledger()
        self.coverage = Coverage(loaded.book)

    def close(self) -> None:
        """Let go of the ledger in memory and of the stand-ins."""
        self._database.close()
        for sandbox in self._sandboxes.values():
            sandbox.close()

    def play(self, case: Case) -> Played:
        """Play one case from an empty ledger."""
        database = self._database  # one for all: statements stay compiled
        database.virtual = BEGINS_AT
        with database.engine.connect() as connection:
            _driver(connection).deserialize(self._empty)
        for sandbox in self._sandboxes.values():
            sandbox.store.reset()
            sandbox.script.clear()
        for told in self._http.to_come.values():
            told.clear()
        ledger = Ledger(database, self._routes)
        drainer = Drainer(ledger, self._destinations, self._http)
        playing = _Playing(stage=self, case=case, database=database, ledger=ledger, drainer=drainer)
        try:
            return playing.result()
        finally:
            clock.set_ahead(timedelta(0))

    def decided(self, send: Send, now: datetime) -> tuple[Webhook, tuple[Decided, ...]]:
        """What the rules say of a webhook. Raises DecodeError."""
        webhook = Webhook(source=send.source, headers=send.headers, body=send.body, received_at=now)
        readings = self._sources[send.source].alerts_in(webhook)
        for reading in readings:
            if isinstance(reading, Alert):
                self.coverage.take(reading)
        return webhook, decide(readings, self._book, self._destinations)

    @property
    def book_hash(self) -> str:
        """Of the rules that are tested."""
        return self._book.hash

    def scripted(self, step: Step, answer: Answer) -> None:
        """The next call of an account that nothing is said of yet is answered so."""
        deed = Deed(
            effect=answer.lost or answer.status is None or (answer.status < 300 and answer.body is None),
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
            drop=answer.lost,
        )
        self._sandboxes[answer.account].script.add(Scripted(api=None, method=None, path_prefix="", times=1, deed=deed))
        self._http.to_come[answer.account].append((step, answer))

    def unused(self) -> list[tuple[Step, Answer]]:
        """The answers that no call was given, in the order of the case."""
        left = [one for told in self._http.to_come.values() for one in told]
        return sorted(left, key=lambda one: one[0].place)

    def records(self, account: str | None) -> list[Record]:
        """The incidents at the upstreams of one account, or of all."""
        names = [account] if account is not None else sorted(self._sandboxes)
        return [record for name in names for api in APIS for record in self._sandboxes[name].store.records(api)]

    def _empty_ledger(self) -> bytes:
        """A ledger in which nothing happened yet, but every lane and every name is known."""
        metadata.create_all(self._database.engine)
        ledger = Ledger(self._database, self._routes)
        ledger.lanes_ensured()
        for (account, kind), things in self._known_names().items():
            ledger.names_stored(account, kind, things)
        with self._database.engine.connect() as connection:
            content: bytes = _driver(connection).serialize()
        return content

    def _known_names(self) -> dict[tuple[str, str], list[NamedThing]]:
        """The stand-ins' own names; those of names.lock.json and of the rules are other names of the first entry."""
        lock = read_lock(self._settings.rules_dir)
        known: dict[tuple[str, str], list[NamedThing]] = {}
        for account, destination in self._destinations.items():
            for kind in destination.name_kinds:
                things = _all_names(destination, kind, self._http)
                meant = [use.text for use in self._book.names if (use.account, use.kind) == (account, kind)]
                meant += [text for name, text in destination.defaults.items() if _kind(destination, name) == kind]
                meant += [one.name for one in (lock.lists.get((account, kind), ()) if lock is not None else ())]
                taken = {word for one in things for word in (one.id, one.name, *one.aliases)}
                others = tuple(dict.fromkeys(text for text in meant if text not in taken))
                if things and others:
                    things[0] = replace(things[0], aliases=(*things[0].aliases, *others))
                known[account, kind] = things
        return known


@dataclass(slots=True, kw_only=True)
class _Playing:
    """One case on its way."""

    stage: Stage
    case: Case
    database: _VirtualDatabase
    ledger: Ledger
    drainer: Drainer
    elapsed: timedelta = timedelta(0)
    rounds: int = 0
    last: tuple[Decided, ...] = ()  # of the last webhook
    matched: set[str] = field(default_factory=set)
    misses: list[Miss] = field(default_factory=list)

    def result(self) -> Played:
        """Play all steps."""
        began = self.database.virtual
        steps = self.case.steps
        for step, following in zip(steps, (*steps[1:], None), strict=True):
            self._pass_time(began, step.at)
            match step.what:
                case Send() as send:
                    self._send(send, step)
                case Answer() as answer:
                    self.stage.scripted(step, answer)
                case Expect(wanted=wanted):
                    found = tuple(self._differences(wanted))
                    if found:
                        today, yours = tuple(self._today(wanted)), tuple(self._yours(wanted))
                        self.misses.append(
                            Miss(place=step.place, at=step.at, sentences=found, today=today, yours=yours)
                        )
            if not _is_answer_at(following, step.at):  # else what was sent at this moment is to meet it
                self._drain()
        for step, answer in self.stage.unused():
            sentence = f"no call of account '{answer.account}' met it: put it beside the 'send' that leads to one"
            self.misses.append(Miss(place=step.place, at=step.at, sentences=(sentence,), yours=(sentence,)))
        return Played(case=self.case, misses=tuple(self.misses), matched=frozenset(self.matched))

    # -- time

    def _pass_time(self, began: datetime, until: timedelta) -> None:
        """Let the clock run up to a step, and everything that is due meanwhile happen."""
        quiet_since = self.elapsed
        while self.elapsed < until and self.rounds < ROUNDS_MAX:
            quiet_s = (self.elapsed - quiet_since).total_seconds()
            jump = next(step for limit, step in STEPS_S if quiet_s < limit) if self._is_owed() else float("inf")
            self.elapsed = min(until, self.elapsed + timedelta(seconds=min(jump, 1e9)))
            self.database.virtual = began + self.elapsed
            clock.set_ahead(self.database.virtual - datetime.now(UTC))
            if self._drain():
                quiet_since = self.elapsed
        self.elapsed = max(self.elapsed, until)
        self.database.virtual = began + self.elapsed
        clock.set_ahead(self.database.virtual - datetime.now(UTC))

    def _is_owed(self) -> bool:
        """Whether anything is to be told to an upstream, now or later."""
        with self.database.reading() as transaction:
            return bool(_OWED.rows(transaction.connection)[0]["is_owed"])

    def _drain(self) -> bool:
        """Whatever is due now; whether anything was."""
        worked = False
        while (lanes := self.ledger.due_lanes(64)) and self.rounds < ROUNDS_MAX:
            self.rounds += 1
            worked = True
            for lane in lanes:
                try:
                    self.drainer.drain(lane)
                except _Died:
                    continue  # its lease ends by itself
        self.rounds += 1
        return worked

    # -- steps

    def _send(self, send: Send, step: Step) -> None:
        now = self.database.virtual
        try:
            webhook, self.last = self.stage.decided(send, now)
        except DecodeError as error:
            sentence = f"the source '{send.source}' cannot read it: {error}"
            self.misses.append(Miss(place=step.place, at=step.at, sentences=(sentence,), yours=(sentence,)))
            return
        self.matched |= {rule for one in self.last for rule in one.matched}
        one = receipt(
            event_id=self.ledger.new_id(),
            source=send.source,
            received_at=now,
            headers={},
            body=webhook.body,
            packed_body=b"",
            decided=self.last,
            book=self.stage.book_hash,
        )
        self.ledger.settle([one])

    def _differences(self, wanted: Mapping[str, Any]) -> Iterator[str]:
        account = wanted.get("account")
        records = self.stage.records(account)
        counted = self._counted(account)
        for name in (name for name in counted if name in wanted):  # in one order, whoever asks again
            if wanted[name] != counted[name]:
                titles = "; ".join(f"{_title(record)} ({state_of(record)})" for record in records) or "none"
                yield f"{name} is {counted[name]}, wanted {wanted[name]}; incidents there: {titles}"
        if "matched" in wanted:
            yield from self._matched(wanted["matched"])
        if "because" in wanted:
            yield from self._because(wanted["because"])
        if "request" in wanted:
            yield from self._request(wanted["request"], account)

    def _counted(self, account: str | None) -> dict[str, int]:
        states = [state_of(record) for record in self.stage.records(account)]
        open_ = sum(state in OPEN for state in states)
        return {"created": len(states), "open": open_, "resolved": len(states) - open_}

    def _today(self, wanted: Mapping[str, Any]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """What each part of an expectation that does not hold would have to be."""
        account = wanted.get("account")
        for name, count in self._counted(account).items():
            if name in wanted and wanted[name] != count:
                yield (name,), count
        if "matched" in wanted and any(self._matched(wanted["matched"])):
            yield ("matched",), next((rule for one in self.last for rule in one.matched), None)
        if "because" in wanted and any(self._because(wanted["because"])):
            for rule, condition in self._refusals()[:1]:
                today = {"rule": rule, "condition": condition}
                yield from (((("because", key)), today[key]) for key in wanted["because"] if key in today)
        if "request" in wanted and any(self._request(wanted["request"], account)):
            for decision in self._opened(account)[-1:]:
                yield from changed(wanted["request"], {"incident": dict(decision.fields)}, ("request",))

    def _yours(self, wanted: Mapping[str, Any]) -> Iterator[str]:
        """What of an expectation does not hold and has no value today."""
        account = wanted.get("account")
        if "because" in wanted and not self._refusals():
            yield from self._because(wanted["because"])
        if "request" in wanted and not self._opened(account):
            yield from self._request(wanted["request"], account)

    def _refusals(self) -> list[tuple[str, str]]:
        """The rules that said no to the last webhook, each with the condition that did."""
        tried = [match for one in self.last for match in one.tried]
        return list(dict.fromkeys((one.rule, one.failed.condition) for one in tried if one.failed is not None))

    def _opened(self, account: str | None) -> list[Decision]:
        """What the last webhook opens at an account, or at any."""
        return [one for each in self.last for one in each.decisions if account in (None, one.account)]

    def _matched(self, rule: str | None) -> Iterator[str]:
        found = list(dict.fromkeys(rule for one in self.last for rule in one.matched))
        if (rule is None and found) or (rule is not None and rule not in found):
            nearest = [_told(one) for one in self.last]
            yield f"matched is {shown(found[0] if found else None)}, wanted {shown(rule)}; {'; '.join(nearest)}"

    def _because(self, wanted: Mapping[str, Any]) -> Iterator[str]:
        failed = self._refusals()
        for rule, condition in failed:
            if wanted.get("rule", rule) == rule and wanted.get("condition", condition) == condition:
                return
        why = ", ".join(f"{rule} by {condition}" for rule, condition in failed) or "no rule said no"
        yield f"because is not {shown(dict(wanted))}: {why}"

    def _request(self, wanted: Any, account: str | None) -> Iterator[str]:
        """Any of the incidents opened may be meant; the last one is told about."""
        told = [
            list(differences(wanted, {"incident": dict(decision.fields)}, "request"))
            for decision in self._opened(account)
        ]
        if not told:
            yield f"request: nothing would be opened, wanted {shown(wanted)}"
        elif all(told):
            yield from told[-1]


def _is_answer_at(step: Step | None, at: timedelta) -> bool:
    return step is not None and isinstance(step.what, Answer) and step.at <= at


def _told(one: Decided) -> str:
    """Why the rules decided as they did about one reading."""
    if isinstance(one.reading, Notice):
        return f"no problem report: {one.reading.reason}"
    missed = [f"{match.rule} by {match.failed.condition}" for match in one.tried if match.failed is not None]
    return f"'{one.reading.title[:60]}' was refused by {', '.join(missed[:5])}" if missed else "no rule said no"


def _title(record: Record) -> str:
    return str(record.incident.get("title") or record.incident.get("name") or "")[:60]


def _here(name: str, destination: Any) -> Destination:
    """The account, at a stand-in of this process."""
    path = "pagerduty" if destination.type == "pagerduty" else "incident-io"
    here: dict[str, Any] = {"base_url": f"http://rehearsal.invalid/{name}/{path}", "token": "sandbox"}
    if destination.type == "pagerduty":
        here["from_"] = FROM  # whom the stand-in knows
    moved: Destination = replace(destination, **here)
    return moved


def _kind(destination: Destination, name: str) -> str | None:
    about = destination.fields.get(name)
    return None if about is None else about.lookup


def _all_names(destination: Destination, kind: str, http: Http) -> list[NamedThing]:
    things: list[NamedThing] = []
    cursor: str | None = None
    while True:
        request = destination.names_request(kind, cursor)
        answer = http.send(request)
        page = destination.names_in(kind, request, answer) if isinstance(answer, HttpResponse) else None
        if page is None:
            return things
        things += page.things
        cursor = page.next_cursor
        if cursor is None:
            return things
