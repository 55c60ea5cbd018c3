"""Text, labels, links, times and identities of an alert: cleaned and bounded the same way for every source."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import Any

from bridge.domain.alert import Link, Webhook
from bridge.sources.absent import key_of, text_of

TITLE_MAX_CHARS = 1_024
DESCRIPTION_MAX_BYTES = 64 * 1024
LABELS_MAX = 200
LABEL_NAME_MAX_CHARS = 256
LABEL_VALUE_MAX_CHARS = 4_096
IDENTITY_MAX_CHARS = 200
HREF_MAX_CHARS = 2_048

_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # control characters and line separators
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")  # all but tab and line feed
_HREF = re.compile(r"https?://[^\s\x00-\x20\x7f\"<>]+", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,9})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # as unix time, durations and dates such as 20261122 lie before it
_EARLIEST_MAYBE = datetime(1970, 1, 2, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def line(text: str, max_chars: int = TITLE_MAX_CHARS) -> str:
    """Text on one line: control characters and line breaks become a space; cut with an ellipsis."""
    if len(text) <= max_chars and text.isprintable():
        return text.strip()
    cut = _BREAKS.sub(" ", text[: 4 * max_chars]).strip()
    return cut if len(cut) <= max_chars else cut[: max_chars - 1].rstrip() + "…"


def paragraphs(text: str, max_bytes: int = DESCRIPTION_MAX_BYTES) -> str:
    """Text of several lines: LF only, without control characters; cut with an ellipsis."""
    whole = text[: 2 * max_bytes].replace("\r\n", "\n").replace("\r", "\n").replace("\x85", "\n")
    if not whole.replace("\n", "").isprintable():  # quick: else there is no control character in it
        whole = _CONTROLS.sub("", whole)
    whole = whole.strip()
    encoded = whole.encode("utf-8", "replace")
    if len(encoded) <= max_bytes:
        return whole
    return encoded[: max_bytes - 3].decode("utf-8", "ignore").rstrip() + "…"


def labels_of(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Labels from pairs in their order; the values of a repeated name are joined by commas, each once."""
    labels: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for name, value in pairs:
        clean_name = _label_name(name)
        clean_value = line(value, LABEL_VALUE_MAX_CHARS)
        if not clean_name or not clean_value:
            continue
        if clean_name not in labels:
            if len(labels) < LABELS_MAX:
                labels[clean_name] = clean_value
            continue
        several = repeated.setdefault(clean_name, [labels[clean_name]])
        if clean_value not in several and len(several) < LABELS_MAX:
            several.append(clean_value)
    for name, several in repeated.items():
        labels[name] = line(",".join(several), LABEL_VALUE_MAX_CHARS)
    return MappingProxyType(labels)


def layered_labels(*layers: Iterable[tuple[str, str | None]]) -> Mapping[str, str]:
    """Labels from layers of pairs: a name that an earlier layer has wins; what has no value is left out."""
    pairs: list[tuple[str, str]] = []
    given: set[str] = set()
    for layer in layers:
        fresh = [(name, value) for name, value in layer if value and name not in given]
        pairs += fresh
        given.update(name for name, _ in fresh)
    return labels_of(pairs)


def scalar_pairs(values: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """The scalars of an object as label pairs; None for what is absent."""
    return [(name, text_of(value)) for name, value in islice(values.items(), LABELS_MAX)]


def texts_in(values: Any) -> list[str]:
    """The texts of a list that say something; none of what is no list."""
    given = values[:LABELS_MAX] if isinstance(values, list) else []
    return [text for value in given if isinstance(value, str) and (text := text_of(value)) is not None]


def delivery_under(webhook: Webhook, header: str) -> str | None:
    """A delivery id: a header with the body it came with, as a test tool may send many bodies under one id."""
    key = key_of(webhook.headers.get(header))
    return None if key is None else identity(key, hashlib.sha256(webhook.body).hexdigest()[:32])


def tag_pairs(tags: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Tags as label pairs: `env:prod` is env=prod (the value may hold colons), a bare `vip` is vip=true."""
    for tag in tags:
        name, colon, value = tag.strip().partition(":")
        yield (name.strip(), value.strip() or "true") if colon else (name, "true")


def link_of(text: str, href: str | None) -> Link | None:
    """A link a person can open; None unless it is http or https."""
    if href is None or len(href) > HREF_MAX_CHARS or not _HREF.fullmatch(href):
        return None
    return Link(text=line(text, LABEL_NAME_MAX_CHARS) or href, href=href)


def links_of(*candidates: Link | None) -> tuple[Link, ...]:
    """The links there are, each address once, at most twenty."""
    by_href: dict[str, Link] = {}
    for link in candidates:
        if link is not None:
            by_href.setdefault(link.href, link)
    return tuple(by_href.values())[:20]


def instant_of(value: Any) -> datetime | None:
    """A time as aware UTC: ISO 8601 (naive counts as UTC) or an epoch in s, ms, µs or ns, as text or number.

    None for what is no time, and for times before 2000 or after 2200: senders use them for "never", and a number that
    small is a duration, or a date without its dashes, which would make what is reported later look older.
    """
    return _instant_since(_EARLIEST, value)


def may_be_instant(value: Any) -> bool:
    """Whether a value could be a time, however unlikely: what identity leaves out must stay the same for ever."""
    return _instant_since(_EARLIEST_MAYBE, value) is not None


def _instant_since(earliest: datetime, value: Any) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    try:
        instant = _from_epoch(text) if _NUMBER.fullmatch(text) else _from_iso(text)
    except (ValueError, OverflowError):
        return None
    return instant if earliest <= instant <= _LATEST else None


def identity(kind: str, *parts: str) -> str:
    """A fingerprint: what it is made of, then the parts; too long a text is cut and ended by its own hash."""
    text = _BREAKS.sub(" ", ":".join((kind, *parts)))
    if len(text) <= IDENTITY_MAX_CHARS:
        return text
    return f"{text[: IDENTITY_MAX_CHARS - 33]}~{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:32]}"


def digest_of(value: Any) -> str:
    """32 hex digits that tell JSON values apart, whatever the order of their keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:32]


@lru_cache(maxsize=4096)
def _label_name(name: str) -> str:
    return line(name, LABEL_NAME_MAX_CHARS)


def _from_epoch(digits: str) -> datetime:
    whole, _, fraction = digits.partition(".")
    number = int(whole)
    if number >= 10**17:
        microseconds = number // 1_000
    elif number >= 10**14:
        microseconds = number
    elif number >= 10**11:
        microseconds = number * 1_000
    else:
        microseconds = number * 1_000_000 + int((fraction + "000000")[:6])
    return _EPOCH + timedelta(microseconds=microseconds)


def _from_iso(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
