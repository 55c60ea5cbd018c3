"""Bodies are read tolerantly: page rather than lose."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.domain.alert import Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.body import json_in, object_in, parts_in

FORM = "application/x-www-form-urlencoded"


def webhook_of(body: bytes, media_type: str = "application/json") -> Webhook:
    return Webhook(
        source="s", headers={"content-type": media_type}, body=body, received_at=datetime(2026, 1, 5, tzinfo=UTC)
    )


def nested(levels: int) -> bytes:
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1e999}', {"a": None, "b": None, "c": None, "d": None}),
        (rb'{"a\ud800": "x\udc00y"}', {"a\ufffd": "x\ufffdy"}),
        (rb'{"a": "\ud83d\ude00"}', {"a": "\U0001f600"}),
        (rb'{"a": "x\u0000y"}', {"a": "x\ufffdy"}),
        (b'{"a": "line\nbreak\tand\x07bell"}', {"a": "line\nbreak\tand\x07bell"}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        (b'{"a": "caf\xe9"}', {"a": "caf\ufffd"}),
        (b'{"a": 9223372036854775807}', {"a": 9223372036854775807}),
        (b'{"a": 9223372036854775808}', {"a": "9223372036854775808"}),
        (b'{"a": -9223372036854775809}', {"a": "-9223372036854775809"}),
        (b'{"a": 1.5}', {"a": 1.5}),
        (b' \r\n{"a": 1}\n\x00', {"a": 1}),
    ],
)
def test_an_odd_value_becomes_a_plain_one(body: bytes, value: Any) -> None:
    assert json_in(body) == value


def test_a_whole_number_of_ten_thousand_digits_is_kept_as_text() -> None:
    assert json_in(b'{"a": ' + b"7" * 10_000 + b"}") == {"a": "7" * 10_000}


def test_odd_numbers_are_mended_in_a_large_body_too() -> None:
    padding = json.dumps({"p": "x" * 100_000})[1:-1].encode()
    body = b"{" + padding + b', "a": 99999999999999999999, "b": 1e999, "c": NaN}'
    value = json_in(body)
    assert (value["a"], value["b"], value["c"]) == ("99999999999999999999", None, None)


def test_sixty_four_levels_are_read_and_sixty_five_refused() -> None:
    assert json_in(nested(64)) is not None
    for body in (nested(65), b"[" * 65 + b"]" * 65, b"[" * 500 + b"]" * 500):
        with pytest.raises(DecodeError, match="nested over 64 levels"):
            json_in(body)


def test_brackets_inside_a_text_are_no_nesting() -> None:
    assert json_in(b'{"a": "' + b"[{" * 200 + b'"}') == {"a": "[{" * 200}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", r"\$: the body is empty"),
        (b"{", r"\$: the body is no JSON: .* at line 1, column 2"),
        (b'{"a', r"no JSON: Unterminated string starting at line 1, column 2"),
        (b"<ticket/>", "choose JSON as the format"),
        (b"[1]", "expected an object, found a list"),
        (b'"a"', "expected an object, found a text"),
        (b"true", "expected an object, found true or false"),
    ],
)
def test_what_is_no_object_is_refused_with_a_sentence(body: bytes, sentence: str) -> None:
    with pytest.raises(DecodeError, match=sentence):
        object_in(webhook_of(body))


@pytest.mark.parametrize("media_type", ["application/json", FORM, "text/plain", "", "nonsense"])
def test_json_is_read_whatever_the_content_type_says(media_type: str) -> None:
    assert object_in(webhook_of(b' {"a": "b=c&d=e"}', media_type)) == {"a": "b=c&d=e"}


def test_a_form_is_read_with_its_escapes_empty_fields_and_raw_bytes() -> None:
    body = "a=1%20%26+2&b=&c=%C3%A9é&d=%ff%00".encode()
    assert object_in(webhook_of(body, FORM)) == {"a": "1 & 2", "b": "", "c": "éé", "d": "\ufffd\ufffd"}


def test_a_form_without_its_content_type_is_read_only_where_the_source_expects_forms() -> None:
    webhook = webhook_of(b"alertId=1&eventTitle=a+b", "application/json")
    assert object_in(webhook, form_anyway=True) == {"alertId": "1", "eventTitle": "a b"}
    with pytest.raises(DecodeError, match="no JSON"):
        object_in(webhook)


def test_a_form_of_endless_fields_is_refused() -> None:
    with pytest.raises(DecodeError, match="more than 1000 fields"):
        object_in(webhook_of(b"a=1&" * 2_000 + b"b=2", FORM))


PARTS = "multipart/form-data; boundary=9571d7"
PART = b"--9571d7\r\nContent-Disposition: form-data; name="


def test_a_form_in_parts_is_read_without_its_files() -> None:
    """As Apprise's form:// posts a message with an attachment."""
    body = (
        PART + b'"title"\r\n\r\nDisk full \xc3\xa9\r\n'
        + PART + b'"message"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nline one\r\n\r\nline three\r\n'
        + PART + b'"title"\r\n\r\nsecond\r\n'
        + PART + b'host\r\n\r\ndb-1\r\n'
        + PART + b'"file01"; filename="a;name=x.txt"\r\nContent-Type: text/plain\r\n\r\nhello\n\r\n'
        + PART + b'"empty"\r\n\r\n\r\n'
        + b"--9571d7--\r\n"
    )  # fmt: skip
    fields = {"title": "Disk full é", "message": "line one\r\n\r\nline three", "host": "db-1", "empty": ""}
    assert object_in(webhook_of(body, PARTS)) == parts_in(b"\r\n" + body) == fields
    with pytest.raises(DecodeError):
        object_in(webhook_of(body))


@pytest.mark.parametrize(
    "body",
    [b"--", b"--9571d7--\r\n", b"--9571d7\r\n\r\n", PART, PART + b'"f"; filename="f"\r\n\r\nx\r\n--9571d7--\r\n'],
)
def test_a_form_in_parts_without_a_field_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        object_in(webhook_of(body, PARTS))


def test_json_that_claims_to_be_a_form_in_parts_is_read_all_the_same() -> None:
    assert object_in(webhook_of(b'{"a": 1}', PARTS)) == {"a": 1}
