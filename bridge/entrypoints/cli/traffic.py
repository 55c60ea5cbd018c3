"""Webhooks for commands that read them again, from the ledger or a folder; files that are written; progress."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from bridge.adapters.files import write_bytes
from bridge.adapters.ids import made_at
from bridge.config import units
from bridge.config.models import Settings
from bridge.domain.alert import Reading, Webhook
from bridge.domain.errors import BridgeError, DecodeError
from bridge.entrypoints.cli import say
from bridge.entrypoints.cli.bodies import headers_of
from bridge.samples import BadPattern, Redactor
from bridge.sources.base import Source
from bridge.sources.body import HEADERS_SUFFIX

if TYPE_CHECKING:
    from bridge.adapters.ledger import Ledger, StoredEvent, Stretch
    from bridge.config.names_lock import Known

SAID_EVERY_S = 0.2  # on a terminal
SAID_EVERY = 5_000  # elsewhere
UNDATED = datetime(1970, 1, 1, tzinfo=UTC)  # of a file that is not named after an event

last_option = click.option("--last", type=click.IntRange(min=1), help="Only the newest N events.")
since_option = click.option("--since", help="Only events of this age or younger (7d, 24h), or since an instant.")
redact_option = click.option("--redact", "patterns", multiple=True, metavar="REGEX", help="Blot this out, too (RE2).")


class Unread(BridgeError):
    """A webhook that cannot be read again; the message says why."""


def ledger_if_there(settings: Settings) -> "Ledger | None":
    """The ledger, for names and lanes; None, with a sentence, where it cannot be asked: nothing is made for it."""
    from bridge import wiring

    place = settings.ledger.removeprefix("sqlite:///")
    if place != settings.ledger and not Path(place).exists():
        return None
    try:
        return wiring.open_ledger(settings)
    except BridgeError as error:
        say(f"without the ledger: {error}")
        return None


def names_known(settings: Settings, *, asks_ledger: bool) -> "Known":
    """The names that accounts are known to have; without the ledger those of names.lock.json. Raises ConfigError."""
    from bridge import wiring

    ledger = ledger_if_there(settings) if asks_ledger else None
    try:
        return wiring.known_names(settings, ledger)
    finally:
        if ledger is not None:
            ledger.close()


def stored_event(ledger: "Ledger", event_id: str) -> "StoredEvent":
    """An event with its body. Raises Unread."""
    stored = None if "\x00" in event_id else ledger.stored(event_id)
    if stored is None:
        raise Unread(f"there is no event '{event_id}'; see 'incident-bridge events'")
    if stored.body is None:
        raise Unread(f"the body of event {event_id} is gone: retention.bodies let go of it")
    return stored


def webhook_of(stored: "StoredEvent") -> Webhook:
    """A stored event as the webhook it was."""
    return Webhook(
        source=stored.source,
        headers=MappingProxyType(dict(stored.headers)),
        body=stored.body or b"",
        received_at=stored.received_at,
    )


def readings_in(sources: Mapping[str, Source], webhook: Webhook) -> tuple[Reading, ...]:
    """The readings of a webhook. Raises Unread when its source is gone, or cannot read it."""
    source = sources.get(webhook.source)
    if source is None:
        known = ", ".join(sorted(sources)) or "none"
        raise Unread(f"there is no source '{webhook.source}' in the configuration; sources: {known}")
    try:
        return source.alerts_in(webhook)
    except DecodeError as error:
        raise Unread(f"{webhook.source}: {error}") from error


def readings_of(sources: Mapping[str, Source], webhook: Webhook) -> tuple[Reading, ...] | None:
    """The same, for many: None where they cannot be read, to be counted."""
    try:
        return readings_in(sources, webhook)
    except Unread:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Webhooks with the ids of their events, oldest first; `number` counts those that lost their body as well."""

    webhooks: Iterable[tuple[str, Webhook]]
    number: int


@contextmanager
def traffic(settings: Settings, folder: Path | None, stretch: "Stretch") -> Iterator[Traffic]:
    """The webhooks of a stretch, from a folder that `export` wrote, else from the ledger."""
    from bridge import wiring

    if folder is not None:
        files = _bodies_in(folder, stretch)
        yield Traffic(webhooks=map(_webhook_in, files), number=len(files))
        return
    ledger = wiring.open_ledger(settings)
    try:
        stored = ((one.id, webhook_of(one)) for one in ledger.history(stretch))
        yield Traffic(webhooks=stored, number=ledger.history_size(stretch))
    finally:
        ledger.close()


def _bodies_in(folder: Path, stretch: "Stretch") -> list[Path]:
    """The body files of an export, in the order of the events they are named after. Raises Unread when there is none.

    A proof over nothing would hold: the folder of one source, or a checkout without the files, is no export.
    """
    found = [path for path in folder.glob("*/*") if path.is_file() and not path.name.endswith(HEADERS_SUFFIX)]
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise Unread(f"{folder} holds no event: name the folder that 'export' wrote; each source has a folder in it")
    if stretch.since is not None:
        found = [path for path in found if (made_at(path.stem) or UNDATED) >= stretch.since]
    found.sort(key=lambda path: (path.stem, path.parent.name))
    return found if stretch.last is None else found[-stretch.last :]


def _webhook_in(path: Path) -> tuple[str, Webhook]:
    received_at = made_at(path.stem) or UNDATED
    headers, body = MappingProxyType(headers_of(path)), path.read_bytes()
    webhook = Webhook(source=path.parent.name, headers=headers, body=body, received_at=received_at)
    return path.stem, webhook


class Progress:
    """How far a long run is, on stderr: one line that moves on a terminal, a line now and then elsewhere."""

    def __init__(self, what: str, number: int = 0) -> None:
        """`what` is counted, in the plural; of how many there are `reached` may tell more."""
        self.what, self.number, self.done = what, number, 0
        self._began = self._said = time.monotonic()
        self._moves = sys.stderr.isatty()

    def step(self) -> None:
        """One more."""
        self.reached(self.done + 1, self.number)

    def reached(self, done: int, number: int) -> None:
        """So many of so many."""
        passed = done // SAID_EVERY > self.done // SAID_EVERY
        self.done, self.number = done, number
        if self._moves:
            if time.monotonic() - self._said >= SAID_EVERY_S:
                self._said = time.monotonic()
                click.echo(f"\r{self._sentence()}", err=True, nl=False)
        elif passed:
            say(self._sentence())

    def end(self) -> None:
        """All done."""
        click.echo(f"{chr(13) if self._moves else ''}{self._sentence()}", err=True)

    def _sentence(self) -> str:
        rate = self.done / max(1e-9, time.monotonic() - self._began)
        return f"{self.done:,} of {max(self.number, self.done):,} {self.what}, {rate:,.0f}/s"


def since_instant(text: str) -> datetime:
    """An age such as 7d as an instant, or an instant as written. Raises a usage error."""
    try:
        return datetime.now(UTC) - units.duration(text)
    except (ValueError, OverflowError):
        pass  # not an age
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--since takes an age such as 7d or an instant, not '{text}'") from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def redactor_of(patterns: Sequence[str]) -> Redactor:
    """A redactor with patterns of the caller. Raises a usage error for one that cannot be used."""
    try:
        return Redactor(patterns=patterns)
    except BadPattern as error:
        raise click.UsageError(str(error)) from error


def written(files: Mapping[Path, bytes]) -> None:
    """The files are there, and the folders they lie in."""
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
