"""One web process at work: its objects are made after the fork and closed before it ends."""

import gc
import sys
from functools import partial
from typing import Any

from bridge import wiring
from bridge.adapters import logs
from bridge.adapters.http import Http
from bridge.adapters.ledger.writer import Writer
from bridge.adapters.queue import Queue
from bridge.entrypoints.alarming import Watch, alarms_of
from bridge.entrypoints.beating import Pulse
from bridge.entrypoints.web import api, health, receiver, ui
from bridge.entrypoints.web.access import Gate
from bridge.entrypoints.web.app import create_app
from bridge.entrypoints.web.poker import Poker
from bridge.pipeline import decide

SWITCH_EVERY_S = 0.02
"""How often a thread that wants the interpreter lock asks for it. Every request that waits does, sixteen or sixty of
them, and for nothing: the writer lets go of the lock by itself at its next statement, a millisecond later.
"""
GC_EVERY = 20_000  # allocations; a webhook leaves no cycles behind, and looking for them costs a tenth of its time


class WebProcess:
    """Makes the application of a forked web process, and takes it down."""

    def __init__(self, loaded: wiring.Loaded) -> None:
        self._loaded = loaded
        self._running: tuple[Any, ...] | None = None

    def start(self) -> Any:
        """The WSGI application, with its ledger, writer thread and heartbeat running."""
        settings, book = self._loaded.settings, self._loaded.book
        logs.configure("web")
        gc.freeze()
        gc.set_threshold(GC_EVERY)
        sys.setswitchinterval(SWITCH_EVERY_S)
        ledger = wiring.open_ledger(settings)
        ledger.book_stored(book.hash, book.content)
        keeper, url = wiring.redis_of(settings)
        poker = Poker(Queue(url).poke)
        writer = Writer(ledger.settle, poker)
        pulse = Pulse(ledger, wiring.heartbeat("web"))
        pulse.start()
        watch = Watch(alarms_of(settings, ledger, Http(pool=1)))
        watch.start()
        self._running = (pulse, writer, poker, keeper, watch)
        gate = Gate(
            username=settings.ui.username,
            password_hash=settings.ui.password_hash,
            tokens=settings.ui.tokens,
            public_url=settings.server.public_url,
        )
        tally = health.Tally()
        rates = wiring.rates(settings)
        incoming = receiver.Receiver(
            sources=wiring.sources(settings, wiring.certificates()),
            decide=partial(decide, book=book, destinations=wiring.destinations(settings)),
            settle=writer.settle,
            new_id=ledger.new_id,
            book=book.hash,
            body_max_bytes=settings.server.max_body_bytes,
            count=tally.count,
        )
        rules = wiring.rules_listing(book)
        reading = api.Api(ledger=ledger, gate=gate, rates=rates, rules=lambda: rules, poke=poker)
        writable = health.Writable(ledger)
        pages = ui.Ui(
            ledger=ledger,
            gate=gate,
            rates=rates,
            rules=lambda: rules,
            book=book.hash,
            poke=poker,
            missing=lambda: health.not_ready(ledger, writable),
        )
        return create_app(
            (
                receiver.blueprint(incoming),
                api.blueprint(reading),
                health.blueprint(ledger, gate, tally, rates),
                ui.blueprint(pages),
            ),
            trusted_proxies=settings.server.trusted_proxies,
            session_key=wiring.session_key(settings),
            https=settings.server.public_url.startswith("https:"),
        )

    def stop(self) -> None:
        """Write what waits, poke what was written, take the heartbeat back."""
        if self._running is None:
            return
        pulse, writer, poker, keeper, watch = self._running
        self._running = None
        watch.stop()
        writer.close()
        poker.close()
        pulse.stop()
        if keeper is not None:
            keeper.stop()
