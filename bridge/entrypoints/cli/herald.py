"""The one-shot process of `up` that says when everything runs, and with --demo what becomes of three alerts."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bridge.entrypoints.cli import config_option, say, tell
from bridge.entrypoints.cli.sending import post, sample_bytes
from bridge.entrypoints.cli.setup import names_checked

READY_WITHIN_S = 30.0
DEMO_WITHIN_S = 60.0
POLL_S = 0.1
DEMO_SAMPLES = ("critical", "firing", "warning")
FINAL = ("delivered", "adopted", "cancelled", "dead")


@click.command(hidden=True)
@click.option("--demo", is_flag=True)
@config_option
def herald(demo: bool, config: Path) -> int:
    """Say when the bridge is ready (part of `up`)."""
    from bridge import wiring
    from bridge.entrypoints.web.health import not_ready

    inherited = click.get_current_context().obj
    settings = wiring.load_settings(config) if inherited is None else inherited.settings
    ledger = wiring.open_ledger(settings)
    try:
        missing = _until(lambda: not_ready(ledger, ledger.is_writable), lambda found: not found, READY_WITHIN_S)
        address = f"http://{settings.server.reachable}"
        if missing or not _until(lambda: _answers(address), bool, READY_WITHIN_S):
            say(f"not ready after {READY_WITHIN_S:.0f} s: {'; '.join(missing) or 'the web process does not answer'}")
            return 1
        say(f"Incident Bridge runs at {address} (webhooks: POST {address}/webhooks/<source>)")
        if inherited is not None:
            for problem in names_checked(inherited, offline=False).problems:
                say(str(problem))
        if demo:
            _demo(settings, ledger, address)
    finally:
        ledger.close()
    say("Ctrl-C stops it; nothing that was accepted is lost")
    return 0


def _answers(address: str) -> bool:
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment does not know this machine's own addresses
            return session.get(f"{address}/healthz", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _demo(settings: Any, ledger: Any, address: str) -> None:
    """Post the samples to a source that takes them without a secret, and tell each one's way."""
    from bridge.sources.base import NoAuth

    open_sources = [
        name
        for name, one in settings.sources.items()
        if one.type == "generic" and isinstance(one.auth, NoAuth) and not one.settings
    ]
    if not open_sources:
        say("no demo: it needs a source of type generic with 'auth: none' and without 'fields'")
        return
    source = open_sources[0]
    say(f"demo: three alerts to {address}/webhooks/{source}")
    for sample in DEMO_SAMPLES:
        status, answer = post(address, source, sample_bytes("generic", sample), {"content-type": "application/json"})
        if status != 202:
            say(f"  {sample}: {status} {answer.get('error')}")
            continue
        tell(f"  {_story(ledger, str(answer['event']))}")


def _story(ledger: Any, event_id: str) -> str:
    """One line: the alert, its rule, its account, its incident, with a link."""
    alert = ledger.event(event_id)["alerts"][0]
    story = f"{alert['title']} -> {alert['outcome']}"
    if alert["rule"]:
        story = f"{alert['title']} -> rule {alert['rule']} -> {alert['decisions'][0]['account'] or 'nobody'}"
    if not alert["incident"]:
        return f"{story} ({alert['decisions'][0]['reason'] or alert['outcome']})" if alert["decisions"] else story

    def told() -> Any:
        return ledger.incident(alert["incident"])

    incident = _until(told, lambda found: found["deliveries"][0]["state"] in FINAL, DEMO_WITHIN_S)
    create = incident["deliveries"][0]
    if incident["upstream"]["id"]:
        link = incident["upstream"]["url"] or f"incident {incident['upstream']['id']}"
        return f"{story} -> {alert['outcome']}: {link}"
    return f"{story} -> {create['state']} ({create['reason'] or 'waiting'}): incident {incident['id']}"


def _until(ask: Callable[[], Any], enough: Callable[[Any], bool], within_s: float) -> Any:
    deadline = time.monotonic() + within_s
    found = ask()
    while not enough(found) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        found = ask()
    return found
