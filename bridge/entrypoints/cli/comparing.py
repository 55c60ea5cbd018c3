"""`diff`: two rule books over the same traffic. `export`: that traffic as redacted files, for CI."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bridge.compare import Book, Change, Comparison, Difference, Instead, difference_json, names_served
from bridge.config.folders import visible
from bridge.config.models import Settings
from bridge.config.texts import text_in
from bridge.config.yaml_reader import read_tree
from bridge.destinations.base import Destination
from bridge.domain.alert import Webhook
from bridge.domain.errors import BridgeError
from bridge.entrypoints.cli import PROBLEMS_FOUND, config_option, json_option, say, tell
from bridge.entrypoints.cli.tables import counted, printed, shown
from bridge.entrypoints.cli.traffic import (
    Progress,
    Traffic,
    last_option,
    names_known,
    readings_of,
    redact_option,
    redactor_of,
    since_instant,
    since_option,
    traffic,
    written,
)
from bridge.pipeline import decide
from bridge.rules.book import RuleBook
from bridge.sources.base import Source

CONFIGURATION = "bridge.yaml"
EXAMPLES_DEFAULT = 10

_MEANING = {
    Change.ADDED: "incidents that only the new rules open",
    Change.GONE: "incidents that only the old rules open",
    Change.MOVED: "move to another account",
    Change.RETITLED: "get another title",
    Change.REKEYED: "get another key: one that is open is not found again",
    Change.REPRIORITISED: "get another severity, urgency or priority",
    Change.CHANGED: "differ in another field",
    Change.HANDLED: "are handled differently after they open",
}


class NoSuchBook(BridgeError):
    """What was named as a rule book is none; the message says what can be named."""


@click.command()
@click.argument("old", type=click.Path(path_type=Path, exists=True))
@click.argument("new", type=click.Path(path_type=Path, exists=True))
@last_option
@since_option
@click.option(
    "--events",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder that 'export' wrote, instead of the ledger.",
)
@click.option(
    "--limit", type=click.IntRange(0), default=EXAMPLES_DEFAULT, show_default=True, help="Examples of each kind."
)
@click.option("--fail", is_flag=True, help="Exit with 1 when anything differs, or no event could be read.")
@json_option
@config_option
def diff(
    old: Path,
    new: Path,
    last: int | None,
    since: str | None,
    folder: Path | None,
    limit: int,
    fail: bool,
    as_json: bool,
    config: Path,
) -> int:
    """Compare two rule books over stored events: incidents added, gone, moved, told or handled differently.

    OLD and NEW are folders of rules, or bridge.yaml files (or the folders they lie in).
    """
    from bridge import wiring
    from bridge.adapters.ledger import Stretch

    stretch = Stretch(last=last, since=None if since is None else since_instant(since))
    settings = wiring.load_settings(_configuration_in(new) or config, receives=False)
    instead = names_served(names_known(settings, asks_ledger=folder is None).lists)
    comparison = Comparison(old=_book(old, settings, instead), new=_book(new, settings, instead))
    sources = wiring.sources(settings)
    examples: dict[Change, list[Difference]] = {change: [] for change in Change}
    with traffic(settings, folder, stretch) as stored:
        unread = _compared(comparison, sources, stored, examples, limit)
    if as_json:
        printed(_report(comparison, examples, unread))
    else:
        _report_shown(comparison, examples, unread)
    nothing_read = unread and not comparison.events
    return PROBLEMS_FOUND if fail and (comparison.counts.total() or nothing_read) else 0


def _compared(
    comparison: Comparison,
    sources: Mapping[str, Source],
    stored: Traffic,
    examples: Mapping[Change, list[Difference]],
    limit: int,
) -> int:
    """Put all the traffic through both books; answers how many webhooks could not be read."""
    unread = 0
    progress = Progress("events", stored.number)
    for event, webhook in stored.webhooks:
        readings = readings_of(sources, webhook)
        if readings is None:
            unread += 1
        else:
            for difference in comparison.take(event, webhook.received_at, readings):
                for change in difference.changes:
                    if len(examples[change]) < limit:
                        examples[change].append(difference)
        progress.step()
    progress.end()
    return unread


# -- the two books


def _configuration_in(path: Path) -> Path | None:
    """The bridge.yaml that a path is, or holds; None for a folder of rules. Raises NoSuchBook for a file of rules."""
    if path.is_file():
        held = read_tree(text_in(path, str(path)), str(path)).value
        if isinstance(held, Mapping) and isinstance(held.get("rules"), list):
            raise NoSuchBook(f"{path} is one file of rules: name the folder it lies in, or a bridge.yaml")
        return path
    inside = path / CONFIGURATION
    return inside if inside.is_file() else None


def _book(path: Path, settings: Settings, instead: Instead) -> Book:
    """The rule book at a path: of a configuration of its own, or a folder of rules for the accounts of `settings`.

    The templates of a folder of rules are those of the folder beside it that is called as the configuration's, if
    there is one: a checkout of another version brings its own.
    """
    from bridge import wiring

    own = _configuration_in(path)
    if own is not None:
        settings = wiring.load_settings(own, receives=False)
    elif not any(visible(path, "*.y*ml")):
        raise NoSuchBook(f"{path} holds no rule file: name a folder of rules, or a bridge.yaml")
    else:
        beside = path.absolute().parent / settings.templates_dir.name
        templates = beside if beside.is_dir() else settings.templates_dir
        settings = replace(settings, rules_dir=path.absolute(), templates_dir=templates)
    rules, _ = wiring.rule_book(settings)
    return Book(rules=rules, destinations=wiring.destinations(settings), instead=instead)


# -- the report


def _report(comparison: Comparison, examples: Mapping[Change, Sequence[Difference]], unread: int) -> dict[str, Any]:
    before, after = comparison.opened
    return {
        "events": comparison.events,
        "unread": unread,
        "alerts": comparison.alerts,
        "incidents": {"old": before, "new": after},
        "counts": {change.value: comparison.counts[change] for change in Change},
        "examples": {change.value: [difference_json(one) for one in examples[change]] for change in Change},
    }


def _report_shown(comparison: Comparison, examples: Mapping[Change, Sequence[Difference]], unread: int) -> None:
    before, after = comparison.opened
    tell(
        f"{counted(comparison.events, 'event')}, {counted(comparison.alerts, 'alert')}: "
        f"{counted(before, 'incident')} under the old rules, {after:,} under the new"
    )
    if unread:
        say(f"{unread:,} events could not be read and are left out: no such source here, or their body is odd")
    if not comparison.counts.total():
        tell("no difference" if comparison.events else "nothing was compared")
        return
    for change in Change:
        number = comparison.counts[change]
        if number:
            tell("")
            tell(f"{number:,} {change.value}: {_MEANING[change]}")
            rows = [_example_row(one, change) for one in examples[change]]
            if rows:
                columns = {"EVENT": "event", "SOURCE": "source", "RULE": "rule", "ALERT": "title"}
                shown({**columns, "WHAT CHANGES": "detail"}, rows, "")


def _example_row(one: Difference, change: Change) -> dict[str, Any]:
    """What the table of one kind of change says: of the others their own tables do, for a line has no room."""
    side = one.new or one.old
    return {
        "event": one.event,
        "source": one.source,
        "rule": None if side is None else side.rule,
        "title": one.alert,
        "detail": "; ".join(one.said_of(change)),
    }


# -- export


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@last_option
@since_option
@click.option("--source", help="Only of this source.")
@redact_option
@config_option
def export(
    folder: Path, last: int | None, since: str | None, source: str | None, patterns: tuple[str, ...], config: Path
) -> int:
    """Write stored events as redacted files into FOLDER: <source>/<event>.json, and its headers beside it."""
    from bridge import wiring
    from bridge.adapters.ledger import Stretch

    redactor = redactor_of(patterns)
    loaded = wiring.load(config, receives=False)
    if source is not None and source not in loaded.settings.sources:
        known = ", ".join(sorted(loaded.settings.sources))
        raise click.UsageError(f"there is no source '{source}'; sources: {known}")
    stretch = Stretch(last=last, since=None if since is None else since_instant(since), source=source)
    differs = _Differs(wiring.sources(loaded.settings), loaded.book, wiring.destinations(loaded.settings))
    number = 0
    with traffic(loaded.settings, None, stretch) as stored:
        progress = Progress("events", stored.number)
        for event, webhook in stored.webhooks:
            sample = redactor.sample(webhook, event)
            place = folder / webhook.source
            written({place / sample.body_name: sample.body, place / sample.headers_name: sample.headers_file})
            differs.look_at(event, webhook, replace(webhook, body=sample.body, headers=sample.headers))
            number += 1
            progress.step()
        progress.end()
    tell(f"wrote {counted(number, 'event')} into {folder}")
    for event in differs.events:
        say(f"event {event}: redacted, it matches other rules than it did; look at what they ask for")
    say("look through the files before they go into a repository: what is secret in them, only you know")
    return 0


class _Differs:
    """Finds events whose redaction changed which rules match, so that nobody tests what never happened."""

    def __init__(self, sources: Mapping[str, Source], book: RuleBook, destinations: Mapping[str, Destination]) -> None:
        self.sources, self.book, self.destinations = sources, book, destinations
        self.events: list[str] = []

    def look_at(self, event: str, before: Webhook, after: Webhook) -> None:
        """One event as it was and as it was written."""
        if self._matched(before) != self._matched(after):
            self.events.append(event)

    def _matched(self, webhook: Webhook) -> list[tuple[str, ...]] | None:
        readings = readings_of(self.sources, webhook)
        if readings is None:
            return None
        return [one.matched for one in decide(readings, self.book, self.destinations)]
