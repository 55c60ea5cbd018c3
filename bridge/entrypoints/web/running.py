"""One web process at work: its objects are made after the fork and closed before it ends."""

import gc
import os
import sys
from functools import partial
from typing import Any

from bridge import wiring
from bridge.adapters import logs
from bridge.adapters.http import Http
from bridge.adapters.ledger.writer import Writer
from bridge.adapters.queue import Queue
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.alarming import LOOK_EVERY_S, alarms_of
from bridge.entrypoints.beating import Pulse
from bridge.entrypoints.reloading import Reloader
from bridge.entrypoints.repeating import Repeating
from bridge.entrypoints.web import api, health, receiver, ui
from bridge.entrypoints.web.access import gate_of
from bridge.entrypoints.web.app import create_app
from bridge.entrypoints.web.keeper import Bell, Keeper, Rounds, Watcher
from bridge.entrypoints.web.metrics import Flushing
from bridge.entrypoints.web.poker import Poker
from bridge.entrypoints.web.reloads import reload_families
from bridge.entrypoints.web.ui.trials import Trials
from bridge.entrypoints.web.ui.workshop import Workshop
from bridge.entrypoints.web.unsilencing import LOOK_EVERY_S as UNSILENCING_EVERY_S
from bridge.entrypoints.web.unsilencing import Unsilencing
from bridge.entrypoints.web.waiting import Waiting

SWITCH_EVERY_S = 0.02
"""How often a thread that wants the interpreter lock asks for it. Every request that waits does, sixteen or sixty of
them, and for nothing: the writer lets go of the lock by itself at its next statement, a millisecond later.
"""
GC_EVERY = 20_000  # allocations; a webhook leaves no cycles behind, and looking for them costs a tenth of its time


class WebProcess:
    """Makes the application of a forked web process, and takes it down. A `bell` in the parent asks for a reload."""

    def __init__(self, loaded: wiring.Loaded, bell: Bell | None = None) -> None:
        self._loaded, self._bell = loaded, bell
        self._running: tuple[Any, ...] | None = None
        self._waiting: Waiting | None = None

    def start(self) -> Any:
        """The WSGI application, with its ledger, writer thread and heartbeat running, or what waits for the ledger."""
        logs.configure("web")
        gc.freeze()
        gc.set_threshold(GC_EVERY)
        sys.setswitchinterval(SWITCH_EVERY_S)
        try:
            return self._application()
        except LedgerUnavailable as error:
            logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error))
            self._waiting = Waiting(self._application, error)
            self._waiting.start()
            return self._waiting

    def _application(self) -> Any:
        """The WSGI application with all that runs beside it. Raises LedgerUnavailable, with nothing left running."""
        settings = self._loaded.settings
        ledger = wiring.ledger_of(self._loaded)
        rules = Keeper(self._loaded, ledger)
        try:
            rules.look()
        except LedgerUnavailable:
            ledger.close()
            raise
        keeper, url = wiring.redis_of(settings)
        poker = Poker(Queue(url).poke)
        writer = Writer(ledger.settle, poker)
        storing = health.Storing(writer.settle)
        pulse = Pulse(ledger, wiring.heartbeat("web"))
        pulse.start()
        watch = Repeating("alarms", alarms_of(settings, ledger, Http(pool=1)).look_without_clock, LOOK_EVERY_S)
        watch.start()

        def took(lanes: frozenset[str]) -> None:
            rules.look()
            poker(lanes)

        reloader = Reloader(self._loaded, ledger, took)
        rounds = Rounds(rules, reloader, self._bell, self._watcher(ledger, reloader))
        rounds.start()
        gate = gate_of(settings.ui, settings.server.public_url, ledger)
        tally = health.Tally()
        flushing = Flushing(tally, ledger)
        flushing.start()
        rates = wiring.rates(settings)
        incoming = receiver.Receiver(
            sources=wiring.sources(settings, wiring.certificates()),
            ruling=rules.current,
            settle=storing,
            new_id=ledger.new_id,
            now=ledger.time_here,
            body_max_bytes=settings.server.max_body_bytes,
            count=tally.count,
        )
        unsilencing = Repeating("unsilencing", Unsilencing(ledger, incoming).look, UNSILENCING_EVERY_S, at_once=True)
        unsilencing.start()
        self._running = (pulse, writer, poker, keeper, watch, flushing, rounds, unsilencing)
        reading = api.Api(
            ledger=ledger,
            gate=gate,
            rates=rates,
            rules=lambda: wiring.rules_listing(rules.current().book),
            poke=poker,
            keeper=rules,
            reloader=reloader,
        )
        missing = partial(health.not_ready, ledger, health.Writable(ledger), storing.trouble)
        pages = ui.Ui(
            ledger=ledger,
            gate=gate,
            rates=rates,
            rules=lambda: wiring.rules_listing(rules.current().book),
            book=lambda: rules.current().hash,
            keeper=rules,
            reloader=reloader,
            poke=poker,
            missing=missing,
            workshop=Workshop(
                settings=settings,
                ledger=ledger,
                book=lambda: rules.current().book,
                sources=incoming.sources,
                destinations=wiring.destinations(settings),
                receive=partial(receiver.taken_again, incoming),
                files=rules.files,
                trials=Trials(settings.config_path, rules.files),
            ),
            sandboxed=frozenset(name for name, account in settings.accounts.items() if account.sandbox),
        )
        return create_app(
            (
                receiver.blueprint(incoming),
                api.blueprint(reading),
                health.blueprint(ledger, missing, gate, tally, rates, lambda: reload_families(ledger.rules_state())),
                ui.blueprint(pages),
            ),
            trusted_proxies=settings.server.trusted_proxies,
            session_key=wiring.session_key(settings),
            https=settings.server.public_url.startswith("https:"),
        )

    def _watcher(self, ledger: Any, reloader: Reloader) -> Watcher | None:
        """Under `up` files are taken as they change."""
        if not os.environ.get(wiring.WATCH_VARIABLE):
            return None
        settings = self._loaded.settings
        return Watcher(
            (settings.rules_dir, settings.templates_dir),
            settings.var_dir / "watch.lock",
            lambda: ledger.files_seen(reloader.place) != wiring.rules_digest(settings),
        )

    def stop(self) -> None:
        """Write what waits, poke what was written, take the heartbeat back."""
        if self._waiting is not None:
            self._waiting.stop()
        if self._running is None:
            return
        pulse, writer, poker, keeper, watch, flushing, rounds, unsilencing = self._running
        self._running = None
        watch.stop()
        unsilencing.stop()
        rounds.stop()
        writer.close()
        poker.close()
        flushing.stop()
        pulse.stop()
        if keeper is not None:
            keeper.stop()
