"""`silences`: list, try, add and end silences, with the bridge running or not; it takes them within two seconds."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bridge.config.yaml_reader import read_tree
from bridge.entrypoints.cli import PROBLEMS_FOUND, config_option, json_option, say, tell
from bridge.entrypoints.cli.auditing import did, user_name
from bridge.entrypoints.cli.groups import Group
from bridge.entrypoints.cli.reading import before_option, following, limit_option, opened, since_length
from bridge.entrypoints.cli.tables import printed, shown
from bridge.entrypoints.silencing import Draft, SilenceRefused, added, preview_json, preview_sentence, previewed

_MATCHER = re.compile(r"(?P<path>[^=!~]+?)(?P<how>=~|!~|!=|=)(?P<value>.*)", re.DOTALL)

matchers_argument = click.argument("matchers", nargs=-1, metavar="[PATH=VALUE]...")
match_option = click.option("--match", "match", metavar="YAML", help="Conditions as in a rule's `match`, instead.")
criticals_option = click.option("--criticals", is_flag=True, help="Hide criticals, too; else they page all the same.")


@click.group(cls=Group)
def silences() -> None:
    """List, try, add or end silences: for a while, alerts that match open nothing and are only recorded.

    Matchers are PATH=VALUE, PATH!=VALUE, PATH=~REGEX or PATH!~REGEX, and all must hold: labels.env=staging source=am.
    A value is text as it is written; of payload paths a number, true, false and null are what they look like. Anything
    else, such as a list, is for --match: "labels.env: [dev, staging]".
    """


@silences.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that are over, too.")
@limit_option
@before_option
@json_option
@config_option
def silences_list(everything: bool, limit: int, before: str | None, as_json: bool, config: Path) -> int:
    """List silences: those that hold or will, with how many alerts each hid so far."""
    with opened(config) as (ledger, _):
        page = ledger.silences(limit=limit, before=before)
    items = [one for one in page.items if everything or one["state"] != "ended"]
    goes_on = page.next if len(items) == len(page.items) else None  # those that are over come last
    if as_json:
        printed({"items": items, "next": goes_on})
        return 0
    rows = [
        {
            **one,
            "match": match_text(one["match"]),
            "ends_at": one["ended_at"] or one["ends_at"],
            "critical": "hidden, too" if one["criticals"] else "page",
            "why": one["reason"],
        }
        for one in items
    ]
    columns = {"SILENCE": "id", "STATE": "state", "UNTIL": "ends_at", "HID": "hidden", "CRITICALS": "critical"}
    columns |= {"AUTHOR": "author"}
    columns |= {"MATCHES": "match", "WHY": "why"}
    shown(columns, rows, "there are no silences" if everything else "no silence holds; --all lists those that are over")
    following(goes_on)
    return 0


@silences.command("add")
@matchers_argument
@match_option
@click.option("--for", "length", metavar="LENGTH", help="How long it holds: 30m, 2h, 1d; 30 days at most.")
@click.option("--until", metavar="INSTANT", help="When it ends, instead of --for.")
@click.option("--from", "starts", metavar="INSTANT", help="When it begins; else now.")
@click.option("--reason", required=True, help="Why nobody is to be paged; kept with it.")
@click.option("--author", help="Who answers for it; else your login name.")
@criticals_option
@json_option
@config_option
def silences_add(
    matchers: tuple[str, ...],
    match: str | None,
    length: str | None,
    until: str | None,
    starts: str | None,
    reason: str,
    author: str | None,
    criticals: bool,
    as_json: bool,
    config: Path,
) -> int:
    """Add a silence. Its end is mandatory; what it hides stays on record, and pages again when it is over."""
    if (length is None) == (until is None):
        raise click.UsageError("say when it ends: --for 2h, or --until 2026-01-31T08:00:00Z")
    draft = Draft(
        match=_match(matchers, match),
        until=length or until or "",
        author=author or user_name(),
        reason=reason,
        criticals=criticals,
        starts=starts or "",
    )
    with opened(config) as (ledger, settings):
        try:
            made = added(ledger, settings, draft)
            said = {"match": match_text(made["match"]), "ends_at": made["ends_at"], "reason": reason}
            did(ledger, "silence", f"silence {made['id']}", **said, author=draft.author, criticals=criticals)
            preview = previewed(ledger, settings, draft.match, criticals=criticals)
        except SilenceRefused as error:
            return _refused(error)
    if as_json:
        printed(made)
        return 0
    tell(f"silence {made['id']} holds until {made['ends_at']}")
    say(preview_sentence(preview))
    return 0


@silences.command("expire")
@click.argument("silence_id")
@click.option("--author", help="Who ends it; else your login name.")
@config_option
def silences_expire(silence_id: str, author: str | None, config: Path) -> int:
    """End a silence now. Its record stays; problems that still fire page within seconds."""
    with opened(config) as (ledger, _):
        no_such = (None, False)
        by = author or user_name()
        ended, was_ended_now = no_such if "\x00" in silence_id else ledger.silence_ended(silence_id, by)
        if was_ended_now:
            did(ledger, "end", f"silence {silence_id}")
    if ended is None:
        say(f"there is no silence '{silence_id}'; see 'incident-bridge silences list'")
        return PROBLEMS_FOUND
    state = "is over" if was_ended_now else "was over already,"
    tell(f"silence {silence_id} {state} since {ended['ended_at'] or ended['ends_at']}")
    return 0


@silences.command("preview")
@matchers_argument
@match_option
@click.option("--since", default="24h", show_default=True, metavar="LENGTH", help="How far back to look.")
@criticals_option
@json_option
@config_option
def silences_preview(
    matchers: tuple[str, ...], match: str | None, since: str, criticals: bool, as_json: bool, config: Path
) -> int:
    """Show what a silence would have hidden of the alerts that came in lately; adds nothing."""
    with opened(config) as (ledger, settings):
        try:
            wanted = _match(matchers, match)
            preview = previewed(ledger, settings, wanted, criticals=criticals, within=since_length(since))
        except SilenceRefused as error:
            return _refused(error)
    if as_json:
        printed(preview_json(preview))
        return 0
    columns = {"RECEIVED": "received_at", "EVENT": "event", "SOURCE": "source", "SEVERITY": "severity"}
    if preview.items:
        shown({**columns, "BECAME": "outcome", "ALERT": "title"}, preview.items, "")
    tell(preview_sentence(preview, f"the last {since}"))
    if preview.note is not None:
        say(preview.note)
    return 0


def match_text(match: Mapping[str, Any]) -> str:
    """Conditions in one line: `labels.env: staging, title: {regex: ^pg}`."""
    return ", ".join(f"{path}: {_value_text(wanted)}" for path, wanted in match.items())


def _value_text(wanted: Any) -> str:
    return wanted if isinstance(wanted, str) else json.dumps(wanted, ensure_ascii=False)


def _match(matchers: Sequence[str], match: str | None) -> Any:
    """The conditions of a command line."""
    if bool(matchers) == (match is not None):
        raise click.UsageError("say what it matches: labels.env=staging, or --match 'labels.env: staging'")
    if match is not None:
        return match
    conditions = [matcher_in(text) for text in matchers]
    if len({path for path, _ in conditions}) == len(conditions):
        return dict(conditions)
    return {"all": [{path: wanted} for path, wanted in conditions]}  # one path twice: both hold


def matcher_in(text: str) -> tuple[str, Any]:
    """`path=value` and the like as a condition. What a sender's payload holds has types; everything else is text."""
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise click.UsageError(f"a matcher is PATH=VALUE, PATH!=VALUE, PATH=~REGEX or PATH!~REGEX, not '{text}'")
    path, value = found["path"].strip(), found["value"]
    typed = _typed(value) if path.startswith("payload") else value
    match found["how"]:
        case "=":
            return path, typed
        case "!=":
            return path, {"ne": typed}
        case "=~":
            return path, {"regex": value}
    return "not", {path: {"regex": value}}


def _typed(value: str) -> Any:
    """A value as YAML reads it where that is one number, true, false or null; else the text as it was written.

    Titles and messages begin with `[CRITICAL]` or hold a `: `: what is no YAML, a list or a mapping is meant as text.
    """
    tree = read_tree(value, "value")
    return value if tree.problems or not value.strip() or isinstance(tree.value, list | Mapping) else tree.value


def _refused(error: SilenceRefused) -> int:
    for sentence in error.sentences:
        say(sentence)
    return PROBLEMS_FOUND
