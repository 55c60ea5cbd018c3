"""From configuration to working objects, built once per process. The only place that knows every room.

The ledger is imported where it is opened: half of what all this takes to import, and `check` needs none of it.
"""

import hashlib
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.adapters.files import secret_kept_in
from bridge.config import loader
from bridge.config.accounts import lanes_of
from bridge.config.models import AccountSettings, Settings
from bridge.config.names_lock import FILE as NAMES_LOCK
from bridge.config.names_lock import Known, read_lock
from bridge.config.rule_files import RuleFiles, digest_of, read_files
from bridge.config.rule_match import read_match
from bridge.config.rulebook import compile_rulebook, load_rulebook
from bridge.destinations import DESTINATIONS
from bridge.destinations.base import Destination
from bridge.destinations.incident_io import BASE_URL as INCIDENT_IO_URL
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.pagerduty import BASE_URLS as PAGERDUTY_URLS
from bridge.destinations.pagerduty import PagerDuty
from bridge.domain.alert import Reading, Webhook
from bridge.domain.delivery import NamedThing
from bridge.domain.errors import BridgeError, ConfigError, DecodeError, Problem
from bridge.domain.folding import FoldForm
from bridge.domain.lane import Pace, reserve_of
from bridge.domain.plan_b import PlanB
from bridge.domain.silences import Silence
from bridge.domain.truth import Trust
from bridge.explain import explain
from bridge.explain.values import Explanation, LaneView
from bridge.pipeline import BODY_MAX_CHARS, TEXT_MAX_CHARS, decide
from bridge.rules.book import RuleBook
from bridge.rules.match import Condition
from bridge.rules.silencing import Matcher, Silencing
from bridge.sources import SOURCES
from bridge.sources.base import AsksCertificates, Certificate, Confirms, Source

if TYPE_CHECKING:
    from bridge.adapters.ledger import Heartbeat, Ledger, Origin, Route, StoredBook
    from bridge.adapters.ledger.engine import Database

SANDBOX_URL_VARIABLE = "BRIDGE_SANDBOX_URL"
WATCH_VARIABLE = "BRIDGE_WATCH"  # set by `up`: web processes take changed rules by themselves
SANDBOX_URL_DEFAULT = "http://127.0.0.1:8081"


class StartRefused(BridgeError):
    """A process that must not start as it is configured; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration that holds together, with its rule book."""

    settings: Settings
    book: RuleBook
    warnings: tuple[Problem, ...]
    files: RuleFiles  # what the book was compiled from
    digest: str  # of everything that a reload looks at
    config_digest: str  # of bridge.yaml, which a reload leaves alone
    database: "Database | None" = None  # the parent of this process opened it, and closed it before the fork


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """An account as the rule files see it."""

    name: str
    destination: Destination


def load_settings(config: Path, *, receives: bool = True) -> Settings:
    """Read bridge.yaml. Raises ConfigError with every problem in it.

    What receives no webhooks (`receives=False`) needs none of the senders' secrets: few shells have them.
    """
    needless = frozenset() if receives else loader.SENDERS
    return loader.load_settings(config, os.environ, sources=SOURCES, destinations=DESTINATIONS, dispensable=needless)


def load(config: Path, *, receives: bool = True) -> Loaded:
    """Read bridge.yaml and every rule file. Raises ConfigError with every problem in any of them."""
    try:
        settings = load_settings(config, receives=receives)
    except loader.BrokenSettings as error:
        raise ConfigError((*error.problems, *_rule_problems(error.readable))) from error
    return load_rules(settings)


def load_rules(settings: Settings) -> Loaded:
    """Read every rule file beside a configuration. Raises ConfigError with every problem in any of them."""
    digest, config = rules_digest(settings), config_digest(settings)  # before they are read: what changes is noticed
    files, said = read_files(settings.rules_dir, settings.templates_dir, settings.config_dir)
    try:
        book, warnings = book_of(settings, files, said)
    except ConfigError as error:
        raise ConfigError((*settings.warnings, *error.problems)) from error
    return Loaded(
        settings=settings,
        book=book,
        warnings=(*settings.warnings, *warnings),
        files=files,
        digest=digest,
        config_digest=config,
    )


def rule_files(settings: Settings) -> RuleFiles:
    """The texts of rules and templates as they are on disk now. Raises ConfigError when one cannot be read."""
    files, said = read_files(settings.rules_dir, settings.templates_dir, settings.config_dir)
    if said:
        raise ConfigError(said)
    return files


def rules_digest(settings: Settings) -> str:
    """A hash over all files that a reload looks at."""
    return digest_of(settings.rules_dir, settings.templates_dir)


def config_digest(settings: Settings) -> str:
    """A hash over bridge.yaml as it is now; empty when it cannot be read."""
    try:
        return hashlib.sha256(settings.config_path.read_bytes()).hexdigest()
    except OSError:
        return ""


def book_of(settings: Settings, files: RuleFiles, said: Sequence[Problem] = ()) -> tuple[RuleBook, tuple[Problem, ...]]:
    """The rule book of these texts for a configuration's accounts and sources. Raises ConfigError."""
    views = {name: AccountView(name=name, destination=made) for name, made in destinations(settings).items()}
    return compile_rulebook(files, views, settings.sources, said=said, allowed=settings.rules_accounts)


def stored_book(loaded: Loaded) -> "StoredBook":
    """A rule book as the ledger keeps it."""
    from bridge.adapters.ledger import StoredBook

    return StoredBook(hash=loaded.book.hash, content=loaded.book.content, files=loaded.files.as_json())


def origin(settings: Settings, digest: str, by: str) -> "Origin":
    """From where a book is taken: this host and this configuration."""
    from bridge.adapters.ledger import Origin

    place = f"{platform.node() or 'localhost'}:{settings.config_path}"
    return Origin(place=place, digest=digest, by=by)


def match_of(settings: Settings, match: Any) -> tuple[Mapping[str, Any], tuple[Condition, ...]]:
    """A silence's `match`, as YAML text or as data: its data and its conditions. Raises ConfigError."""
    return read_match(match, settings.sources)


def silencing_of(
    settings: Settings, silences: Sequence[Silence], unreadable: Callable[[Silence, ConfigError], None] | None = None
) -> Silencing:
    """Silences with their conditions. One that cannot be read here hides nothing: pages go out, `unreadable` hears."""
    made = []
    for silence in silences:
        try:
            _, conditions = match_of(settings, dict(silence.match))
        except ConfigError as error:
            if unreadable is not None:
                unreadable(silence, error)
            continue
        made.append(Matcher(silence=silence, conditions=conditions))
    return Silencing(matchers=tuple(made))


def _rule_problems(readable: loader.Readable) -> tuple[Problem, ...]:
    """What is wrong with the rules beside a bridge.yaml that has problems of its own."""
    if not readable.account_names or not readable.source_names:
        return ()  # every rule would be wrong for the lack of them
    views = {name: AccountView(name=name, destination=_destination(one)) for name, one in readable.accounts.items()}
    folders = (readable.rules_dir, readable.templates_dir)
    unread = readable.account_names - views.keys()
    try:
        return load_rulebook(*folders, views, readable.source_names, readable.config_dir, unread)[1]
    except ConfigError as error:
        return error.problems


def rule_book(settings: Settings) -> tuple[RuleBook, tuple[Problem, ...]]:
    """The compiled rules of a configuration, and what is odd but allowed. Raises ConfigError."""
    views = {name: AccountView(name=name, destination=made) for name, made in destinations(settings).items()}
    folders = (settings.rules_dir, settings.templates_dir)
    return load_rulebook(*folders, views, settings.sources, settings.config_dir, allowed=settings.rules_accounts)


def refuse_sandbox_in_earnest(settings: Settings) -> None:
    """Raises StartRefused when an account would talk to the stand-in although nobody said that this is a trial."""
    sentence = loader.sandbox_refusal(settings, os.environ)
    if sentence is not None:
        raise StartRefused(sentence)


def refuse_without_redis(settings: Settings) -> None:
    """Raises ValkeyUnavailable when `redis: embedded` has no server, and QueueMisnamed when an address has an option
    that cannot be: every process would end for it, over and over.
    """
    if settings.redis == "embedded":
        from bridge.adapters.valkey import server_program

        server_program()
    else:
        from bridge.adapters.queue import client_of

        client_of(settings.redis, 1.0).close()


def sources(settings: Settings, certificate: Certificate | None = None) -> dict[str, Source]:
    """Every configured source by name; `certificate` fetches those that a vendor signs with, for verifying."""
    made = {name: SOURCES[one.type](name=name, auth=one.auth, **one.settings) for name, one in settings.sources.items()}
    if certificate is None:
        return made
    return {n: s.asking(certificate) if isinstance(s, AsksCertificates) else s for n, s in made.items()}


def confirming(settings: Settings) -> dict[str, Confirms]:
    """The sources whose sender wants a call before it posts, by name."""
    return {name: one for name, one in sources(settings).items() if isinstance(one, Confirms)}


def certificates() -> Certificate:
    """Fetches the certificates that vendors sign with; makes its HTTP client when the first one is wanted."""
    made: list[Any] = []

    def fetch(url: str) -> bytes | None:
        if not made:
            from bridge.adapters.certificates import Certificates

            made.append(Certificates())
        pem: bytes | None = made[0].fetch(url)
        return pem

    return fetch


def destinations(settings: Settings) -> dict[str, Destination]:
    """Every configured account's destination by account name."""
    return {name: _destination(account) for name, account in settings.accounts.items()}


def _destination(account: AccountSettings) -> Destination:
    sandbox = os.environ.get(SANDBOX_URL_VARIABLE, SANDBOX_URL_DEFAULT).rstrip("/")
    match account.type:
        case "pagerduty":
            own = account.base_url or PAGERDUTY_URLS[account.region]
            return PagerDuty(
                account=account.name,
                token=account.token,
                from_=account.from_ or "",
                oauth=account.oauth,
                base_url=f"{sandbox}/pagerduty" if account.sandbox else own,
                defaults=account.defaults,
            )
        case "incident_io":
            return IncidentIo(
                account=account.name,
                token=account.token,
                base_url=f"{sandbox}/incident-io" if account.sandbox else account.base_url or INCIDENT_IO_URL,
                api=account.api,
                defaults=account.defaults,
            )
    raise ValueError(f"no destination is built for account type {account.type!r}")


def routes(settings: Settings) -> dict[str, "Route"]:
    """Each account's lane and pace."""
    from bridge.adapters.ledger import Route

    lanes = lanes_of(settings.accounts)
    made = destinations(settings)
    return {
        name: Route(
            lane=lanes[name],
            pace=_pace(account),
            required=frozenset(field for field, about in made[name].fields.items() if about.required),
            defaults=account.defaults,
            keeps=made[name].plain_fields,
            rises=made[name].rise_fields,
            reopens=made[name].reopen_fields,
            fold=_fold_form(made[name]),
            plan_b=None if account.plan_b is None else _plan_b(account, made[name], made[account.plan_b]),
            trust=Trust(confirm_open=account.confirm_open, respect_human_close=account.respect_human_close),
        )
        for name, account in settings.accounts.items()
    }


def _plan_b(account: AccountSettings, own: Destination, other: Destination) -> PlanB:
    lists = {name: other.fields[name].lookup for name in other.defaults}
    return PlanB(
        account=other.account,
        after=account.plan_b_after,
        key_rule=other.key_rule,
        title_field=other.title_field,
        body_field=other.body_field,
        scope_field=other.scope_field,
        reads_body=own.body_field,
        defaults=other.defaults,
        lists={name: kind for name, kind in lists.items() if kind is not None},
    )


def _pace(account: AccountSettings) -> Pace:
    return Pace(
        interval=account.rate.interval,
        burst=account.burst,
        reserve=reserve_of(account.burst, account.reserve),
        update_interval=account.update_rate.interval,
        promote_after=account.promote_after,
        give_up_after=account.give_up_after,
        max_wait=account.max_wait,
    )


def _fold_form(destination: Destination) -> FoldForm:
    title, body = destination.title_field, destination.body_field
    return FoldForm(
        title_field=title,
        body_field=body,
        title_max_chars=destination.fields[title].max_chars or TEXT_MAX_CHARS,
        body_max_chars=destination.fields[body].max_chars or BODY_MAX_CHARS,
        written=destination.written,
    )


def rates(settings: Settings) -> dict[str, tuple[str, str]]:
    """Each account's type and its rate in the owner's words, for people."""
    return {name: (account.type, str(account.rate)) for name, account in settings.accounts.items()}


def open_database(settings: Settings) -> "Database":
    """The ledger's database, whatever its schema."""
    from bridge.adapters.ledger.engine import Database

    return Database(settings.ledger)


def open_ledger(settings: Settings) -> "Ledger":
    """The ledger, on a schema this program works with. Raises SchemaError."""
    with ExitStack() as undone:
        database = open_database(settings)
        undone.callback(database.close)
        ledger = _ledger_on(database, settings)
        ledger.lanes_ensured()
        undone.pop_all()
    return ledger


def with_ledger(loaded: Loaded) -> Loaded:
    """For the children of this process: the ledger opened once, and closed. Raises SchemaError.

    What a process touches and makes on the way to its first heartbeat they share, instead of each its own.
    """
    ledger = open_ledger(loaded.settings)
    beat = heartbeat("up")
    ledger.heartbeat(beat)
    ledger.heartbeat_ended(beat.process)
    ledger.close()
    return replace(loaded, database=ledger.database)


def ledger_of(loaded: Loaded) -> "Ledger":
    """The ledger of a process of this product: as its parent left it, else opened. Raises SchemaError."""
    if loaded.database is None:
        return open_ledger(loaded.settings)
    return _ledger_on(loaded.database.in_child(), loaded.settings)


def _ledger_on(database: "Database", settings: Settings) -> "Ledger":
    from bridge.adapters.ledger import Ledger
    from bridge.adapters.ledger.upgrade import require_current

    require_current(database)
    return Ledger(database, routes(settings), _payloads_by(sources(settings)))


def _payloads_by(readers: Mapping[str, Source]) -> Callable[[str, Mapping[str, str], bytes], Sequence[Any]]:
    """Reads the alerts' payloads out of a stored body, as its source does; nothing when the source is gone."""

    def payloads(name: str, headers: Mapping[str, str], body: bytes) -> Sequence[Any]:
        source = readers.get(name)
        if source is None:
            return ()
        webhook = Webhook(source=name, headers=headers, body=body, received_at=datetime.now(UTC))
        try:
            return [reading.payload for reading in source.alerts_in(webhook)]
        except DecodeError:
            return ()

    return payloads


def explained(
    settings: Settings,
    book: RuleBook,
    readings: tuple[Reading, ...],
    *,
    source: str,
    event: str | None = None,
    ledger: "Ledger | None" = None,
) -> Explanation:
    """Why these readings page or not under a rule book; with a ledger also the ids of names, and what waits."""
    made = destinations(settings)
    lanes = lanes_of(settings.accounts)
    matched = {rule for one in decide(readings, book, made) for rule in one.matched}
    accounts = sorted({book.by_id[rule].account for rule in matched})
    known = {} if ledger is None else _lists(ledger, {name: made[name] for name in accounts})
    views = {
        name: LaneView(
            lane=lanes[name],
            rate=str(account.rate),
            pace=_pace(account),
            line=None if ledger is None else ledger.line(name),
        )
        for name, account in settings.accounts.items()
        if name in accounts
    }
    now = datetime.now(UTC) if ledger is None else ledger.time()
    silences = Silencing() if ledger is None else silencing_of(settings, ledger.silences_standing())
    return explain(
        readings, book, made, source=source, event=event, now=now, lists=known, lanes=views, silencing=silences
    )


def _lists(ledger: "Ledger", made: Mapping[str, Destination]) -> dict[tuple[str, str], tuple[NamedThing, ...]]:
    """Every list of these accounts that was ever fetched."""
    wanted = [(name, kind) for name, destination in made.items() for kind in destination.name_kinds]
    held = {key: ledger.name_list(*key) for key in wanted}
    return {key: names.things for key, names in held.items() if names is not None}


def known_names(settings: Settings, ledger: "Ledger | None") -> Known:
    """The upstreams' names as the ledger keeps them, else as names.lock.json does. Raises ConfigError."""
    lock = read_lock(settings.rules_dir)
    lists = {} if lock is None else dict(lock.lists)
    stale = set()
    if ledger is not None:
        from bridge.adapters.ledger.names import PROOF_MAX_AGE

        now = ledger.time()
        for account, destination in destinations(settings).items():
            for kind in destination.name_kinds:
                held = ledger.name_list(account, kind)
                if held is not None:
                    lists[account, kind] = held.things
                    stale |= {(account, kind)} if now - held.fetched_at > PROOF_MAX_AGE else set()
    whence = NAMES_LOCK if ledger is None else "the ledger"
    return Known(lists=lists, stale=frozenset(stale), whence=whence)


def session_key(settings: Settings) -> str:
    """What signs the cookies of the pages: the same in every process and on every host, another one when a password
    changes.

    Without a login it is drawn once and kept in var/, for the forms' tokens must survive a restart.
    """
    users = settings.ui.users
    if users:
        held = "\0".join(f"{name}\0{users[name].password_hash}" for name in sorted(users))
        return hashlib.sha256(f"incident-bridge session\0{held}".encode()).hexdigest()
    return secret_kept_in(settings.var_dir / "session.key")


def heartbeat(kind: str) -> "Heartbeat":
    """This process's heartbeat."""
    from bridge.adapters.ledger import Heartbeat

    host = platform.node() or "localhost"
    now = datetime.now(UTC)
    process = f"{kind}@{host}:{os.getpid()}"
    return Heartbeat(process=process, kind=kind, host=host, pid=os.getpid(), started_at=now, beat_at=now)


def rules_listing(book: RuleBook) -> list[dict[str, Any]]:
    """The rules as the API lists them."""
    return [_rule_item(rule) for rule in book.rules]


def _rule_item(rule: Any) -> dict[str, Any]:
    place = rule.place
    return {"id": rule.id, "account": rule.account, "mode": rule.mode, "file": place.file, "line": place.line}


def redis_of(settings: Settings, *, wait_s: float = 0.0) -> tuple[Any, str]:
    """Where Redis is: the address, and the keeper of our own server when it is embedded (else None).

    An embedded one is given `wait_s` to answer: it is not missing, it only starts together with us.
    """
    if settings.redis != "embedded":
        return None, settings.redis
    from bridge.adapters.valkey import ValkeyKeeper

    keeper = ValkeyKeeper(settings.var_dir)
    keeper.start()
    if wait_s:
        keeper.wait_ready(wait_s)
    return keeper, keeper.url
