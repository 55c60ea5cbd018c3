"""What of a webhook is stored: its headers without credentials, its body without the source's secrets.

Senders repeat the address they post to, the secret in it included: in a header, in a text, escaped as JSON or a form
escapes it. What is stored is shown on pages and sent to upstreams.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlencode

from bridge.domain.alert import Webhook
from bridge.sources.base import Source
from bridge.sources.body import FORM_MEDIA_TYPE

_SECRET_WORDS = ("auth", "token", "secret", "signature", "cookie", "key", "password", "credential", "session")
_REDACTED = b"[redacted]"
_REDACTED_NUMBER = b"0"  # may stand in a text and as a JSON number, with what came before it and what comes after
_NUMERIC = "0123456789.eE+-"  # what a JSON number is made of
REDACT_MIN_CHARS = 6  # a shorter secret would blot out ordinary text
_NEVER_ESCAPED = re.compile(r"[A-Za-z0-9_.~-]+")  # in JSON, in an address, in a form
_BRIEFLY = {'"': '\\"', "\\": "\\\\", "/": "\\/"}  # JSON's own short escapes
_PERCENT = re.compile(r"%[0-9A-F]{2}")


@lru_cache(maxsize=1024)
def _sounds_secret(header: str) -> bool:
    return any(word in header for word in _SECRET_WORDS)


def without_secrets(source: Source, webhook: Webhook) -> Webhook:
    """The webhook as it may be stored: no credentials in its headers, none of the source's secrets in its body."""
    secrets = tuple(_secrets_of(source))
    its_own = getattr(source.auth, "header", None)
    kept = {
        name: value
        for name, value in webhook.headers.items()
        if not _sounds_secret(name) and name != its_own and not _holds_one(value, secrets)
    }
    body = webhook.body
    if not body and (body := _query_as_form(source, webhook, secrets)):
        kept["content-type"] = FORM_MEDIA_TYPE
    for secret in secrets:
        if len(secret) >= REDACT_MIN_CHARS:
            body = _redacted(body, secret)
    return replace(webhook, headers=MappingProxyType(kept), body=body, query=MappingProxyType({}))


def _redacted(body: bytes, secret: str) -> bytes:
    """A body without a secret, in whichever spelling, and as readable as before.

    One of digits is not looked for inside longer numbers: times and ids hold such digits by chance, and without them an
    alert would be another one, or nobody could read it.
    """
    if _is_numeric(secret):
        return re.sub(_standing(secret).encode(), _REDACTED_NUMBER, body)
    plain, spelled = _spelled(secret)
    return spelled.sub(_REDACTED, body) if plain in body else body


@lru_cache(maxsize=1024)  # the configuration's own
def _spelled(secret: str) -> tuple[bytes, re.Pattern[bytes]]:
    """The longest part of a secret that is never escaped, and a pattern of the whole secret however it is.

    Bodies are large and hold no secret as a rule: the part is looked for a hundred times as fast.
    """
    plain = max(_NEVER_ESCAPED.findall(secret), key=len, default="")
    return plain.encode(), re.compile(b"".join(_spellings(one) for one in secret))


def _spellings(character: str) -> bytes:
    """A pattern of one character, as it is, as JSON escapes it, and as an address or a form escapes either."""
    if _NEVER_ESCAPED.fullmatch(character):
        return re.escape(character.encode())
    units = character.encode("utf-16-be")
    in_json = {character, _BRIEFLY.get(character, character)}
    for digits in ("02x", "02X"):
        hexed = [format(one, digits) for one in units]
        in_json.add("".join(f"\\u{high}{low}" for high, low in zip(hexed[::2], hexed[1::2], strict=True)))
    in_form = {quoted for one in in_json for quoted in (quote(one, safe=""), quote_plus(one, safe=""))}
    in_form |= {_PERCENT.sub(lambda found: found[0].lower(), one) for one in in_form}
    longest_first = sorted(in_json | in_form, key=lambda one: (-len(one), one))
    return b"(?:" + b"|".join(re.escape(one.encode()) for one in longest_first) + b")"


def _is_numeric(secret: str) -> bool:
    return not secret.strip(_NUMERIC)


def _standing(secret: str) -> str:
    """The pattern of a secret that no digits continue; those of an escape before it (%22, \\u0022) do not count.

    It begins with the secret itself, for that is quickly looked for in a large body.
    """
    text = re.escape(secret)
    escaped = rf"(?<=%[0-9A-Fa-f][0-9]{text})|(?<=\\u[0-9A-Fa-f]{{3}}[0-9]{text})"
    return rf"{text}(?![0-9])(?:(?<![0-9]{text})|{escaped})"


def _holds(value: str, secret: str) -> bool:
    return re.search(_standing(secret), value) is not None if _is_numeric(secret) else secret in value


def _holds_one(value: str, secrets: tuple[str, ...]) -> bool:
    """Whether a header repeats a secret: as it is, as it stands in an address, or in whatever says who somebody is."""
    if any(_holds(value, secret) for secret in secrets) or value.lower().startswith(("basic ", "bearer ")):
        return True
    said = (unquote(value), unquote_plus(value)) if "%" in value or "+" in value else ()
    return any(_holds(one, secret) for one in said for secret in secrets)


def _query_as_form(source: Source, webhook: Webhook, secrets: tuple[str, ...]) -> bytes:
    """What a request without a body says in its address (UptimeRobot, StatusCake), as the form it might have been."""
    said = [
        (name, value)
        for name, value in webhook.query.items()
        if name != getattr(source.auth, "parameter", None)
        and not any(word in name.lower() for word in _SECRET_WORDS)
        and not any(_holds(value, secret) for secret in secrets)
    ]
    return urlencode(said, errors="replace").encode()


def _secrets_of(source: Source) -> Iterable[str]:
    auth = source.auth
    return (one for one in (*getattr(auth, "secrets", ()), *getattr(auth, "passwords", ())) if one)
