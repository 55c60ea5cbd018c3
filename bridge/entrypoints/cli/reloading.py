"""`reload`: ask a running web process to take the rules as they are on its disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bridge.config.models import Settings
from bridge.domain.access import Role
from bridge.entrypoints.cli import PROBLEMS_FOUND, config_option, json_option, say, tell
from bridge.entrypoints.cli.tables import printed

WITHIN_S = 200.0  # above what check and tests may take


@click.command()
@click.option("--dry-run", is_flag=True, help="Check and test, show what would change, and take nothing.")
@click.option("--to", help="Where a web process listens; else server.listen of the configuration.")
@json_option
@config_option
def reload(dry_run: bool, to: str | None, as_json: bool, config: Path) -> int:
    """Put changed rules and templates in force: checked and tested first, then in every process within two seconds.

    A running web process does it, with the files on its own disk; bridge.yaml is read at its start alone. With anything
    wrong nothing changes, every problem is said, and the exit code is 1.
    """
    from bridge import wiring

    settings = wiring.load_settings(config, receives=False)
    address = to or settings.server.reachable
    url = (address if "://" in address else f"http://{address}").rstrip("/")
    status, answer = _asked(settings, url, {"dry_run": dry_run})
    if as_json:
        printed(answer)
        return 0 if status == 200 else PROBLEMS_FOUND
    if status == 200:
        _told(answer, dry_run=dry_run)
        return 0
    for problem in answer.get("problems", ()):
        say(f"{problem['file']}:{problem['line']}:{problem['column']}: {problem['message']}")
        if problem["hint"]:
            say(f"    {problem['hint']}")
    for note in answer.get("notes", ()):
        say(note)
    say(str(answer.get("sentence") or answer.get("error") or f"{url} answered {status}"))
    return PROBLEMS_FOUND


def _asked(settings: Settings, url: str, content: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The answer of a web process; status 0 when there was none."""
    import requests

    token = next((one.secret for one in settings.ui.tokens.values() if one.role.may(Role.ADMIN)), None)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with requests.Session() as session:
            session.trust_env = False
            response = session.post(f"{url}/api/v1/reload", json=dict(content), headers=headers, timeout=WITHIN_S)
    except requests.RequestException as error:
        return 0, {"error": f"no web process answers at {url} ({type(error).__name__}); rules are read when it starts"}
    if response.status_code == 401:
        hint = "give ui.tokens a token of role admin in bridge.yaml, and its variable to this shell"
        return 401, {"error": f"the web process wants a login or a bearer token: {hint}"}
    try:
        answer = response.json()
    except ValueError:
        answer = {"error": f"{url} answered {response.status_code} and no JSON: is it the bridge that listens there?"}
    return response.status_code, answer if isinstance(answer, dict) else {"error": str(answer)[:300]}


def _told(answer: Mapping[str, Any], *, dry_run: bool) -> None:
    for warning in answer["warnings"]:
        say(f"{warning['file']}:{warning['line']}:{warning['column']}: warning: {warning['message']}")
    for line in answer["changes"]["diff"] if dry_run and answer["changes"] else ():
        tell(line)
    tell(answer["sentence"])
    was = f", was {answer['before'][:12]}" if answer["before"] and answer["before"] != answer["book"] else ""
    book = answer["found"] if dry_run else answer["book"]
    if book is not None:
        say(f"rule book {book[:12]}{was}")
    for note in answer["notes"]:
        say(note)
