"""`send`: post a file or a shipped sample to a source of the running bridge, authenticated as the sender would."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from bridge.entrypoints.cli import PROBLEMS_FOUND, config_option, json_option, say
from bridge.entrypoints.cli.tables import printed
from bridge.sources.base import Auth, BasicAuth, BearerAuth, HeaderAuth, NoAuth, QueryAuth, SignatureAuth

TIMEOUT_S = 15


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
    """Post FILE to SOURCE of the running bridge, with the credentials or signature of the configuration."""
    from bridge import wiring

    settings = wiring.load_settings(config)
    configured = settings.sources.get(source)
    if configured is None:
        raise click.UsageError(f"there is no source '{source}'; sources: {', '.join(sorted(settings.sources))}")
    if (file is None) == (sample is None):
        raise click.UsageError("name a file, or a sample with --sample")
    if file is not None:
        name, body = file.name, file.read_bytes()
    else:
        name, body = f"{sample}.json", sample_bytes(configured.type, str(sample))
    extra = dict(_header(text) for text in headers)
    url = (to or f"http://{settings.server.reachable}").rstrip("/")
    status, answer = post(url, source, configured.auth, body, _media_type(name), extra)
    if as_json:
        printed({"status": status, "answer": answer})
    elif status == 202:
        again = " (a repeat of one that is known)" if answer.get("duplicate") else ""
        click.echo(f"202: event {answer.get('event')}, {answer.get('alerts')} alerts{again}")
    else:
        say(f"{status}: {answer.get('error', answer)}" if status else str(answer.get("error")))
    return 0 if status == 202 else PROBLEMS_FOUND


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
    url: str, source: str, auth: Auth, body: bytes, media_type: str, extra: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    """Post one body as its sender would; the status (0: no answer) and the answer."""
    import requests

    headers, query = credentials(auth, body)
    try:
        with requests.Session() as session:
            session.trust_env = False
            response = session.post(
                f"{url}/webhooks/{source}",
                data=body,
                params=query,
                headers={"Content-Type": media_type, **headers, **extra},
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
    except requests.RequestException as error:
        return 0, {"error": f"nothing answers at {url}: is the bridge running? ({type(error).__name__})"}
    try:
        answer = response.json()
    except ValueError:
        answer = {"error": response.text[:300]}
    return response.status_code, answer if isinstance(answer, dict) else {"error": str(answer)}


def credentials(auth: Auth, body: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and query parameters that prove a body to be the sender's, with the first of its secrets."""
    match auth:
        case NoAuth():
            return {}, {}
        case BearerAuth(secrets=secrets):
            return {"Authorization": f"Bearer {_first(secrets)}"}, {}
        case HeaderAuth(header=header, secrets=secrets):
            return {header: _first(secrets)}, {}
        case BasicAuth(username=username, passwords=passwords):
            pair = base64.b64encode(f"{username}:{_first(passwords)}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}, {}
        case QueryAuth(parameter=parameter, secrets=secrets):
            return {}, {parameter: _first(secrets)}
        case SignatureAuth(secrets=secrets):
            at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            digest = hmac.new(_first(secrets).encode(), at.encode() + body, hashlib.sha256).digest()
            signature = base64.b64encode(digest).decode()
            # Zendesk's, the only vendor signature so far: SOURCES.md section 3
            return {
                "X-Zendesk-Webhook-Signature": signature,
                "X-Zendesk-Webhook-Signature-Timestamp": at,
            }, {}


def _first(secrets: tuple[str, ...]) -> str:
    if not secrets or not secrets[0]:
        raise click.UsageError("this source has no secret yet: set the variable its `auth` names, in this shell too")
    return secrets[0]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.UsageError(f"--header takes NAME:VALUE, not '{text}'")
    return name.strip(), value.strip()


def _media_type(name: str) -> str:
    return "application/x-www-form-urlencoded" if name.endswith(".form") else "application/json"
