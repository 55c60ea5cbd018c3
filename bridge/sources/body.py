"""The body of a webhook as JSON types, read tolerantly: page rather than lose.

In: raw bytes. Out: dict, list and scalars (read-only by agreement) whose text holds no lone surrogate and no NUL;
or DecodeError when the bytes cannot be what they claim to be.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from bridge.domain.alert import Webhook
from bridge.domain.errors import DecodeError

DEPTH_MAX = 64  # levels of objects and lists; DESIGN section 8
FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"
PARTS_MEDIA_TYPE = "multipart/form-data"
SUFFIXES = {"json": ".json", "form": ".form", "text": ".txt"}  # of a file that holds a body
HEADERS_SUFFIX = ".headers.json"  # of the file beside it that holds its headers

_FORM_FIELDS_MAX = 1_000
_PARTS_MAX = 100
_PART_NAME = re.compile(rb';\s*name="?([^";\r\n]+)', re.IGNORECASE)
_PART_OF_FILE = re.compile(rb";\s*filename\*?=", re.IGNORECASE)
_INT64_MAX = 2**63 - 1
_UNCLEAN_ESCAPE = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")  # may stand for a lone surrogate, or for NUL
_UNCLEAN = re.compile("[\ud800-\udfff\x00]")
_FORM = re.compile(r"[\w.%+\-\[\]]{1,200}=[^\s{}<>\"]*", re.ASCII)


def _whole(digits: str) -> int | str:
    """An integer; beyond 64 bits its digits as text, for nothing after us could hold it."""
    if len(digits) > 20:  # also keeps us below Python's own limit on digits, whose error would lose the page
        return digits
    number = int(digits)
    return number if -_INT64_MAX - 1 <= number <= _INT64_MAX else digits


def _real(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _nothing(_constant: str) -> None:
    """NaN, Infinity and -Infinity are no JSON; senders write them for "no value"."""
    return


_QUICK = json.JSONDecoder(strict=False, parse_constant=_nothing)
_CAREFUL = json.JSONDecoder(strict=False, parse_int=_whole, parse_float=_real, parse_constant=_nothing)
_NEEDS_CARE = re.compile(r"[0-9]{19}|[0-9][eE]")  # only such numbers can be beyond 64 bits or beyond a float
_SMALL_CHARS = 64 * 1024  # below, looking whether care is needed costs more than the care


def json_in(body: bytes) -> Any:
    """The JSON value in a body. Raises DecodeError."""
    text = _text_in(body)
    if not text:
        raise DecodeError("$", "the body is empty")
    if text[0] == "<":
        raise DecodeError("$", "the body looks like XML or HTML; choose JSON as the format of the webhook")
    try:
        careful = len(text) <= _SMALL_CHARS or _NEEDS_CARE.search(text)
        value = (_CAREFUL if careful else _QUICK).decode(text)
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise DecodeError("$", f"the body is no JSON: {what} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise DecodeError("$", f"the body is nested over {DEPTH_MAX} levels") from error
    if text.count("{") + text.count("[") > DEPTH_MAX:  # else it cannot be too deep
        _check_depth(value)
    return _cleaned(value) if "\x00" in text or _UNCLEAN_ESCAPE.search(text) else value


def object_in(webhook: Webhook, *, form_anyway: bool = False) -> Mapping[str, Any]:
    """The JSON object in a webhook, or the fields of a form as one.

    JSON is tried first, whatever the content type says. A form, in parts or not, is read where the content type names
    one and, with form_anyway, where the body has the looks of one. Raises DecodeError.
    """
    value = value_in(webhook, form_anyway=form_anyway)
    if not isinstance(value, dict):
        raise DecodeError("$", f"expected an object, found {kind_of(value)}")
    return value


def value_in(webhook: Webhook, *, form_anyway: bool = False) -> Any:
    """As `object_in`, with any JSON value at the top."""
    start = webhook.body[:256].lstrip()
    is_form = webhook.media_type == FORM_MEDIA_TYPE and b"=" in webhook.body
    if start[:1] in (b"{", b"[", b"<", b"\xef", b"\xfe", b"\xff", b"") or start[1:2] == b"\x00":
        return json_in(webhook.body)
    if webhook.media_type == PARTS_MEDIA_TYPE and start.startswith(b"--"):
        return parts_in(webhook.body)
    if is_form or (form_anyway and _FORM.fullmatch(webhook.body.decode("latin-1").strip())):
        return _form_in(webhook.body)
    return json_in(webhook.body)


def parts_in(body: bytes) -> dict[str, str]:
    """The fields of a form in parts (`curl -F`), without its files. Raises DecodeError where it has none."""
    delimiter, _, rest = body.lstrip().partition(b"\r\n")
    found: dict[str, str] = {}
    for part in rest.split(b"\r\n" + delimiter, _PARTS_MAX)[:_PARTS_MAX]:
        head, _, content = part.lstrip().partition(b"\r\n\r\n")
        if (named := _PART_NAME.search(head)) is not None and _PART_OF_FILE.search(head) is None:
            found.setdefault(named[1].decode("utf-8", "replace"), content.decode("utf-8", "replace"))
    if not found:
        raise DecodeError("$", "the form has no fields")
    form: dict[str, str] = _cleaned(found)
    return form


def block_at(value: Any, *names: str) -> Mapping[str, Any]:
    """The object at a path of names; an empty one where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def kind_of(value: Any) -> str:
    """What a JSON value is, in a person's words."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return "a text"
    return "null" if value is None else "a number" if not isinstance(value, bool) else "true or false"


def says_anything(value: Any) -> bool:
    """Whether there is any scalar but null and empty text in a JSON value."""
    waiting = [value]
    while waiting:
        element = waiting.pop()
        if isinstance(element, dict):
            waiting.extend(element.values())
        elif isinstance(element, list):
            waiting.extend(element)
        elif element is not None and element != "":
            return True
    return False


def _text_in(body: bytes) -> str:
    text = body.decode(json.detect_encoding(body), "replace")
    return text.lstrip("\ufeff").strip(" \t\r\n\x00")


def _form_in(body: bytes) -> dict[str, str]:
    text = body.decode("utf-8", "replace").strip()
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, encoding="utf-8", errors="replace", max_num_fields=_FORM_FIELDS_MAX
        )
    except ValueError as error:
        raise DecodeError("$", f"the form has more than {_FORM_FIELDS_MAX} fields") from error
    first: dict[str, str] = {}
    for name, value in pairs:  # the first of a name counts: a later one may be text that its sender did not escape
        first.setdefault(name, value)
    form: dict[str, str] = _cleaned(first)
    return form


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH_MAX):
        level = [
            child
            for element in level
            for child in (element.values() if type(element) is dict else element)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise DecodeError("$", f"the body is nested over {DEPTH_MAX} levels")


def _cleaned(value: Any) -> Any:
    """The same value with U+FFFD for every lone surrogate and NUL: neither can be stored or sent on."""
    if isinstance(value, str):
        return _UNCLEAN.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_UNCLEAN.sub("\ufffd", key): _cleaned(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_cleaned(child) for child in value]
    return value
