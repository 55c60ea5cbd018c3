"""Commands that ask the ledger: events, incidents, lanes, dead letters. They work with the bridge running or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bridge.adapters.ids import made_at
from bridge.config import units
from bridge.domain.decision import Outcome
from bridge.domain.folding import behind_sentence
from bridge.domain.incident import IncidentState
from bridge.entrypoints.cli import config_option, json_option, say, tell
from bridge.entrypoints.cli.groups import Group
from bridge.entrypoints.cli.tables import age, printed, shown

if TYPE_CHECKING:
    from bridge.adapters.ledger import Ledger

LIMIT_HELP = "How many, newest first (up to 500)."
limit_option = click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help=LIMIT_HELP)


def _cursor(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """An id as a list names it. Any other text sorts somewhere: `null` of a last page would begin the list anew."""
    if text and made_at(text) is None:
        raise click.BadParameter(f"'{text}' is no id; it is the `next` of the page before, and null after the last one")
    return text


before_option = click.option(
    "--before", callback=_cursor, metavar="ID", help="Continue a list: the id its last page ended with."
)


@contextmanager
def opened(config: Path) -> Iterator[tuple["Ledger", Any]]:
    """The ledger of a configuration and its settings."""
    from bridge import wiring

    settings = wiring.load_settings(config, receives=False)
    ledger = wiring.open_ledger(settings)
    try:
        yield ledger, settings
    finally:
        ledger.close()


@click.command()
@click.option("--source", help="Only of this source.")
@click.option(
    "--outcome", type=click.Choice([one.value for one in Outcome]), help="Only events with an alert of this outcome."
)
@click.option("--rule", help="Only events with an alert this rule decided.")
@click.option("--state", type=click.Choice(["accepted", "rejected"]), help="Only events in this state.")
@click.option("-q", "--text", help="An id, a fingerprint, a key, or words of a title.")
@click.argument("event_id", required=False)
@limit_option
@before_option
@json_option
@config_option
def events(
    event_id: str | None,
    source: str | None,
    outcome: str | None,
    rule: str | None,
    state: str | None,
    text: str | None,
    limit: int,
    before: str | None,
    as_json: bool,
    config: Path,
) -> int:
    """List what came in and what became of it; with an EVENT_ID, that event whole."""
    from bridge.adapters.ledger import EventQuery

    query = EventQuery(source=source, outcome=outcome, rule=rule, state=state, q=text, limit=limit, before=before)
    with opened(config) as (ledger, _):
        if event_id is not None:
            return _whole(ledger.event(event_id), "event", event_id)
        page = ledger.events(query)
        lines = ledger.event_lines([item["id"] for item in page.items])
    if as_json:
        printed({"items": [{**item, "lines": lines.get(item["id"], [])} for item in page.items], "next": page.next})
        return 0
    rows = [row for item in page.items for row in _event_rows(item, lines.get(item["id"], []))]
    columns = {"RECEIVED": "at", "EVENT": "id", "SOURCE": "source", "ALERT": "title", "BECAME": "outcome"}
    shown(
        {**columns, "RULE": "rule", "INCIDENT": "incident"},
        rows,
        _nothing("nothing was received yet", source, outcome, rule, state, text, before),
    )
    following(page.next)
    return 0


def _nothing(of_all: str, *asked: str | None) -> str:
    """What an empty list says: that there is nothing, or only nothing of what was asked for."""
    return "nothing matches; without the options there may be more" if any(asked) else of_all


def _event_rows(item: Any, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    base = {"at": item["received_at"], "id": item["id"], "source": item["source"]}
    if not lines:
        what = "rejected" if item["state"] == "rejected" else "no alerts"
        return [{**base, "title": item["reason"], "outcome": what}]
    return [{**base, **line, "outcome": _became(line)} for line in lines]


def _became(line: dict[str, Any]) -> str:
    """An alert that opened an incident which could not be sent has paged nobody."""
    dead = line["outcome"] == Outcome.OPENED.value and line["incident_state"] == IncidentState.DEAD.value
    return f"{line['outcome']}, {line['incident_state']}" if dead else str(line["outcome"])


@click.command()
@click.option("--state", type=click.Choice([one.value for one in IncidentState]), help="Only incidents in this state.")
@click.option("--account", help="Only of this account.")
@click.argument("incident_id", required=False)
@limit_option
@before_option
@json_option
@config_option
def incidents(
    incident_id: str | None,
    state: str | None,
    account: str | None,
    limit: int,
    before: str | None,
    as_json: bool,
    config: Path,
) -> int:
    """List incidents; with an INCIDENT_ID, that incident whole."""
    with opened(config) as (ledger, _):
        if incident_id is not None:
            return _whole(ledger.incident(incident_id), "incident", incident_id)
        page = ledger.incidents(state=state, account=account, limit=limit, before=before)
    if as_json:
        printed({"items": list(page.items), "next": page.next})
        return 0
    rows = [{**item, "upstream": _upstream(item), "members": _members(item)} for item in page.items]
    columns = {"OPENED": "opened_at", "INCIDENT": "id", "ACCOUNT": "account", "STATE": "state", "SEVERITY": "severity"}
    empty = _nothing("there are no incidents", state, account, before)
    shown({**columns, "UPSTREAM": "upstream", "MEMBERS": "members", "TITLE": "title"}, rows, empty)
    following(page.next)
    return 0


@click.command()
@click.option("--pause", metavar="ACCOUNT", help="Send nothing to this account until it is resumed.")
@click.option("--resume", metavar="ACCOUNT", help="Let a paused account's lane go on.")
@json_option
@config_option
def lanes(pause: str | None, resume: str | None, as_json: bool, config: Path) -> int:
    """Show every account's lane: its rate, its tokens, what waits and why. --pause and --resume hold one back.

    What is paused is kept and goes out, in order, once it is resumed. Accounts with the same token share a lane.
    """
    from bridge import wiring
    from bridge.entrypoints.cli.auditing import did

    with opened(config) as (ledger, settings):
        for account in (pause, resume):  # both, before either is done: wrong usage changes nothing
            if account is not None and account not in settings.accounts:
                raise click.UsageError(f"there is no account '{account}'; accounts: {', '.join(settings.accounts)}")
        for action, account, act in (("pause", pause, ledger.paused), ("resume", resume, ledger.resumed)):
            if account is not None:
                act(account)
                did(ledger, action, f"account {account}")
        items = ledger.lanes(wiring.rates(settings))
        others = [one["account"] for one in ledger.unconfigured(settings.accounts)]
    if others:
        say(f"not configured, with incidents open or waiting: {', '.join(others)}; see 'incident-bridge doctor'")
    if as_json:
        printed({"items": items, "next": None})
        return 0
    rows = [
        {
            **item,
            "tokens": f"{item['tokens']:g} of {item['burst']}" if item["tokens"] is not None else "-",
            "waiting": _waiting(item),
            "oldest": age(item["oldest_wait_s"]),
            "parked": _held_back(item, settings),
        }
        for item in items
    ]
    columns = {"ACCOUNT": "account", "TYPE": "type", "RATE": "rate", "TOKENS": "tokens", "WAITING": "waiting"}
    shown({**columns, "OLDEST": "oldest", "DEAD": "dead", "HELD BACK": "parked"}, rows, "no accounts are configured")
    return 0


def _upstream(item: Any) -> str | None:
    return f"folded into {item['carrier']}" if item["carrier"] is not None else item["upstream"]["id"]


def _members(item: Any) -> str:
    own = len(item["members"])
    return f"{own} and {item['folded']} folded" if item["folded"] else str(own)


def _held_back(item: Any, settings: Any) -> str | None:
    """Why a lane waits, and where its criticals go meanwhile."""
    why = item["parked"] or behind_sentence(folding=item["folding"], waiting=item["waiting"])
    account = settings.accounts.get(item["account"])
    if why is None or account is None or account.plan_b is None:
        return why
    return f"{why}; criticals open at '{account.plan_b}' as well"


def _waiting(item: Any) -> str:
    kinds = ", ".join(f"{n} {severity}" for severity, n in item["waiting_by_severity"].items() if n)
    return kinds or "nothing"


@click.group(cls=Group)
def dead() -> None:
    """List, show, replay or discard dead letters: deliveries the upstream will not take as they are."""


@dead.command("list")
@limit_option
@before_option
@json_option
@config_option
def dead_list(limit: int, before: str | None, as_json: bool, config: Path) -> int:
    """List dead letters, newest first."""
    with opened(config) as (ledger, _):
        page = ledger.deliveries(state="dead", limit=limit, before=before)
    if as_json:
        printed({"items": list(page.items), "next": page.next})
        return 0
    now = datetime.now(UTC)
    rows = [{**item, "age": age((now - _instant(item["created_at"])).total_seconds())} for item in page.items]
    columns = {"DELIVERY": "id", "AGE": "age", "ACCOUNT": "account", "ACTION": "action", "WHY": "reason"}
    shown({**columns, "TITLE": "title", "IN THE UPSTREAM'S WORDS": "detail"}, rows, "there are no dead letters")
    following(page.next)
    return 0


@dead.command("show")
@click.argument("delivery_id")
@click.option("--json", is_flag=True, expose_value=False, help="It is JSON in any case.")
@config_option
def dead_show(delivery_id: str, config: Path) -> int:
    """Show one delivery whole: what it sends, and every attempt with its answer."""
    with opened(config) as (ledger, _):
        return _whole(ledger.delivery(delivery_id), "delivery", delivery_id)


@dead.command("replay")
@click.argument("delivery_ids", nargs=-1, metavar="DELIVERY_ID...")
@click.option("--all", "everything", is_flag=True, help="Replay every dead letter.")
@config_option
def dead_replay(delivery_ids: tuple[str, ...], everything: bool, config: Path) -> int:
    """Send dead letters again, through their lane, under their stored key."""
    if everything == bool(delivery_ids):
        raise click.UsageError("name the deliveries to replay, or say --all")
    from bridge.adapters.ledger.letters import LetterError
    from bridge.entrypoints.cli.auditing import did

    failed = 0
    with opened(config) as (ledger, _):
        wanted = delivery_ids or tuple(_every_dead(ledger))
        for delivery_id in wanted:
            try:
                lane = ledger.replayed(delivery_id)
            except LetterError as error:
                failed += 1
                say(str(error))
            else:
                did(ledger, "replay", f"delivery {delivery_id}")
                tell(f"{delivery_id} waits in lane {lane}")
    if not wanted:
        say("there are no dead letters")
    return 1 if failed else 0


@dead.command("discard")
@click.argument("delivery_id")
@click.option("--reason", required=True, help="Why nobody has to be told; kept with the letter.")
@config_option
def dead_discard(delivery_id: str, reason: str, config: Path) -> int:
    """Put one dead letter aside for good. It stays on record with your reason."""
    from bridge.adapters.ledger.letters import LetterError
    from bridge.entrypoints.cli.auditing import did

    with opened(config) as (ledger, _):
        try:
            ledger.discarded(delivery_id, reason)
        except LetterError as error:
            say(str(error))
            return 1
        did(ledger, "discard", f"delivery {delivery_id}", reason=reason)
    tell(f"{delivery_id} is discarded")
    return 0


def _every_dead(ledger: "Ledger") -> Iterator[str]:
    before = None
    while True:
        page = ledger.deliveries(state="dead", limit=500, before=before)
        yield from [item["id"] for item in page.items]
        before = page.next
        if before is None:
            return


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def since_length(text: str) -> timedelta:
    """How far back --since looks. Raises a usage error."""
    try:
        return units.duration(text)
    except (ValueError, OverflowError):
        raise click.UsageError(f"--since takes a length such as 24h or 7d, not '{text}'") from None


def _whole(found: Any, kind: str, wanted: str) -> int:
    if found is None:
        say(f"there is no {kind} '{wanted}'; see 'incident-bridge {'dead list' if kind == 'delivery' else kind + 's'}'")
        return 1
    printed(found)
    return 0


def following(before: str | None) -> None:
    """Say how a list goes on, if it does."""
    if before is not None:
        say(f"there is more: --before {before}")
