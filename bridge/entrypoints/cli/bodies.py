"""Headers of a webhook that a command posts or reads: from the file beside its body, and from the command line."""

from pathlib import Path

import click

from bridge.config import bodies


def headers_of(body: Path) -> dict[str, str]:
    """The headers of a body in a file. Raises a usage error when those beside it cannot be read."""
    try:
        return bodies.headers_of(body)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def header_in(text: str) -> tuple[str, str]:
    """A header as `--header NAME:VALUE` gives it, the name in lower case. Raises a usage error."""
    name, colon, value = text.partition(":")
    if not colon:
        raise click.UsageError(f"--header takes NAME:VALUE, not '{text}'")
    return name.strip().lower(), value.strip()
