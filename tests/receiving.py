"""The receiver for tests: its real route, rules and writer over a ledger on disk, without a process around it."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from flask.testing import FlaskClient

from bridge import wiring
from bridge.adapters.ledger import Ledger, Receipt
from bridge.adapters.ledger.upgrade import upgrade
from bridge.adapters.ledger.writer import Writer
from bridge.entrypoints.web import receiver
from bridge.entrypoints.web.app import create_app
from bridge.entrypoints.web.keeper import Keeper
from bridge.sources.absent import is_absent
from bridge.sources.base import Certificate, Source
from tests.e2e.processes import ACCOUNTS, write_configuration

BODY_MAX_BYTES = 8 << 20


class Desk:
    """A receiver with these sources; a context manager that closes what it opened.

    `files` are put into its folder first, by their paths there.
    `certificate` is where signing certificates come from, `noted` sees each receipt on its way to the ledger.
    """

    def __init__(
        self,
        folder: Path,
        sources: Mapping[str, Any],
        *,
        certificate: Certificate | None = None,
        noted: Callable[[Receipt], Receipt] = lambda receipt: receipt,
        accounts: Mapping[str, Any] = ACCOUNTS,
        files: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        config = write_configuration(folder, sources=dict(sources), accounts=dict(accounts))
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        loaded = wiring.load(config)
        database = wiring.open_database(loaded.settings)
        upgrade(database)
        database.close()
        self.settings = loaded.settings
        self.ledger: Ledger = wiring.open_ledger(loaded.settings)
        self.ledger_ahead = timedelta(0)  # of this host's clock
        self.counted: list[tuple[str, str]] = []
        self.sources: dict[str, Source] = wiring.sources(loaded.settings, certificate)
        self._writer = Writer(self.ledger.settle, lambda _lanes: None)
        made = receiver.Receiver(
            sources=self.sources,
            ruling=Keeper(loaded, self.ledger).current,
            settle=lambda prepare: self._writer.settle(lambda: noted(prepare())),
            new_id=self.ledger.new_id,
            now=lambda: self.ledger.time_here() + self.ledger_ahead,
            body_max_bytes=BODY_MAX_BYTES,
            count=lambda source, what: self.counted.append((source, what)),
        )
        self.client: FlaskClient = create_app((receiver.blueprint(made),)).test_client()

    def post(self, source: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str] | None = None) -> Any:
        """Post one body; the answer."""
        return self.client.post(
            f"/webhooks/{source}", data=body, headers=list(headers.items()), query_string=dict(query or {})
        )

    def event(self, answer: Any) -> dict[str, Any]:
        """The event that an answer names, as the API shows it."""
        event = self.ledger.event(answer.get_json()["event"])
        assert event is not None
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self.ledger.close()


def told_as_it_is(text: str) -> bool:
    """Whether a text that a test draws says something: "null" and the leftovers of templates do not."""
    return not is_absent(text)
