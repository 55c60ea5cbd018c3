"""Documents against the code: tables, examples, commands and links. `--update-golden` writes the generated tables."""

import json
import re
import sqlite3
import tomllib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from pydantic import BaseModel
from sqlalchemy import event

from bridge.adapters.ids import Ulids
from bridge.adapters.ledger import Ledger
from bridge.config.loader import load_settings
from bridge.config.models import AccountModel, FileModel, SourceModel
from bridge.config.units import Rate
from bridge.destinations import DESTINATIONS
from bridge.destinations.base import Field, FieldKind
from bridge.domain.alert import Alert, Severity, Status, Webhook
from bridge.domain.decision import Decided, Outcome
from bridge.domain.delivery import DeliveryState, NamedThing
from bridge.domain.incident import IncidentState
from bridge.entrypoints.cli import cli
from bridge.entrypoints.cli.sending import sample_names
from bridge.entrypoints.web import api, health, receiver, ui
from bridge.entrypoints.web.access import Gate
from bridge.entrypoints.web.app import create_app
from bridge.entrypoints.web.keeper import Ruling
from bridge.rules.book import RuleBook
from bridge.sources import SOURCES
from bridge.sources.base import NoAuth
from bridge.wiring import rule_book
from tests import ledgers
from tests.relays import Trips, relayed

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
DOCUMENTS = [
    README,
    *(ROOT / name for name in ("CHANGELOG.md", "rules/README.md", "templates/README.md", "deploy/README.md")),
    *(ROOT / name for name in ("bridge/README.md", "tests/README.md")),
]
NO_TEXTS = (".lock", ".md", ".png")
DEPLOYED = [path for path in sorted((ROOT / "deploy").rglob("*")) if path.is_file() and path.suffix not in NO_TEXTS]
ENVIRONMENT = {  # what the documents' examples name
    "ALARM_URL": "https://chat.example.com/hook",
    "DATABASE_URL": "postgresql+psycopg://bridge@db.example.com/bridge",
    "REDIS_URL": "redis://redis.example.com:6379/0",
    "DATADOG_WEBHOOK_SECRET": "a-long-secret",
    "ZENDESK_SIGNING_SECRET": "a-long-secret",
    "MONITOR_TOKEN": "a-long-secret",
    "MONITOR_TOKEN_OLD": "an-older-secret",
    "PAGERDUTY_TOKEN": "a-token",
    "INCIDENT_IO_API_KEY": "a-key",
    "BRIDGE_UI_PASSWORD_HASH": "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "BRIDGE_API_TOKEN": "a-token",
    "ALICE_PASSWORD_HASH": "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
}


NO_RULES = RuleBook.of((), unmatched=None, content="")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def block(text: str, mark: str) -> str:
    """What stands between `<!-- mark -->` and `<!-- /mark -->`."""
    found = re.search(rf"<!-- {mark} -->\n(.*?)<!-- /{mark} -->", text, re.DOTALL)
    assert found is not None, f"no <!-- {mark} --> block"
    return found[1]


def rows_of(table: str) -> list[list[str]]:
    """The cells of a Markdown table, without its heading."""
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def table_of(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def matches_code(mark: str, table: str, update: bool) -> None:
    """A generated table of README.md is what the code says."""
    text = README.read_text(encoding="utf-8")
    held = block(text, mark)
    if update:
        opening, closing = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        README.write_text(text.replace(opening + held + closing, opening + table + closing), encoding="utf-8")
        return
    assert held == table, f"README.md, {mark}: rewrite it with pytest --update-golden and read the diff"


# -- settings


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting below a model, by its path in the file."""
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings_of(inner, path + ".")
        elif path == "sources":
            yield from settings_of(SourceModel, "sources.<name>.")
        elif path == "accounts":
            yield from settings_of(AccountModel, "accounts.<name>.")
        else:
            yield path, field


def default_of(field: Any) -> str:
    if field.is_required():
        return "must be there"
    match field.default:
        case None:
            return ""
        case timedelta() as length:
            return f"`{duration_text(length)}`"
        case Rate() as pace:
            return f"`{pace}`"
        case {}:
            return ""
        case int() as number if number >= 1 << 20 and number % (1 << 20) == 0:
            return f"`{number >> 20}MiB`"
        case other:
            return f"`{other}`"


def duration_text(length: timedelta) -> str:
    seconds = length // timedelta(seconds=1)
    unit, size = next(
        (unit, size) for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)) if not seconds % size
    )
    return f"{seconds // size}{unit}"


def test_the_settings_table_says_what_the_models_say(update_golden: bool) -> None:
    rows = [[f"`{path}`", default_of(field), field.description] for path, field in settings_of(FileModel)]
    matches_code("settings", table_of(["setting", "default", ""], rows), update_golden)


# -- vendors


def test_the_sources_table_names_every_source_type_with_its_samples() -> None:
    rows = rows_of(block(README.read_text(encoding="utf-8"), "sources"))
    assert [row[0] for row in rows] == [f"`{kind}`" for kind in sorted(SOURCES)]
    for kind, auth, *_, samples in rows:
        name = kind.strip("`")
        assert {f"`{key}`" for key in SOURCES[name].signature_keys} <= set(re.findall(r"`\w+`", auth)), kind
        assert re.findall(r"`(\w+)`", samples) == sample_names(name), kind


@pytest.mark.parametrize("kind", sorted(DESTINATIONS))
def test_the_fields_table_of_a_destination_says_what_its_code_says(kind: str, update_golden: bool) -> None:
    rows = [[f"`{name}`", field.about, takes(field)] for name, field in DESTINATIONS[kind].fields.items()]
    matches_code(f"fields {kind}", table_of(["field", "", "takes"], rows), update_golden)


def takes(field: Field) -> str:
    """What a field of an incident takes, in words."""
    means = {
        FieldKind.TEXT: "one line",
        FieldKind.LONG_TEXT: "text",
        FieldKind.ENUM: ", ".join(f"`{choice}`" for choice in field.choices),
        FieldKind.NAME: "a name or id",
        FieldKind.MAPPING: "a mapping",
        FieldKind.VALUES: "names or ids, each with a value or several",
        FieldKind.PEOPLE: "names or ids, each with a person",
        FieldKind.INSTANTS: "names or ids, each with an instant",
    }
    limit = f", at most {field.max_chars} characters" if field.max_chars is not None else ""
    needed = "; must be there, or in the account's `defaults`" if field.required else ""
    return means[field.kind] + limit + needed


# -- commands


def commands() -> dict[str, click.Command]:
    """Every command a person is shown, by its words."""
    context = click.Context(cli)
    found: dict[str, click.Command] = {}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": one for inner, one in command.commands.items()}
        else:
            found[name] = command
    return found


def options(command: click.Command) -> set[str]:
    return {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}


def usage(name: str, command: click.Command) -> str:
    words = [f"incident-bridge {name}"]
    for one in command.params:
        if isinstance(one, click.Argument):
            words.append(one.make_metavar(click.Context(command)))
        elif "--config" not in one.opts:
            value = "" if getattr(one, "is_flag", False) else f" {value_of(one)}"
            words.append(f"{one.opts[-1]}{value}" if one.required else f"[{one.opts[-1]}{value}]")
    return " ".join(words)


def value_of(option: click.Parameter) -> str:
    kind = option.type
    if isinstance(kind, click.Choice):
        return "|".join(kind.choices)
    return "N" if isinstance(kind, click.IntRange) else option.metavar or (option.name or "").upper()


def test_the_commands_table_is_the_command_line(update_golden: bool) -> None:
    rows = []
    for name, command in commands().items():
        assert command.help is not None, name
        rows.append([f"`{usage(name, command)}`", command.help.splitlines()[0]])
    matches_code("commands", table_of(["command", ""], rows), update_golden)


@pytest.mark.parametrize("path", [*DOCUMENTS, *DEPLOYED], ids=named)
def test_every_command_a_document_names_exists(path: Path) -> None:
    known = commands()
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"python -m (bench\.\w+)", text):
        assert (ROOT / (name.replace(".", "/") + ".py")).exists(), name
    for name in re.findall(r"`make ([a-z-]+)", text):
        assert re.search(rf"^{name}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), name
    for said in re.findall(r"incident-bridge((?: [a-z-]+)+[^`\n#&]*)", text):
        words = said.split()
        if words[0].startswith("-") or words[0] not in {name.split()[0] for name in known}:
            continue
        command = known.get(words[0]) or known.get(" ".join(words[:2]))
        if command is None:
            assert len(words) == 1 or "|" in said, f"{named(path)}: incident-bridge {said}"
            continue
        for option in re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", said):
            assert option in options(command), f"{named(path)}: incident-bridge {said}"


@pytest.mark.parametrize("path", [*DOCUMENTS, *DEPLOYED], ids=named)
def test_every_line_that_runs_the_program_names_a_command_it_has(path: Path) -> None:
    known = {name.split()[0] for name in commands()}
    text = path.read_text(encoding="utf-8")
    lines = [line for shell in fenced(text, "sh") for line in shell.splitlines()]
    lines += re.findall(r"^Exec\w+=(.*)$", text, re.MULTILINE)
    for line in lines:
        for word in re.findall(r"(?:^|/bin/|&& )incident-bridge ([^\s-]\S*)", line):
            assert word in known, f"{named(path)}: {line}"


# -- HTTP, outcomes, states


def test_the_http_table_names_every_route_and_no_other(tmp_path: Path) -> None:
    ledger = ledgers.open_ledger(ledgers.sqlite_url(tmp_path))
    gate = Gate(username="admin", password_hash=None, tokens={}, public_url="http://127.0.0.1:8080")
    incoming = receiver.Receiver(
        sources={},
        ruling=lambda: Ruling(book=NO_RULES, decide=lambda readings: ()),
        settle=lambda prepare: ledger.settle([prepare()])[0][0],
        new_id=Ulids(),
        now=ledger.time_here,
        body_max_bytes=1,
        count=lambda source, what: None,
    )
    reading = api.Api(ledger=ledger, gate=gate, rates={}, rules=list, poke=lambda lanes: None)
    pages = ui.Ui(ledger=ledger, gate=gate, rates={}, rules=list, book=str, poke=lambda lanes: None, missing=list)
    alive = health.blueprint(ledger, list, gate, health.Tally(), {})
    app = create_app((receiver.blueprint(incoming), api.blueprint(reading), alive, ui.blueprint(pages)))
    ledger.close()
    routes = {
        f"{method} {re.sub('<[^>]*>', '<>', rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    rows = rows_of(block(README.read_text(encoding="utf-8"), "http"))
    said = set()
    for row in rows:
        method, _, first = row[0].strip("`").partition("?")[0].partition(" ")
        for path in re.split("`, `", first):
            said.add(f"{method} {re.sub('<[^>]*>', '<>', path)}")
    assert said == routes - {"GET /static/<>"}


@pytest.mark.parametrize(
    ("mark", "words"), [("outcomes", Outcome), ("incident-states", IncidentState), ("delivery-states", DeliveryState)]
)
def test_the_glossary_explains_every_word(mark: str, words: Any) -> None:
    rows = rows_of(block(README.read_text(encoding="utf-8"), mark))
    said = [word for row in rows for word in re.findall(r"`(\w+)`", row[0])]
    assert sorted(said) == sorted(word.value for word in words)


# -- examples


def yaml_examples() -> list[tuple[str, str]]:
    return [
        (f"{named(path)}-{number}", text)
        for path in DOCUMENTS
        for number, text in enumerate(fenced(path.read_text(encoding="utf-8"), "yaml"), start=1)
        if not text.startswith("- name:")  # a rule test: e2e/test_rule_tests.py runs it
    ]


@pytest.mark.parametrize(("place", "example"), yaml_examples(), ids=[place for place, _ in yaml_examples()])
def test_a_yaml_example_loads_without_a_problem(place: str, example: str, tmp_path: Path) -> None:
    shipped = (ROOT / "bridge.yaml").read_text(encoding="utf-8")
    (tmp_path / "templates").symlink_to(ROOT / "templates")
    (tmp_path / "rules").mkdir()
    secret = tmp_path / "pagerduty_token"
    secret.write_text("a-token\n", encoding="utf-8")
    environ = {**ENVIRONMENT, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    is_rules = re.search(r"^rules:\n", example, re.MULTILINE) is not None
    config = shipped if is_rules else with_parts(example)
    (tmp_path / "bridge.yaml").write_text(config.replace("/run/secrets/", f"{tmp_path}/"), encoding="utf-8")
    settings = load_settings(tmp_path / "bridge.yaml", environ, sources=SOURCES, destinations=DESTINATIONS)
    assert settings.warnings == ()
    if is_rules:
        whole = example if "unmatched:" in example else example + "unmatched: record\n"
        (tmp_path / "rules" / "example.yaml").write_text(whole, encoding="utf-8")
        _, warnings = rule_book(settings)
        assert warnings == ()


def with_parts(example: str) -> str:
    """A part of bridge.yaml, with the least of what it leaves out."""
    least = {
        "sources": "sources: {lab: {type: generic, auth: none}}\n",
        "accounts": "accounts: {pagerduty-prod: {type: pagerduty, token: sandbox, from: bot@example.com}}\n",
    }
    missing = [text for key, text in least.items() if re.search(rf"^{key}:", example, re.MULTILINE) is None]
    return "".join([example, *missing])


def filled(body: str, values: dict[str, str], pattern: str) -> bytes:
    """A body as the sender posts it: its variables filled in, one it does not know left as it stands."""
    return re.sub(pattern, lambda found: values.get(found[1], found[0]), body).encode()


def alert_of(kind: str, body: bytes) -> Alert:
    webhook = Webhook(
        source=kind,
        headers={"content-type": "application/json"},
        body=body,
        received_at=datetime(2026, 1, 5, tzinfo=UTC),
    )
    (reading,) = SOURCES[kind](name=kind, auth=NoAuth()).alerts_in(webhook)
    assert isinstance(reading, Alert)
    return reading


DATADOG = {
    "ALERT_ID": "4711",
    "ALERT_TITLE": "[P1] [Triggered on {host:db-01}] Too many connections",
    "ALERT_TRANSITION": "Triggered",
    "ALERT_TYPE": "error",
    "ALERT_PRIORITY": "P1",
    "ALERT_SCOPE": "host:db-01",
    "ALERT_METRIC": "postgresql.connections",
    "ALERT_CYCLE_KEY": "99887766",
    "AGGREG_KEY": "0f1e2d3c",
    "HOSTNAME": "db-01",
    "TAGS": "env:prod,team:db,monitor",
    "EVENT_TYPE": "query_alert_monitor",
    "DATE": "1767571200000",
    "LAST_UPDATED": "1767571260000",
    "LINK": "https://app.datadoghq.com/event/event?id=1",
    "SNAPSHOT": "https://p.datadoghq.com/s.png",
    "EVENT_MSG": "[[Monitor Status](https://app.datadoghq.com/monitors/4711?group=host%3Adb-01)]",
    "TEXT_ONLY_MSG": "More than 450 connections.",
}


def test_the_datadog_payload_of_the_readme_tells_everything() -> None:
    (body,) = fenced(block(README.read_text(encoding="utf-8"), "datadog-payload"), "json")
    assert set(DATADOG) <= set(re.findall(r"\$([A-Z_]+)", body))
    assert list(json.loads(body))
    fires = alert_of("datadog", filled(body, DATADOG, r"\$([A-Z_]+)"))
    over = {**DATADOG, "ALERT_TRANSITION": "Recovered", "ALERT_TYPE": "success"}
    ends = alert_of("datadog", filled(body, over, r"\$([A-Z_]+)"))
    assert (fires.fingerprint, fires.episode) == ("aggreg:0f1e2d3c", "99887766")
    assert (fires.status, fires.severity) == (Status.FIRING, Severity.CRITICAL)
    assert fires.description == "More than 450 connections."
    assert fires.reported_at == datetime(2026, 1, 5, 0, 1, tzinfo=UTC)
    assert {"env", "team", "host", "scope", "monitor_id", "metric"} <= set(fires.labels)
    assert [link.text for link in fires.links] == ["Datadog event", "Datadog monitor", "Snapshot"]
    assert (ends.status, ends.fingerprint, ends.episode) == (Status.RESOLVED, fires.fingerprint, fires.episode)


def test_a_variable_datadog_does_not_fill_in_becomes_no_part_of_a_key() -> None:
    (body,) = fenced(block(README.read_text(encoding="utf-8"), "datadog-payload"), "json")
    one, two = (
        alert_of("datadog", filled(body, {"ALERT_TITLE": title}, r"\$([A-Z_]+)")) for title in ("Disk full", "CPU high")
    )
    assert one.fingerprint != two.fingerprint
    assert one.episode is None


def test_the_zendesk_trigger_bodies_of_the_readme_open_and_resolve_one_problem() -> None:
    opens, ends = fenced(block(README.read_text(encoding="utf-8"), "zendesk-bodies"), "json")
    values = {
        "ticket.id": "70123",
        "ticket.title": "Nobody can pay",
        "ticket.status": "Gelöst",
        "ticket.priority": "Urgent",
        "ticket.tags": "checkout vip",
        "ticket.link": "https://acme.zendesk.com/agent/tickets/70123",
    }
    first, last = (alert_of("zendesk", filled(body, values, r"\{\{([a-z_.]+)\}\}")) for body in (opens, ends))
    assert (first.status, last.status) == (Status.FIRING, Status.RESOLVED)
    assert first.fingerprint == last.fingerprint
    assert (first.title, first.severity) == ("Nobody can pay", Severity.CRITICAL)
    assert first.labels["vip"] == "true"
    assert [link.href for link in first.links] == ["https://acme.zendesk.com/agent/tickets/70123"]


# -- bridge/README.md, CHANGELOG.md, links


def test_the_picture_of_layers_is_the_import_linter_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(one for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    picture = block((ROOT / "bridge" / "README.md").read_text(encoding="utf-8"), "layers")
    drawn = [re.split(r"\s{2,}", line)[0] for line in picture.splitlines() if line and line[0].isalpha()]
    assert drawn == contract["layers"]


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    wanted += project["dependency-groups"]["build"]
    rows = rows_of(block((ROOT / "bridge" / "README.md").read_text(encoding="utf-8"), "dependencies"))
    said = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row[0])}
    assert said == {re.split(r"[^A-Za-z0-9-]", one)[0].lower() for one in wanted}


LOCKS = ("requirements.lock", "requirements-dev.lock")
PLATFORMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("darwin", "x86_64")]


def locked(lock: str, system: str, machine: str) -> dict[str, list[Version]]:
    """What the lock installs on such a machine: versions by name."""
    found: dict[str, list[Version]] = {}
    for line in re.findall(r"^[a-z0-9].*==.*", (ROOT / "deploy" / lock).read_text(encoding="utf-8"), re.MULTILINE):
        pin = Requirement(line.rstrip(" \\"))
        found.setdefault(pin.name, [])
        if pin.marker is None or pin.marker.evaluate({"sys_platform": system, "platform_machine": machine}):
            found[pin.name].append(Version(next(iter(pin.specifier)).version))
    return found


@pytest.mark.parametrize(("system", "machine"), PLATFORMS)
@pytest.mark.parametrize("lock", LOCKS)
def test_what_ends_forked_processes_on_macos_is_not_installed_there(lock: str, system: str, machine: str) -> None:
    assert len(locked(lock, system, machine)["setproctitle"]) == (system != "darwin")


@pytest.mark.parametrize(("system", "machine"), PLATFORMS)
@pytest.mark.parametrize("lock", LOCKS)
def test_a_mac_with_intels_processor_gets_the_last_ones_made_for_it(lock: str, system: str, machine: str) -> None:
    found = locked(lock, system, machine)
    (cryptography,), (argon2,) = found["cryptography"], found["argon2-cffi-bindings"]
    is_old = (system, machine) == ("darwin", "x86_64")
    assert (cryptography < Version("49"), argon2 < Version("26")) == (is_old, is_old)


def test_the_changelog_has_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(project['project']['version'])}\]? - ", changes, re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in target]
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert missing == []


# -- statements


class Counter:
    """Counts what one call sends to the database, BEGIN and COMMIT aside: at the driver, whoever sends it.

    And how often it waits for an answer, BEGIN and COMMIT included: none of it is told apart on the way.
    """

    def __init__(self, ledger: Ledger, trips: Trips) -> None:
        self.number = 0
        self._trips = trips
        counter = self

        class SqliteCursor(sqlite3.Cursor):
            def execute(self, sql: str, *given: Any) -> Any:
                counter.note(sql)
                return super().execute(sql, *given)

            def executemany(self, sql: str, *given: Any) -> Any:
                counter.note(sql)
                return super().executemany(sql, *given)

        class SqliteConnection(sqlite3.Connection):
            def cursor(self, factory: Any = SqliteCursor) -> Any:
                return super().cursor(factory)

        class PostgresCursor(psycopg.Cursor[Any]):
            def execute(self, query: Any, *given: Any, **how: Any) -> Any:
                counter.note(query)
                return super().execute(query, *given, **how)

            def executemany(self, query: Any, *given: Any, **how: Any) -> Any:
                counter.note(query)
                return super().executemany(query, *given, **how)

        is_sqlite, engine = ledger.database.is_sqlite, ledger.database.engine

        @event.listens_for(engine, "do_connect" if is_sqlite else "connect")
        def _connects(dialect_or_connection: Any, _record: Any, *arguments: Any) -> None:
            if is_sqlite:
                arguments[1]["factory"] = SqliteConnection
            else:
                dialect_or_connection.cursor_factory = PostgresCursor
                dialect_or_connection.prepare_threshold = None  # preparing is a trip of its own, once

        ledger.database.close()  # the connections made before
        ledger.time()  # and one that is new says something of its own

    def note(self, sql: str) -> None:
        self.number += sql.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))

    def of(self, does: Callable[[], Any]) -> tuple[int, int]:
        before = self.number, self._trips.number
        does()
        return self.number - before[0], self._trips.number - before[1]


def test_the_statements_table_is_what_the_ledger_sends(ledger_url: str) -> None:
    trips, is_sqlite = Trips(), ledger_url.startswith("sqlite")
    with nullcontext((None, ledger_url)) if is_sqlite else relayed(ledger_url, trips.answers, trips.asks) as (_, url):
        numbers = _sent(ledgers.open_ledger(url), trips)
    rows = rows_of(block((ROOT / "bridge" / "README.md").read_text(encoding="utf-8"), "statements"))
    if is_sqlite:
        assert {row[0]: int(row[1]) for row in rows} == {name: statements for name, (statements, _) in numbers.items()}
    else:
        assert {row[0]: (int(row[2]), int(row[3])) for row in rows} == numbers


def _sent(ledger: Ledger, trips: Trips) -> dict[str, tuple[int, int]]:
    ledger.names_stored(ledgers.ACCOUNT, "service", [NamedThing(id="S1", name="S")])
    counter = Counter(ledger, trips)

    def settled(*decided: Decided, delivery_id: str | None = None) -> tuple[int, int]:
        receipt = ledgers.webhook(ledger, *decided, delivery_id=delivery_id)
        return counter.of(lambda: ledger.settle([receipt]))

    idle = {
        "the clock looks for due lanes and finds none": counter.of(lambda: ledger.due_lanes(64)),
        "a worker claims and finds nothing due": counter.of(lambda: ledger.claim(ledgers.ACCOUNT)),
    }
    burst = [ledgers.webhook(ledger, ledgers.fires(f"burst-{number}")) for number in range(64)]
    numbers = {
        "opens an incident": settled(ledgers.fires("a"), delivery_id="d"),
        "is a repeat under a known delivery id": settled(ledgers.fires("a"), delivery_id="d"),
        "changes nothing": settled(ledgers.fires("a")),
        "joins an incident": settled(ledgers.fires("b", parts=("s", "a"))),
        "matches no rule": settled(Decided(reading=ledgers.alert("c"))),
        "64 that open one each, written together": counter.of(lambda: ledger.settle(burst)),
    }
    held = []
    numbers["claim a create"] = counter.of(lambda: held.append(ledgers.claim(ledger)))
    delivered = ledgers.finished(held[0], ledgers.delivered("P1"))
    numbers["record it and claim the next"] = counter.of(
        lambda: held.append(ledger.record(delivered, claim_next=True)[1])
    )
    last = ledgers.finished(held[1], ledgers.delivered("P2"))
    numbers["record one"] = counter.of(lambda: ledger.record(last, claim_next=False))
    settled(ledgers.ends("b"))
    numbers["ends the last problem of an open incident"] = settled(ledgers.ends("a"))
    ledger.close()
    return numbers | idle
