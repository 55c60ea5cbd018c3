"""`send`: post a file or a shipped sample to a source of the running bridge, authenticated as the sender would."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, assert_never

import click

from bridge.config.models import Settings
from bridge.entrypoints.cli import PROBLEMS_FOUND, config_option, json_option, say, tell
from bridge.entrypoints.cli.bodies import header_in, headers_of
from bridge.entrypoints.cli.tables import counted, printed
from bridge.sources import SOURCES
from bridge.sources.base import (
    Auth,
    BasicAuth,
    BearerAuth,
    HeaderAuth,
    NoAuth,
    Proof,
    QueryAuth,
    SignatureAuth,
    Signs,
)

TIMEOUT_S = 15
NO_QUERY: Mapping[str, str] = MappingProxyType({})
OF_ONE_CONNECTION = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})


class NoSecret(click.UsageError):
    """A source whose secret is empty: nothing can be proven to it."""

    def __init__(self) -> None:
        super().__init__("this source has no secret yet: set the variable its `auth` names")


@click.command()
@click.argument("source")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--sample", help="A shipped sample of the source's type instead of a file.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="One more request header.")
@click.option("--to", help="Where the bridge listens; else server.listen of the configuration.")
@json_option
@config_option
def send(
    source: str,
    file: Path | None,
    sample: str | None,
    headers: tuple[str, ...],
    to: str | None,
    as_json: bool,
    config: Path,
) -> int:
    """Post FILE to SOURCE of the running bridge, with the credentials or signature of the configuration.

    The headers that it came with go along where they stand beside it, as `export` and saved tests keep them (page.json,
    page.headers.json). A delivery id among them makes a second post a repeat of the first.
    """
    from bridge import wiring

    settings = wiring.load_settings(config)
    configured = settings.sources.get(source)
    if configured is None:
        raise click.UsageError(f"there is no source '{source}'; sources: {', '.join(sorted(settings.sources))}")
    if (file is None) == (sample is None):
        raise click.UsageError("name a file, or a sample with --sample")
    if file is not None:
        kept, body = headers_of(file), file.read_bytes()
    else:
        kept, body = {"content-type": "application/json"}, sample_bytes(configured.type, str(sample))
    url = _address(to or settings.server.reachable)
    try:
        proof = proof_of(configured.type, configured.auth, body, datetime.now(UTC))
    except NoSecret as error:
        raise click.UsageError(_secret_wanted(settings, source)) from error
    carried = {name: value for name, value in kept.items() if name not in OF_ONE_CONNECTION}
    proven = {name.lower(): value for name, value in proof.headers.items()}
    status, answer = post(url, source, body, {**carried, **proven, **dict(map(header_in, headers))}, proof.query)
    if as_json:
        printed({"status": status, "answer": answer})
    elif status == 202:
        again = " (a repeat of one that is known)" if answer.get("duplicate") else ""
        alerts = counted(answer.get("alerts", 0), "alert")
        tell(f"202: event {answer.get('event')}, {alerts}{again}, at {url}")
    else:
        say(f"{status}: {answer.get('error', answer)}" if status else str(answer.get("error")))
    return 0 if status == 202 else PROBLEMS_FOUND


def _address(text: str) -> str:
    """An address as people type it: `127.0.0.1:8080` is one, too."""
    return (text if "://" in text else f"http://{text}").rstrip("/")


def sample_names(source_type: str) -> list[str]:
    """The shipped samples of a source type."""
    folder = Path(str(files("bridge.sources"))) / "samples" / source_type
    return sorted(file.stem for file in folder.glob("*.json"))


def sample_bytes(source_type: str, name: str) -> bytes:
    """One shipped sample. Raises a usage error that lists the others."""
    if name not in sample_names(source_type):
        known = ", ".join(sample_names(source_type)) or "none"
        raise click.UsageError(f"there is no sample '{name}' of type {source_type}; samples: {known}")
    return (Path(str(files("bridge.sources"))) / "samples" / source_type / f"{name}.json").read_bytes()


def post(
    url: str, source: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str] = NO_QUERY
) -> tuple[int, dict[str, Any]]:
    """Post one body as its sender would; the status (0: no answer) and the answer."""
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False
            response = session.post(
                f"{url}/webhooks/{source}",
                data=body,
                params=dict(query),
                headers=dict(headers),
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
    except (requests.exceptions.InvalidHeader, UnicodeEncodeError):  # the latter when it is no Latin-1
        return 0, {"error": "a header cannot be sent: its value, or the secret in it, wants one line of Latin-1"}
    except requests.RequestException as error:
        return 0, {"error": f"nothing answers at {url}: is the bridge running? ({type(error).__name__})"}
    try:
        answer = response.json()
    except ValueError:
        answer = {"error": response.text[:300]}
    return response.status_code, answer if isinstance(answer, dict) else {"error": str(answer)}


def proof_of(source_type: str, auth: Auth, body: bytes, now: datetime) -> Proof:
    """What proves a body to be the sender's, with the first of its secrets. Raises a usage error when nothing can."""
    match auth:
        case NoAuth():
            return Proof()
        case BearerAuth(secrets=secrets):
            return Proof(headers={"Authorization": f"Bearer {_first(secrets)}"})
        case HeaderAuth(header=header, secrets=secrets):
            return Proof(headers={header: _first(secrets)})
        case BasicAuth(username=username, passwords=passwords):
            pair = base64.b64encode(f"{username}:{_first(passwords)}".encode()).decode()
            return Proof(headers={"Authorization": f"Basic {pair}"})
        case QueryAuth(parameter=parameter, secrets=secrets):
            return Proof(query={parameter: _first(secrets)})
        case SignatureAuth(secrets=secrets):
            vendor = SOURCES[source_type]
            if not issubclass(vendor, Signs):
                raise click.UsageError(
                    f"nobody but the sender can sign for {source_type}: to try it out, send to a source of this type "
                    "with another auth: {bearer}, {header, secret}, {basic}, {query, secret} or none"
                )
            _first(secrets)
            return vendor.proof(auth, body, now)
        case _:
            assert_never(auth)


def _first(secrets: tuple[str, ...]) -> str:
    if not secrets or not secrets[0]:
        raise NoSecret
    return secrets[0]


def _secret_wanted(settings: Settings, source: str) -> str:
    """What to do about a source without a secret: the loading of the configuration has found which variable it is."""
    mark = f"source '{source}' has no secret yet"
    advice = next((one.hint for one in settings.warnings if one.message.startswith(mark)), "set its variable")
    return f"{mark} and refuses everybody: {advice}, in this shell and where the bridge runs, and start that again"
