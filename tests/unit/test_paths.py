"""Paths into an alert: what they read, and that odd ones are refused with a sentence."""

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Severity, Status
from bridge.rules.paths import HEADS, MISSING, BadPath, is_absent, parse

PAYLOAD = {"a": [{"b": 1}, {"b": None}], "a.b": {"c": "dotted"}, "0": "zero", "items": "data", "t": (7, 8)}


def alert(**changes: Any) -> Alert:
    given_fields = {
        "source": "lab",
        "source_type": "generic",
        "fingerprint": "fp-1",
        "status": Status.FIRING,
        "title": "Disk full",
        "payload": PAYLOAD,
        "labels": MappingProxyType({"team": "db", "kubernetes.io/name": "pg", "a.b": "x"}),
        "starts_at": datetime(2026, 8, 1, 10, 0, tzinfo=UTC),
    }
    return Alert(**(given_fields | changes))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source", "lab"),
        ("status", "firing"),
        ("title", "Disk full"),
        ("starts_at", "2026-08-01T10:00:00Z"),
        ("labels.team", "db"),
        ("labels.kubernetes.io/name", "pg"),
        ("labels.a.b", "x"),
        ("labels['a.b']", "x"),
        ("payload.a.0.b", 1),
        ("payload.a[0].b", 1),
        ("payload.a.1.b", None),
        ("payload['a.b'].c", "dotted"),
        ('payload["a.b"].c', "dotted"),
        ("payload.0", "zero"),
        ("payload.items", "data"),
        ("payload.t.1", 8),
    ],
)
def test_a_path_reads_the_value_it_names(path: str, value: Any) -> None:
    assert parse(path).read(alert()) == value


@pytest.mark.parametrize(
    "path",
    [
        "labels.nobody",
        "payload.a.2.b",
        "payload.a.b",
        "payload.a.-1",
        "payload.0.x",
        "payload.0.0",
        "payload.a.0.b.0",
        "episode",
        "ends_at",
        "description",
    ],
)
def test_a_path_that_leads_nowhere_is_missing(path: str) -> None:
    assert parse(path).read(alert()) is MISSING


def test_a_severity_nobody_gave_reads_as_error_and_is_known_to_be_absent() -> None:
    assert parse("severity").read(alert()) == "error"
    assert parse("severity").given(alert()) is MISSING
    assert parse("severity").given(alert(severity=Severity.INFO)) == "info"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("sevrity", "an alert has no field 'sevrity'"),
        ("", "an alert has no field ''"),
        ("title.x", "path 'title.x' leads nowhere: the field 'title' holds one value"),
        ("payload..a", "path 'payload..a' cannot be read from '..a' on"),
        ("payload.a[x]", "path 'payload.a[x]' cannot be read from '[x]' on"),
        ("labels.", "path 'labels.' cannot be read from '.' on"),
        ("labels['a']['b']", "path 'labels['a']['b']' leads nowhere: a label holds one text"),
    ],
)
def test_a_path_nobody_can_read_is_refused_with_a_sentence(path: str, sentence: str) -> None:
    with pytest.raises(BadPath) as refused:
        parse(path)
    assert str(refused.value) == sentence


@given(steps=st.lists(st.text(st.characters(blacklist_characters=".[]", codec="utf-8"), min_size=1), max_size=4))
def test_any_dotted_path_can_be_read_from_any_alert(steps: list[str]) -> None:
    path = parse(".".join(["payload", *steps]))
    assert path.steps == tuple(steps)
    path.read(alert())


def test_every_field_can_be_read() -> None:
    assert [parse(head).read(alert()) for head in HEADS]


@pytest.mark.parametrize(
    "value",
    [
        *(MISSING, None, "", "  ", [], {}, "null", "NULL", "$HOSTNAME", "$TAGS[env]", "${host}", "{{ticket.id}}"),
        *("{HOST.NAME}", "{$MACRO}", "*UNKNOWN*", "*monitorID*", "%device", "%device%", "<no value>"),
        *("\u200b\u200b", "\ufeff", "\u2800", " \u200d "),
    ],
)
def test_what_a_sender_left_unfilled_is_absent(value: Any) -> None:
    assert is_absent(value)


@pytest.mark.parametrize(
    "value", [0, False, "0", "none", "$5", "100%", "{a: 1}", "*", "**", "a $HOST", "null pointer", "{" * 300, [None]]
)
def test_what_says_something_is_not_absent(value: Any) -> None:
    assert not is_absent(value)
