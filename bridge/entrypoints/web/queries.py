"""What stands behind the `?` of a list: filters as sent, and which page of it."""

from typing import Any

from flask import request

from bridge.adapters.ids import made_at
from bridge.adapters.ledger.reads import LIMIT_DEFAULT, LIMIT_MAX


class BadQuery(Exception):
    """A query parameter that cannot be read; the message says which and what it may be."""


def text_of(name: str) -> str | None:
    """A filter as sent; None when it is missing or empty. Neither database takes a NUL."""
    return request.args.get(name, "").replace("\x00", "")[:1000] or None


def paging() -> dict[str, Any]:
    """`limit` and `before` as the ledger's lists take them. Raises BadQuery.

    A `before` that is no id sorts somewhere all the same: a script that hands on the `null` of a last page would get
    the first one again, for ever.
    """
    limit, before = request.args.get("limit", str(LIMIT_DEFAULT)), text_of("before")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= LIMIT_MAX:
        raise BadQuery(f"limit is a whole number from 1 to {LIMIT_MAX}, not '{limit[:40]}'")
    if before is not None and made_at(before) is None:
        raise BadQuery(f"before is the id that the page before has as 'next', not '{before[:40]}'")
    return {"limit": int(limit), "before": before}
