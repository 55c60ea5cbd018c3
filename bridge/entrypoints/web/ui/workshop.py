"""What the pages try things with: today's rules, the sources and accounts, and a way back in for a stored webhook."""

import io
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from bridge import wiring
from bridge.adapters.ledger import Ledger, StoredEvent
from bridge.adapters.ledger.mended import Letter
from bridge.adapters.ledger.rows import body_of
from bridge.config.models import Settings
from bridge.config.rule_files import RuleFiles
from bridge.destinations.base import Destination
from bridge.domain.alert import Alert, Status, Webhook
from bridge.domain.delivery import NamedThing, NameRef
from bridge.domain.incident import CreateBody, Refused
from bridge.domain.names import Found, find
from bridge.domain.transitions import on_replayed
from bridge.entrypoints import captured
from bridge.entrypoints.web.ui.trials import Trials
from bridge.explain.requests import without_credentials
from bridge.explain.values import Explanation
from bridge.pipeline import decide
from bridge.rules.book import RuleBook
from bridge.samples import Redactor
from bridge.sources.base import Source


class Unable(Exception):
    """What cannot be tried, for a reason that the message gives; `fields` are those it is about."""

    def __init__(self, why: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.fields = fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Anew:
    """What today's rules make of the alert behind a dead letter."""

    rule: str
    body: CreateBody
    same_key: bool  # False: it would be another incident, so its problems have to be reported again


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Everything to try things with.

    `receive` settles a webhook, or its alerts at some positions alone, as a new event and answers its id.
    """

    settings: Settings
    ledger: Ledger
    book: Callable[[], RuleBook]
    files: Callable[[], RuleFiles | None]  # what that book is compiled from
    sources: Mapping[str, Source]
    destinations: Mapping[str, Destination]
    receive: Callable[[Webhook, Collection[int] | None], str]
    trials: Trials

    # -- stored events

    def webhook(self, event_id: str) -> Webhook:
        """A stored event as the webhook it was. Raises Unable."""
        stored = self.ledger.stored(event_id)
        if stored is None:
            raise Unable(f"there is no event {event_id[:80]}")
        if stored.body is None:
            raise Unable("its body is no longer kept (retention.bodies)")
        return _webhook_of(stored)

    def explained(self, event_id: str) -> Explanation:
        """What today's rules say of a stored event; nothing is sent. Raises Unable."""
        webhook = self.webhook(event_id)
        readings = captured.read_again(self.sources, webhook)
        if isinstance(readings, str):
            raise Unable(readings)
        return wiring.explained(
            self.settings, self.book(), readings, source=webhook.source, event=event_id, ledger=self.ledger
        )

    def received_again(self, event_id: str, only: Collection[int] | None = None) -> str:
        """A stored webhook, or the alerts at these positions, is received once more, as a new event; its id.

        Raises Unable.
        """
        webhook = self.webhook(event_id)
        readings = captured.read_again(self.sources, webhook)
        if isinstance(readings, str):
            raise Unable(readings)
        return self.receive(replace(webhook, received_at=datetime.now(UTC)), only)

    def test_of(self, event_id: str) -> tuple[str, bytes]:
        """A stored event as a rule test: the name of a zip file, and its bytes. Raises Unable."""
        webhook = self.webhook(event_id)
        readings = captured.read_again(self.sources, webhook)
        if isinstance(readings, str):
            raise Unable(readings)
        redactor = Redactor()
        stem = captured.stem_of(webhook, readings, redactor, event_id[-6:].lower())
        about = f"Captured from event {event_id}, redacted."
        source = self.sources[webhook.source]
        files = captured.test_files(
            self.settings, self.book(), source, webhook, stem=stem, about=about, redactor=redactor
        )
        return f"{stem}.zip", zipped({str(path): content for path, content in files.items()})

    # -- dead letters

    def call_of(self, letter: Letter, body: CreateBody) -> dict[str, Any]:
        """The call that a letter with this body makes, without credentials. Raises Unable."""
        destination = self.destinations.get(letter.delivery.account)
        if destination is None:
            raise Unable(f"the account {letter.delivery.account} is not configured any more")
        ids = {}
        for ref in body.names:
            thing = self._thing(letter.delivery.account, ref)
            if thing is not None:
                ids[ref.field] = thing.id
        delivery = replace(
            letter.delivery, fields=body.fields, names=body.names, notes=body.notes, ids=MappingProxyType(ids)
        )
        kinds = destination.name_kinds_for(delivery)
        lists = {kind: self._things(letter.delivery.account, kind) for kind in kinds}
        try:
            request = without_credentials(destination.request_for(delivery, lists))
        except ValueError as error:
            raise Unable(f"this cannot be sent: {error}") from error
        unknown = [f"{ref.field} '{ref.text}'" for ref in body.names if ref.field not in ids and ref.within is None]
        return {
            "method": request.method,
            "url": request.url,
            "body": (request.body or b"").decode("utf-8"),
            "unknown": unknown,
        }

    def edited(self, letter: Letter, fields: Mapping[str, Any]) -> CreateBody:
        """A letter's body with other fields; names follow their texts. Raises Unable."""
        destination = self.destinations.get(letter.delivery.account)
        if destination is None:
            raise Unable(f"the account {letter.delivery.account} is not configured any more")
        lacking = [name for name, about in destination.fields.items() if about.required and not fields.get(name)]
        lacking = [name for name in lacking if letter.body.fields.get(name)]
        if lacking:
            raise Unable(f"a create does not go without {', '.join(lacking)}", tuple(lacking))
        known = {ref.field: ref for ref in letter.body.names}
        names = [ref for ref in letter.body.names if ref.field not in destination.fields]  # inside of mappings
        for name, value in fields.items():
            about = destination.fields.get(name)
            if about is None:
                raise Unable(f"{destination.type} has no field '{name}'", (name,))
            if name in known and isinstance(value, str):
                names.append(replace(known[name], text=value))
            elif about.lookup is not None and isinstance(value, str):
                names.append(NameRef(field=name, kind=about.lookup, text=value))
            elif name in known:
                names.append(known[name])
        return replace(letter.body, fields=MappingProxyType(dict(fields)), names=tuple(names), notes=())

    def rendered_anew(self, letter: Letter) -> "Anew":
        """What today's rules would open a letter's incident with. Raises Unable with the reason why they would not."""
        opening = self.ledger.opening_event(letter.incident.id)
        if opening is None:
            raise Unable("the event that opened it is not kept any more")
        webhook = self.webhook(opening[0])
        readings = captured.read_again(self.sources, webhook)
        if isinstance(readings, str):
            raise Unable(readings)
        reading = readings[opening[1]] if opening[1] < len(readings) else None
        if not isinstance(reading, Alert):
            raise Unable("the event that opened it reads otherwise today")
        firing = replace(reading, status=Status.FIRING)
        (decided,) = decide((firing,), self.book(), self.destinations)
        mine = [one for one in decided.decisions if one.account == letter.incident.account]
        if not mine:
            raise Unable(f"today's rules send this alert nowhere on {letter.incident.account}")
        chosen = next((one for one in mine if one.series == letter.incident.series), mine[0])
        return Anew(
            rule=chosen.rule,
            body=body_of(chosen, letter.incident.episode_id),
            same_key=chosen.series == letter.incident.series,
        )

    def reported_again(self, letter: Letter) -> str:
        """Each problem of a letter that fires still is reported once more, for today's rules; the last event of these.

        Raises Unable where that pages nobody: the letter is still to be seen to, then.
        """
        refused = on_replayed(letter.incident, letter.delivery.action, sent=letter.sent)
        if isinstance(refused, Refused):
            raise Unable(f"{refused.why}; discard it")
        by_event: dict[str, list[int]] = {}
        for event, position in self.ledger.last_firing(letter.incident.id):
            by_event.setdefault(event, []).append(position)
        if not by_event:
            raise Unable("the reports of its problems are not kept any more")
        account = letter.incident.account
        for event, positions in by_event.items():
            fresh = self.received_again(event, positions)
            alerts = (self.ledger.event(fresh) or {"alerts": ()})["alerts"]
            for position in positions:
                mine = [one for one in alerts[position]["decisions"] if one["account"] in (account, None)]
                if not any(one["incident"] for one in mine):
                    why = mine[0]["reason"] if mine else f"today's rules send it nowhere on {account}"
                    raise Unable(f"'{alerts[position]['title']}' was reported again, and {why}; see event {fresh}")
        return fresh

    def _things(self, account: str, kind: str) -> tuple[NamedThing, ...]:
        held = self.ledger.name_list(account, kind)
        return () if held is None else held.things

    def _thing(self, account: str, ref: NameRef) -> NamedThing | None:
        found = find(ref.text, ref.kind, self._things(account, ref.kind))
        return found.thing if isinstance(found, Found) else None


def _webhook_of(stored: StoredEvent) -> Webhook:
    return Webhook(
        source=stored.source,
        headers=MappingProxyType(dict(stored.headers)),
        body=stored.body or b"",
        received_at=stored.received_at,
    )


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Files as one zip archive, the same bytes for the same files."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(str(PurePosixPath(name))), files[name])
    return held.getvalue()
