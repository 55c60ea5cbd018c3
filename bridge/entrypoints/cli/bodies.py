"""A webhook in files: its body, and beside it the headers it came with, as `export` writes them."""

import json
from pathlib import Path

import click

HEADERS_SUFFIX = ".headers.json"


def media_type_of(name: str) -> str:
    """The content type of a body in a file of this name."""
    return "application/x-www-form-urlencoded" if name.endswith(".form") else "application/json"


def headers_of(body: Path) -> dict[str, str]:
    """The headers that stand in the file beside a body, in lower case; none when there is no such file."""
    beside = body.with_name(body.stem + HEADERS_SUFFIX)
    if beside == body or not beside.is_file():
        return {}
    try:
        headers = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{beside} is no JSON: {error}") from error
    if not isinstance(headers, dict):
        raise click.UsageError(f"{beside} is not an object of header names and values")
    return {str(name).lower(): str(value) for name, value in headers.items()}


def header_in(text: str) -> tuple[str, str]:
    """A header as `--header NAME:VALUE` gives it, the name in lower case. Raises a usage error."""
    name, colon, value = text.partition(":")
    if not colon:
        raise click.UsageError(f"--header takes NAME:VALUE, not '{text}'")
    return name.strip().lower(), value.strip()
