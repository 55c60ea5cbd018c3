"""`explain`: why an alert does or does not page, and the request byte for byte. `capture`: the same as a test."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from bridge.adapters.files import replace_bytes
from bridge.domain.alert import Alert, Reading, Webhook
from bridge.domain.keys import canonical
from bridge.entrypoints.cli import PROBLEMS_FOUND, config_option, json_option, say, tell
from bridge.entrypoints.cli.bodies import header_in, headers_of
from bridge.entrypoints.cli.sending import sample_bytes
from bridge.entrypoints.cli.tables import counted, printed
from bridge.entrypoints.cli.traffic import (
    ledger_if_there,
    readings_in,
    redact_option,
    redactor_of,
    stored_event,
    webhook_of,
)
from bridge.explain.plain import as_json as explanation_json
from bridge.explain.values import AlertExplanation, Answer, Explanation, Kind, Request, RuleAnswer, Verdict
from bridge.rules.paths import rfc3339
from bridge.samples import slug
from bridge.wiring import Loaded

Became = Sequence[Mapping[str, Any]]  # of one alert: what was decided when it came in, per rule

STANDARD_INPUT = "-"
LABEL_WIDTH = 12
COLUMN_MAX_CHARS = 60  # of what a condition found; a longer value pushes its line out instead of all of them
VALUE_MAX_CHARS = 300  # of one value of the alert; --json has all of it


@click.command()
@click.argument("source", required=False)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True), required=False)
@click.option("--sample", help="A shipped sample of the source's type instead of a file.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="One more request header.")
@click.option("--event", "event_id", metavar="ID", help="A stored event instead of a source and a file.")
@json_option
@config_option
def explain(
    source: str | None,
    file: Path | None,
    sample: str | None,
    headers: tuple[str, ...],
    event_id: str | None,
    as_json: bool,
    config: Path,
) -> int:
    """Say why a body (or a stored event) pages or not: every rule, the key, the request, the lane. Nothing is sent.

    SOURCE is a source of the configuration, FILE the body it would post (- for standard input).
    """
    from bridge import wiring

    loaded = wiring.load(config, receives=False)
    with_event = event_id is not None
    if with_event and ((source, file, sample) != (None, None, None) or headers):
        raise click.UsageError("--event takes the place of SOURCE and FILE, and has its own headers")
    if not with_event and (source is None or (file is None) == (sample is None)):
        raise click.UsageError("name a source and a file (or --sample), or --event ID")
    ledger = wiring.open_ledger(loaded.settings) if with_event else ledger_if_there(loaded.settings)
    try:
        book_then: str | None = None
        became: Sequence[Became] = ()
        if with_event and ledger is not None:
            stored = stored_event(ledger, str(event_id))
            webhook, book_then = webhook_of(stored), stored.book
            became = [one["decisions"] for one in (ledger.event(stored.id) or {"alerts": ()})["alerts"]]
        else:
            webhook = _webhook(loaded, str(source), file, sample, headers)
        readings = readings_in(wiring.sources(loaded.settings), webhook)
        explanation = wiring.explained(
            loaded.settings, loaded.book, readings, source=webhook.source, event=event_id, ledger=ledger
        )
        in_force = None if ledger is None else ledger.in_force().book
    finally:
        if ledger is not None:
            ledger.close()
    if as_json:
        then = {"decided_by": book_then, "in_force": in_force, "became": became}
        printed({**explanation_json(explanation), **then})
        return 0
    for line in _lines(explanation, became):
        tell(line)
    if book_then is not None and book_then != explanation.book:
        now = "this is what the rules in the files say of it"
        say(f"the event was decided by another rule book, {book_then[:12]}; {now}")
    if in_force is not None and in_force != explanation.book:
        advice = "'incident-bridge reload' takes them, with --dry-run it says what would change"
        say(f"these files are not in force: webhooks are decided by rule book {in_force[:12]}; {advice}")
    return 0


# -- what is explained


def _webhook(loaded: Loaded, source: str, file: Path | None, sample: str | None, headers: Sequence[str]) -> Webhook:
    configured = loaded.settings.sources.get(source)
    if configured is None:
        known = ", ".join(sorted(loaded.settings.sources))
        raise click.UsageError(f"there is no source '{source}'; sources: {known}")
    kept = {"content-type": "application/json"}
    if file is None:
        body = sample_bytes(configured.type, str(sample))
    elif str(file) == STANDARD_INPUT:
        body = sys.stdin.buffer.read()
    else:
        kept, body = headers_of(file), file.read_bytes()
    given = MappingProxyType({**kept, **dict(map(header_in, headers))})
    return Webhook(source=source, headers=given, body=body, received_at=datetime.now(UTC))


# -- text


def _lines(explanation: Explanation, became: Sequence[Became]) -> Iterator[str]:
    number = len(explanation.alerts)
    yield f"{explanation.source}: {counted(number, 'reading')}, rule book {explanation.book[:12]}"
    for position, one in enumerate(explanation.alerts, start=1):
        yield ""
        yield f"{position}. {one.reading.title or one.summary}"
        yield from _indented(_reading_lines(one.reading))
        yield f"   => {one.summary}"
        if position <= len(became):
            yield from _indented(map(_became_line, became[position - 1]))
        if one.rules:
            yield ""
            yield "   Rules"
            yield from _indented(_rules_lines(one), 5)
        for request in one.requests:
            yield ""
            yield f"   {'Request' if request.sent else 'Request, not sent'} of rule {request.rule}"
            yield from _indented(_request_lines(request), 5)


def _became_line(decision: Mapping[str, Any]) -> str:
    """What became of a stored alert: what was open or said before decides that as well, and no rule shows it."""
    of = "" if decision["rule"] is None else f" under rule {decision['rule']}"
    to = "" if decision["incident"] is None else f", incident {decision['incident']}"
    why = "" if decision["reason"] is None else f": {decision['reason']}"
    return f"when it came in: {decision['outcome']}{of}{to}{why}"


def _reading_lines(reading: Reading) -> Iterator[str]:
    yield _row("source", f"{reading.source} ({reading.source_type})")
    if not isinstance(reading, Alert):
        yield _row("notice", reading.reason)
        return
    severity = "none given, counts as error" if reading.severity is None else reading.severity.value
    yield _row("status", reading.status.value)
    yield _row("severity", severity)
    yield _row("fingerprint", reading.fingerprint)
    for name in ("episode", "reported_at", "starts_at", "ends_at"):
        value = getattr(reading, name)
        if value is not None:
            yield _row(name, rfc3339(value) if isinstance(value, datetime) else value)
    if reading.description:
        yield _row("description", reading.description)
    yield from _list_rows("labels", [f"{name}={text}" for name, text in reading.labels.items()])
    yield from _list_rows("links", [f"{link.text}: {link.href}" for link in reading.links])


def _rules_lines(one: AlertExplanation) -> Iterator[str]:
    width = max(len(rule.rule) for rule in one.rules)
    for rule in one.rules:
        mark = {Verdict.MATCHED: "yes", Verdict.FALLBACK: "yes", Verdict.REFUSED: "no ", Verdict.NOT_TRIED: "-  "}
        count = f"{rule.held} of {rule.of} hold" if rule.of else ""
        yield f"{mark[rule.verdict]} {rule.rule:<{width}}  {rule.place.file}:{rule.place.line}  {count}".rstrip()
        if rule.verdict is Verdict.REFUSED or (rule.verdict is Verdict.MATCHED and rule.answers):
            yield from _indented(_answer_lines(rule.answers))
        else:
            yield f"      {rule.why}"
    if one.left_out:
        yield f"and {one.left_out} more rules, none of which matches or comes nearer"
    if one.nearest is not None:
        yield f"nearest miss: {_miss(one.nearest)}"


def _miss(rule: RuleAnswer) -> str:
    return f"rule {rule.rule}, {rule.held} of {rule.of} conditions hold; {rule.why}"


def _answer_lines(answers: Sequence[Answer]) -> Iterator[str]:
    rows = list(_answer_rows(answers, 0))
    names = max((len(row[1]) for row in rows), default=0)
    values = max((len(row[2]) for row in rows if len(row[2]) <= COLUMN_MAX_CHARS), default=0)
    for mark, condition, actual, wanted in rows:
        yield f"{mark}  {condition:<{names}}  {actual:<{values}}  {wanted}".rstrip()


def _answer_rows(answers: Sequence[Answer], depth: int) -> Iterator[tuple[str, str, str, str]]:
    for one in answers:
        mark = "ok" if one.held else "no" if depth else "NO"  # loud only where it decides
        name = "  " * depth + one.condition
        if one.parts:
            meaning = {Kind.NOT: "not all of:", Kind.ANY: "any of:", Kind.ALL: "all of:"}.get(one.kind, "")
            yield mark, name, "", meaning
            yield from _answer_rows(one.parts, depth + 1)
        else:
            actual = "is missing" if one.actual is None else f"is {_short(_json(one.actual))}"
            apart = "anything but " if one.kind is Kind.NOT else ""
            yield mark, name, actual, f"wanted {apart}{_short(_json(one.wanted))}"


def _request_lines(one: Request) -> Iterator[str]:
    yield _row("account", f"{one.account} ({one.account_type})")
    if one.wait is not None:
        yield _row("lane", f"{one.wait.lane}, {one.wait.rate}: {one.wait.sentence}")
    yield _row("severity", one.severity.value)
    yield _row(one.key.field, one.key.text + (f" ({one.key.note})" if one.key.note else ""))
    yield _row("series", one.key.series)
    yield _row("hashed from", f"account {one.key.account}" + (f", scope {one.key.scope}" if one.key.scope else ""))
    for part in one.key.parts:
        stands_in = "  (the fingerprint stands in)" if part.stands_in else ""
        yield _row("", f"{part.path} = {_short(_json(part.value))}{stands_in}")
    yield _row("fold key", one.fold_key)
    yield from _list_rows("names", [f"{n.field} '{n.text}': {n.id or 'no id known'}" for n in one.names])
    yield from _list_rows("notes", one.notes)
    yield ""
    yield f"{one.http.method} {one.http.url}"
    for name, value in one.http.headers.items():
        yield f"{name}: {value}"
    yield ""
    yield (one.http.body or b"").decode("utf-8")


def _row(label: str, value: str) -> str:
    short = value if label == "" or len(value) <= VALUE_MAX_CHARS else value[: VALUE_MAX_CHARS - 1] + "…"
    return f"{label:<{LABEL_WIDTH}} {short}".rstrip()


def _list_rows(label: str, values: Iterable[str]) -> Iterator[str]:
    for number, value in enumerate(values):
        yield _row(label if number == 0 else "", _short(value))


def _indented(lines: Iterable[str], by: int = 3) -> Iterator[str]:
    for line in lines:
        yield " " * by + line if line else ""


def _short(text: str) -> str:
    return text if len(text) <= VALUE_MAX_CHARS else text[: VALUE_MAX_CHARS - 1] + "…"


def _json(value: Any) -> str:
    return canonical(value).decode("utf-8", "replace")


# -- capture


@click.command()
@click.argument("event_id", metavar="EVENT")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Else the rules folder.")
@click.option("--name", help="What the files are called; else source, title and the end of the event's id.")
@redact_option
@click.option("--force", is_flag=True, help="Write over files that exist.")
@config_option
def capture(
    event_id: str, folder: Path | None, name: str | None, patterns: tuple[str, ...], force: bool, config: Path
) -> int:
    """Write a stored event as a redacted fixture, and a test that expects of it what is decided today."""
    from bridge import wiring
    from bridge.entrypoints.captured import stem_of, test_files

    redactor = redactor_of(patterns)
    loaded = wiring.load(config, receives=False)
    ledger = wiring.open_ledger(loaded.settings)
    try:
        stored = stored_event(ledger, event_id)
    finally:
        ledger.close()
    webhook = webhook_of(stored)
    sources = wiring.sources(loaded.settings)
    before = readings_in(sources, webhook)
    stem = slug(name) if name else stem_of(webhook, before, redactor, event_id[-6:].lower())
    made = test_files(
        loaded.settings,
        loaded.book,
        sources[webhook.source],
        webhook,
        stem=stem,
        about=f"Captured from event {event_id}, received {rfc3339(stored.received_at)}, redacted.",
        redactor=redactor,
    )
    target = folder or loaded.settings.rules_dir
    files = {target / path: content for path, content in made.items()}
    there = [path for path in files if path.exists()]
    if there and not force:
        say(f"{there[0]} exists and is left alone; nothing was written (--force writes over it)")
        return PROBLEMS_FOUND
    for path, content in files.items():  # the test last: `up` may take it the moment it is there
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(path, content)
        tell(f"wrote {path}")
    say("look through the fixture before it goes into a repository: what is secret in it, only you know")
    return 0
