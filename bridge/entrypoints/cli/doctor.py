"""`doctor`: every part looked at, each line with what to do."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from bridge.adapters.http import Http
from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.upgrade import SchemaError, odd_encoding
from bridge.config.models import Settings
from bridge.destinations.base import Destination
from bridge.destinations.checkup import SKEW_MAX
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.incident_io_checkup import checkup as incident_io_checkup
from bridge.destinations.pagerduty import PagerDuty
from bridge.destinations.pagerduty_checkup import checkup as pagerduty_checkup
from bridge.domain.checkup import Finding, Health, odd, well, wrong
from bridge.domain.delivery import HttpRequest, HttpResponse, NoAnswer
from bridge.domain.errors import BridgeError, ConfigError, Grade
from bridge.entrypoints.cli import PROBLEMS_FOUND, config_option, json_option, say, tell
from bridge.entrypoints.cli.setup import names_checked
from bridge.entrypoints.cli.tables import age, counted, printed

FREE_MIN_BYTES = 1 << 30
REDIS_TRIED_KEY = "ib:doctor"
REDIS_TIMEOUT_S = 3.0
_MARKS = {Health.OK: "ok", Health.WARNING: "warning", Health.PROBLEM: "PROBLEM"}


@click.command()
@json_option
@config_option
def doctor(as_json: bool, config: Path) -> int:
    """Look at everything a page depends on: configuration, ledger, Redis, processes, and each account at its upstream.

    Asks the upstreams a harmless question or two and writes nothing. Exit code 1: something needs mending.
    """
    found: list[Finding] = []
    for finding in _everything(config):
        found.append(finding)
        if not as_json:
            _said(finding)
    wrongs = sum(finding.health is Health.PROBLEM for finding in found)
    if as_json:
        lines = [
            {"part": one.part, "health": one.health, "sentence": one.sentence, "advice": one.advice} for one in found
        ]
        printed({"findings": lines, "ok": not wrongs})
    elif wrongs:
        say(counted(wrongs, "problem"))
    return PROBLEMS_FOUND if wrongs else 0


def _said(finding: Finding) -> None:
    tell(f"{_MARKS[finding.health]:<9}{finding.part}: {finding.sentence}")
    if finding.advice:
        tell(f"{'':<9}  {finding.advice}")


def _everything(config: Path) -> Iterator[Finding]:
    from bridge import wiring

    try:
        loaded = wiring.load(config)
    except ConfigError as error:
        for problem in error.problems:
            if problem.grade is Grade.ERROR:
                yield wrong("config", f"{problem.place}: {problem.message}", problem.hint)
        return
    settings = loaded.settings
    held = (("source", settings.sources), ("account", settings.accounts), ("rule", loaded.book.rules))
    yield well("config", ", ".join(counted(len(every), one) for one, every in held))
    for problem in loaded.warnings:
        yield odd("config", f"{problem.place}: {problem.message}", problem.hint)
    if not settings.alarms.url and not settings.alarms.account:
        yield odd("alarms", "nobody hears when the bridge itself is in trouble", "give 'alarms:' a url or an account")
    yield from _names(loaded)
    yield from _ledger(settings)
    yield from _redis(settings)
    with closing(Http()) as http:
        yield from _accounts(settings, http)
    yield from _plans_b(settings)


def _accounts(settings: Settings, http: Http) -> Iterator[Finding]:
    """What each account answers to a harmless question."""
    from bridge import wiring

    for name, destination in sorted(wiring.destinations(settings).items()):
        looked = _account(destination, http)
        if settings.accounts[name].sandbox:
            part = f"account {name}"
            yield odd(part, "talks to the built-in sandbox: no page leaves this machine", "give it a token")
            if not any(one.health is Health.OK for one in looked):
                yield odd(part, "and the sandbox does not run now", "it does while 'incident-bridge up' runs")
                continue
        yield from looked


def _plans_b(settings: Settings) -> Iterator[Finding]:
    """Where critical incidents go when an account stands still, and whether that is another upstream at all."""
    for name, account in sorted(settings.accounts.items()):
        if account.plan_b is None:
            continue
        part, other = f"account {name}", settings.accounts[account.plan_b]
        after = age(account.plan_b_after.total_seconds())
        if other.type == account.type:
            sentence = f"its plan B '{account.plan_b}' is a {other.type} account as well: both stand still together"
            yield odd(part, sentence, "name an account of another upstream, if you have one")
        else:
            yield well(part, f"criticals that wait longer than {after} open at '{account.plan_b}' as well")


def _names(loaded: Any) -> Iterator[Finding]:
    """What `check` says of the upstreams' names in rules."""
    checked = names_checked(loaded, offline=False)
    for problem in checked.problems:
        say_it = wrong if problem.grade is Grade.ERROR else odd
        yield say_it("names", f"{problem.place}: {problem.message}", problem.hint)
    if checked.unproven:
        sentence, _, advice = checked.sentence.partition(": ")
        yield odd("names", sentence, advice)
    elif not checked.problems:
        yield well("names", f"all {checked.number} in the rules exist at their accounts")


# ---- ledger ----------------------------------------------------------------------------------------------------------


def _ledger(settings: Settings) -> Iterator[Finding]:
    from bridge import wiring

    place = settings.ledger.removeprefix("sqlite:///")
    file = None if place == settings.ledger else Path(place)
    if file is not None and not file.exists():
        yield odd("ledger", f"{file} does not exist yet", "'incident-bridge db upgrade' or 'up' makes it")
        return
    try:
        odd_letters = None if file is not None else _odd_letters(settings)
        if odd_letters is not None:
            advice = "and move what is there with pg_dump and pg_restore, every process stopped"
            yield wrong("ledger", odd_letters, advice)
        with closing(wiring.open_ledger(settings)) as ledger:
            ledger.database.write_tried()
            yield from _room(file)
            yield from clocks(ledger.database.ahead)
            yield from _processes(ledger, settings)
            yield from _paused(ledger, settings)
            yield from _turned_away(ledger)
            yield from _not_configured(ledger, settings)
    except SchemaError as error:
        yield wrong("ledger", str(error), "")
    except BridgeError as error:
        yield wrong("ledger", str(error), "is it there, and may this user write it?")


def _room(file: Path | None) -> Iterator[Finding]:
    """Of a ledger that takes writes; `file`: SQLite's."""
    yield well("ledger", f"takes writes ({'PostgreSQL' if file is None else f'SQLite, {file}'})")
    if file is None:
        return
    free = shutil.disk_usage(file.parent).free
    if free < FREE_MIN_BYTES:
        advice = (
            "without space webhooks are answered 503; give it some. A shorter 'retention' keeps the ledger from "
            "growing, but gives nothing back: how to do that is in deploy/README.md"
        )
        yield odd("ledger", f"{free >> 20} MiB are free on its disk", advice)


def clocks(ahead: timedelta) -> Iterator[Finding]:
    """What to say of a ledger's clock that is this far ahead of this machine's."""
    if abs(ahead) > SKEW_MAX:
        off = "behind" if ahead > timedelta(0) else "ahead of"
        sentence = f"this machine's clock is {abs(ahead).total_seconds():.0f} s {off} the ledger's"
        yield odd("ledger", sentence, "let NTP set both: waits and stored times go by the ledger's, signatures by ours")


def _odd_letters(settings: Settings) -> str | None:
    """What is wrong with how PostgreSQL keeps texts. Raises LedgerUnavailable."""
    from bridge import wiring

    with closing(wiring.open_database(settings)) as database, database.reading() as transaction:
        return odd_encoding(transaction)


def _processes(ledger: Ledger, settings: Settings) -> Iterator[Finding]:
    """What would be, or is, an alarm now."""
    standing = ledger.alarms_standing({name: account.max_wait for name, account in settings.accounts.items()})
    for cause in standing:
        part = f"account {cause.about}" if cause.about else "processes"
        yield wrong(part, cause.sentence, cause.advice)
    if not any(not cause.about for cause in standing):
        yield well("processes", "a worker and a clock are running")


def _paused(ledger: Ledger, settings: Settings) -> Iterator[Finding]:
    """Accounts that somebody holds back: on purpose, or long forgotten. A pause outlives restarts and their files."""
    from bridge import wiring

    for lane in ledger.lanes(wiring.rates(settings)):
        if lane["paused"]:
            waits = f", with {lane['waiting']:,} to be told there" if lane["waiting"] else ""
            advice = f"'incident-bridge lanes --resume {lane['account']}' lets it go on"
            yield odd(f"account {lane['account']}", f"is paused by an operator{waits}: nothing is sent", advice)


def _turned_away(ledger: Ledger) -> Iterator[Finding]:
    """Sources whose senders have another secret, or that only strangers know."""
    for source, number in ledger.turned_away().items():
        sentence = f"{counted(number, 'webhook')} refused (401) in this hour and the last, and none taken"
        advice = "compare its secret with the sender's; the log's webhook_rejected names the check that failed"
        yield odd(f"source {source}", sentence, advice)


def _not_configured(ledger: Ledger, settings: Settings) -> Iterator[Finding]:
    """What is bound to names that bridge.yaml had once."""
    for one in ledger.unconfigured(settings.accounts):
        is_open = f"{counted(one['open'], 'incident')} open there" if one["open"] else ""
        waits = f"{one['waiting']:,} to be told there" if one["waiting"] else ""
        sentence = f"is not configured, with {' and '.join(filter(None, (is_open, waits)))}: nothing is sent"
        advice = (
            "write it into bridge.yaml again, beside its new name if it has one, until they are over; or resolve what "
            "was never sent, and detach the rest, on their pages"
        )
        yield wrong(f"account {one['account']}", sentence, advice)
    for source, number in sorted(ledger.unheard(settings.sources).items()):
        sentence = f"is not configured, and {counted(number, 'open incident')} would end by its reports"
        advice = "give it its name again until they are over, or resolve them on their pages when their problems are"
        yield odd(f"source {source}", sentence, advice)


# ---- Redis -----------------------------------------------------------------------------------------------------------


def _redis(settings: Settings) -> Iterator[Finding]:
    part = "redis"
    if settings.redis == "embedded":
        from bridge.adapters.valkey import ValkeyUnavailable, server_program

        try:
            server_program()
        except ValkeyUnavailable as error:
            sentence, _, advice = str(error).partition("; ")
            yield wrong(part, sentence, advice)
            return
        yield well(part, "embedded: the bridge starts its own and evicts nothing")
        return
    import redis

    from bridge.adapters.queue import QueueMisnamed, client_of, reason_of

    address = urlsplit(settings.redis)
    if not address.password and _is_public(address.hostname or ""):
        yield odd(
            part, f"{address.hostname} is a public address without a password", "give it one, or a private address"
        )
    try:
        client: Any = client_of(settings.redis, REDIS_TIMEOUT_S, REDIS_TIMEOUT_S)
        client.set(REDIS_TRIED_KEY, 1, px=1)
    except QueueMisnamed as error:
        sentence, _, advice = str(error).partition("; ")
        yield wrong(part, sentence, advice)
        return
    except redis.ResponseError as error:  # it is full, a replica, or its ACL says no
        advice = "the clock drains the lanes without it, slower; let it take what begins with rq: and ib:"
        yield wrong(part, f"takes no jobs ({reason_of(error)})", advice)
        return
    except redis.RedisError as error:
        advice = "the clock drains the lanes without it, slower; start it, or mend 'redis:'"
        yield wrong(part, f"does not answer ({reason_of(error)})", advice)
        return
    try:
        policy = client.info("memory").get("maxmemory_policy", "")
    except redis.RedisError as error:
        advice = "allow it +info, or see to it that maxmemory-policy is noeviction"
        yield odd(part, f"takes jobs, and does not tell whether it evicts keys ({reason_of(error)})", advice)
        return
    if policy and policy != "noeviction":
        advice = (
            "set it to noeviction: what it throws away under pressure are jobs, which wait until the clock finds them"
        )
        yield wrong(part, f"evicts keys when it is full (maxmemory-policy {policy})", advice)
    else:
        yield well(part, "answers, and evicts nothing")


def _is_public(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".lan"))


# ---- accounts --------------------------------------------------------------------------------------------------------


def _account(destination: Destination, http: Http) -> tuple[Finding, ...]:
    def ask(request: HttpRequest) -> HttpResponse | NoAnswer:
        return destination.masked(http.send(request))

    def now() -> datetime:
        return datetime.now(UTC)

    match destination:
        case PagerDuty():
            return pagerduty_checkup(destination, ask, now)
        case IncidentIo():
            return incident_io_checkup(destination, ask, now)
    raise TypeError(f"doctor knows no {destination.type}")
