"""A webhook in files, as `export` and `capture` write it: its body, and beside it the headers it came with."""

import json
from pathlib import Path

from bridge.sources.body import FORM_MEDIA_TYPE, HEADERS_SUFFIX, SUFFIXES


def media_type_of(name: str) -> str:
    """The content type of a body in a file of this name."""
    return FORM_MEDIA_TYPE if name.endswith(SUFFIXES["form"]) else "application/json"


def headers_of(body: Path) -> dict[str, str]:
    """The headers of a body in a file, in lower case: those that stand beside it, and what its name says of its type.

    Raises OSError, and ValueError with a sentence, when what stands beside it cannot be read.
    """
    beside = body.with_name(body.stem + HEADERS_SUFFIX)
    said = {"content-type": media_type_of(body.name)}
    if not beside.is_file():
        return said
    try:
        headers = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{beside} is no JSON: {error}") from error
    if not isinstance(headers, dict):
        raise ValueError(f"{beside} is not an object of header names and values")
    return said | {str(name).lower(): str(value) for name, value in headers.items()}
