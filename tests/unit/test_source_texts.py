"""Absent values, text, labels, links, times and identities are treated the same for every source."""

from datetime import UTC
from typing import Any

import pytest

from bridge.sources.absent import key_of, text_of
from bridge.sources.fields import fields_of
from bridge.sources.texts import digest_of, identity, instant_of, labels_of, line, link_of, paragraphs, tag_pairs


@pytest.mark.parametrize(
    "value",
    [
        None, "", "  ", "null", " NULL ", "$ALERT_ID", "$TAGS[team]", "${x}", "{{x}}", "{{ticket.id}}", "{EVENT.ID}",
        "{#MACRO}", "*UNKNOWN*", "*monitorID*", "%sensorid", "<no value>", [], {}, [1],
        "\u200b\u200b", "\ufeff", "\u3164", " \u200d ",
    ],
)  # fmt: skip
def test_every_disguise_of_absent_is_none(value: Any) -> None:
    assert text_of(value) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("none", "none"), ("nullable", "nullable"), ("$5 off", "$5 off"), ("%%%\ntext", "%%%\ntext"), ("*", "*"),
        ("{host:a}", "{host:a}"), (" a ", "a"), (0, "0"), (12, "12"), (12.0, "12"), (1.5, "1.5"), (True, "true"),
    ],
)  # fmt: skip
def test_a_scalar_that_says_something_is_text(value: Any, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    "value", ["datadog-$ALERT_CYCLE_KEY", "a-{{ticket.id}}", "${id}-x", "$AGGREG_KEY", "dd_$ALERT_ID"]
)
def test_a_half_filled_template_never_stands_in_a_key(value: str) -> None:
    assert key_of(value) is None


@pytest.mark.parametrize(
    "value", ["MSSQL$SALES", "db01/MSSQL$SALES", "SYS$USERS", "SQL2019$PAYMENTS on db01", "$5 off", "a$b"]
)
def test_a_dollar_inside_a_name_is_no_variable(value: str) -> None:
    assert key_of(value) == value


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("1767225600", "2026-01-01T00:00:00+00:00"),
        (1767225600, "2026-01-01T00:00:00+00:00"),
        ("1767225600123", "2026-01-01T00:00:00.123000+00:00"),
        ("1767225600123456", "2026-01-01T00:00:00.123456+00:00"),
        ("1767225600123456789", "2026-01-01T00:00:00.123456+00:00"),
        (1767225600.5, "2026-01-01T00:00:00.500000+00:00"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00"),
        ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456+00:00"),
        ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00+00:00"),
        ("2026-01-01 00:00:00", "2026-01-01T00:00:00+00:00"),
    ],
)
def test_a_time_is_read_in_every_unit(value: Any, instant: str) -> None:
    found = instant_of(value)
    assert found is not None
    assert (found.isoformat(), found.tzinfo) == (instant, UTC)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "0",
        0,
        -5,
        250_000,
        "250000",
        86_400.5,
        "20261122",
        20261122,
        "202611221015",
        "1999-12-31",
        "Never",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9" * 20,
        [],
        {},
    ],
)
def test_what_is_no_time_is_none(value: Any) -> None:
    assert instant_of(value) is None


def test_a_line_is_one_line_and_bounded() -> None:
    assert line("a\r\nb\x00c\u2028d") == "a b c d"
    assert line("x" * 2_000) == "x" * 1_023 + "…"
    assert len(line("\n" * 10_000 + "x")) == 0


def test_paragraphs_keep_their_lines_and_are_bounded_in_bytes() -> None:
    assert paragraphs("a\r\nb\rc\x07\td") == "a\nb\nc\td"
    cut = paragraphs("é" * 100_000)
    assert len(cut.encode()) <= 64 * 1024
    assert cut.endswith("é…")


def test_labels_join_repeated_names_and_are_bounded() -> None:
    pairs = tag_pairs(["sg:1", "sg:2", "sg:1", "url:http://a:8", "bare", ":x", ""])
    assert dict(labels_of(pairs)) == {"sg": "1,2", "url": "http://a:8", "bare": "true"}
    assert len(labels_of((f"k{n}", "v") for n in range(1_000))) == 200
    assert len(labels_of([("k", "v" * 10_000)])["k"]) == 4_096


@pytest.mark.parametrize(
    "href",
    [None, "", "javascript:alert(1)", "ftp://a/b", "/relative", "https://a b", 'https://a"b', "https://" + "a" * 3_000],
)
def test_a_link_that_is_not_plainly_http_is_none(href: str | None) -> None:
    assert link_of("x", href) is None


def test_an_identity_is_kept_readable_and_told_apart_when_long() -> None:
    assert identity("monitor", "1", "host:a") == "monitor:1:host:a"
    first, second = identity("key", "x" * 500 + "1"), identity("key", "x" * 500 + "2")
    assert first != second
    assert len(first) == len(second) == 200


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [None, "\ufffd"]}) == digest_of({"b": [None, "\ufffd"], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_a_field_is_found_under_every_spelling_and_in_blocks() -> None:
    for payload in (
        {"alertCycleKey": "k"},
        {"ALERT_CYCLE_KEY": "k"},
        {"alert-cycle-key": "k"},
        {"alert": {"cycle_key": "k"}},
        {"alert": {"alert_cycle_key": "k"}},
        {"metadata": {"ALERT_CYCLE_KEY": "k"}},
        {"metadata": {"alert": {"cycleKey": "k"}}},
    ):
        assert fields_of(payload, wrappers=frozenset({"metadata"})).key("alertcyclekey") == "k", payload


def test_the_outermost_field_wins_and_a_blocks_common_names_stay_its_own() -> None:
    fields = fields_of({"org": {"id": "9", "region": "eu"}, "region": "us", "title": "null"}, wrappers=frozenset())
    assert fields.text("id") is None
    assert fields.text("orgid") == "9"
    assert fields.text("region") == "us"
    assert fields.text("title", "orgregion") == "eu"
