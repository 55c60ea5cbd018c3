"""`shadow`: what rules in shadow mode would have done, beside what really happened."""

from pathlib import Path

import click

from bridge.domain.errors import ConfigError
from bridge.entrypoints.cli import config_option, json_option, say, tell
from bridge.entrypoints.cli.reading import opened, since_length
from bridge.entrypoints.cli.tables import printed, shown
from bridge.entrypoints.shadowing import LOOKED_AT_MAX, SINCE, really_text, shadow_json, shadow_rules


@click.command()
@click.option("--since", default=SINCE, show_default=True, metavar="LENGTH", help="How far back to look.")
@json_option
@config_option
def shadow(since: str, as_json: bool, config: Path) -> int:
    """Show what rules in shadow mode (`mode: shadow`) would have opened, joined and resolved, beside what happened.

    It is made of the records of their decisions: the rules as they were when each alert came in.
    """
    from bridge import wiring

    within = since_length(since)
    with opened(config) as (ledger, settings):
        try:
            book, _ = wiring.rule_book(settings)
            rules = shadow_rules(book)
        except ConfigError:
            rules = ()  # records need no rules
        found, note = ledger.shadowed(within, rules=rules, most=LOOKED_AT_MAX)
    if as_json:
        printed({"items": [shadow_json(one) for one in found], "note": note})
        return 0
    rows = [
        {**shadow_json(one), "accounts": ", ".join(one.accounts), "really": really_text(one.really)} for one in found
    ]
    columns = {"RULE": "rule", "ACCOUNT": "accounts", "ALERTS": "alerts", "WOULD OPEN": "opened", "JOIN": "joined"}
    columns |= {"REPEAT": "repeated", "RESOLVE": "resolved", "REALLY": "really"}
    shown(columns, rows, f"no rule is in shadow mode, and none decided so in the last {since}")
    for one in found:
        for event, title in one.samples:
            tell(f"  {one.rule} would have opened: {title}  ({event})")
    if note is not None:
        say(note)
    return 0
