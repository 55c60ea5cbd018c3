"""Alarms: telling a person that the bridge is in trouble, outside the lanes. By the clock; by web when it is silent.

The ledger says who tells what and when, so any number of processes may look. What cannot be told is tried again in a
minute; every alarm is in the log as well, whether there is somebody to tell or not.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bridge import wiring
from bridge.adapters import logs
from bridge.adapters.http import Http
from bridge.adapters.ledger import Ledger
from bridge.config.models import Settings
from bridge.destinations.base import Destination
from bridge.domain.alarms import SILENCES, Cause, CauseKind
from bridge.domain.delivery import Action, Delivered, Delivery, HttpRequest, HttpResponse, KeyIsOpen
from bridge.domain.names import Found, find

Tell = Callable[[Cause], str | None]  # None: somebody was told; else why not
LOOK_EVERY_S = 30.0
QUIET_S = 60.0  # after its own start a process says nothing: the others may be starting as well
LISTEN_S = 15.0  # for who seems silent, longer than from one heartbeat to the next: after a jump of the clock, or where
# the whole machine stood still for a while, the heartbeats of before look old, and everybody lives


@dataclass(slots=True)
class Alarms:
    """Looks for causes and tells them."""

    ledger: Ledger
    max_waits: Mapping[str, timedelta]
    tell: Tell | None = None  # None: nobody is configured, the log alone says it
    quiet_s: float = QUIET_S
    listen_s: float = LISTEN_S
    monotonic: Callable[[], float] = time.monotonic
    _made_at: float = field(init=False)
    _silent_since: dict[CauseKind, float] = field(default_factory=dict)  # as this process saw it, look for look

    def __post_init__(self) -> None:
        self._made_at = self.monotonic()

    def look(self) -> None:
        """Tell what holds now and was not told lately."""
        if self.monotonic() - self._made_at < self.quiet_s:
            return
        for cause in self.ledger.alarms_due(self.max_waits, self._certain):
            logs.get().error(logs.ALARM, cause=cause.kind, account=cause.about or None, text=cause.sentence)
            failure = None if self.tell is None else self.tell(cause)
            if failure is not None:
                self.ledger.alarm_unsaid(cause)
                logs.get().error(logs.ALARM_UNSAID, cause=cause.kind, account=cause.about or None, reason=failure)

    def look_without_clock(self) -> None:
        """The same, if no clock does it."""
        certain = self._certain(self.ledger.alarms_standing(self.max_waits))
        if any(cause.kind is CauseKind.NO_CLOCK for cause in certain):
            self.look()

    def _certain(self, standing: Sequence[Cause]) -> list[Cause]:
        """Those of all the causes that are to be believed now: of a silence, once it has been listened to."""
        now = self.monotonic()
        silent = [cause.kind for cause in standing if cause.kind in SILENCES]
        self._silent_since = {kind: self._silent_since.get(kind, now) for kind in silent}
        return [one for one in standing if now - self._silent_since.get(one.kind, -math.inf) >= self.listen_s]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToAddress:
    """Posts one JSON object per cause; `text` is what chat tools show."""

    url: str
    http: Http
    public_url: str

    def __call__(self, cause: Cause) -> str | None:
        """None when the address answered 2xx."""
        body = {
            "text": f"Incident Bridge: {cause.sentence}. {cause.advice[0].upper()}{cause.advice[1:]}.",
            "cause": cause.kind.value,
            "account": cause.about or None,
            "sentence": cause.sentence,
            "advice": cause.advice,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "bridge": self.public_url,
        }
        headers = {"Content-Type": "application/json"}
        answer = self.http.send(
            HttpRequest(method="POST", url=self.url, headers=headers, body=json.dumps(body).encode())
        )
        if isinstance(answer, HttpResponse):
            return None if 200 <= answer.status < 300 else f"the alarms' address answered {answer.status}"
        return answer.detail


@dataclass(frozen=True, slots=True, kw_only=True)
class ToAccount:
    """Opens an incident with an account's defaults; while it is open, the cause is told. One a day at incident.io."""

    destination: Destination
    ledger: Ledger
    http: Http

    def __call__(self, cause: Cause) -> str | None:
        """None when the incident is open."""
        now = datetime.now(UTC)
        digest = hashlib.sha256(f"{cause.key}\n{now.date().isoformat()}".encode()).hexdigest()
        fields = {
            **self.destination.defaults,
            self.destination.title_field: f"Incident Bridge: {cause.sentence}",
            self.destination.body_field: f"{cause.sentence}.\n{cause.advice}.",
        }
        ids: dict[str, str] = {}
        for name, about in self.destination.fields.items():
            if about.lookup is None or name not in fields:
                continue
            held = self.ledger.name_list(self.destination.account, about.lookup)
            found = None if held is None else find(fields[name], about.lookup, held.things)
            if isinstance(found, Found):
                ids[name] = found.thing.id
            elif about.required and held is None:
                self.ledger.fetch_wished(self.destination.account, about.lookup)
                return f"{about.lookup} '{fields[name]}' of '{self.destination.account}' is not known yet"
            elif about.required:
                return f"{about.lookup} '{fields[name]}' of '{self.destination.account}' does not exist there"
        delivery = Delivery(
            id=f"alarm-{digest[:20]}",
            incident=f"alarm-{digest[:20]}",
            account=self.destination.account,
            action=Action.CREATE,
            key=f"ib-alarm-{digest[:40]}",
            fields=fields,
            ids=ids,
            created_at=now,
            first_attempt_at=now,
        )
        try:
            request = self.destination.request_for(delivery, {})
        except ValueError as error:
            return str(error)
        result = self.destination.result_of(delivery, self.destination.masked(self.http.send(request)))
        return None if isinstance(result, Delivered | KeyIsOpen) else result.detail


def alarms_of(settings: Settings, ledger: Ledger, http: Http) -> Alarms:
    """The alarms of a process, told as the configuration says."""
    tell: Tell | None = None
    if settings.alarms.url:
        tell = ToAddress(url=settings.alarms.url, http=http, public_url=settings.server.public_url)
    elif settings.alarms.account:
        tell = ToAccount(destination=wiring.destinations(settings)[settings.alarms.account], ledger=ledger, http=http)
    max_waits = {name: account.max_wait for name, account in settings.accounts.items()}
    return Alarms(ledger, max_waits, tell)
