"""Samples: what may not leave the house is gone, what rules look at stays, and a captured test says what is decided."""

import json
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from bridge.config.schema_tests import tests_schema as schema_of_tests
from bridge.config.yaml_reader import read_tree
from bridge.destinations import PagerDuty
from bridge.domain.alert import Alert, Severity, Status, Webhook
from bridge.domain.decision import Decided, Decision, KeyRule, Mode, Policy
from bridge.samples import PHONE, REDACTED, BadPattern, Redactor, Sample, slug
from bridge.samples import test_of as text_of_test

FORM = "application/x-www-form-urlencoded"


def webhook(body: bytes, **headers: str) -> Webhook:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Webhook(
        source="lab", headers=MappingProxyType(named), body=body, received_at=datetime(2026, 8, 1, tzinfo=UTC)
    )


def redacted(value: Any, *patterns: str) -> Any:
    sample = Redactor(patterns=patterns).sample(webhook(json.dumps(value).encode()), "s")
    assert sample.suffix == ".json"
    return json.loads(sample.body)


SECRETS = [
    ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
    ("see https://bob:hunter22@example.com/x", "hunter22"),
    ("https://example.com/hook?service=a&token=s3cr3t-value&x=1", "s3cr3t-value"),
    ("https://hooks.slack.com/services/T000/B000/abcdefgh", "abcdefgh"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def", "eyJzdWIiOiIxMjM0In0"),
    ("key AKIAABCDEFGHIJKLMNOP in a log", "AKIAABCDEFGHIJKLMNOP"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abcdefghijklmnop"),
    ("connect failed: password=correct-horse", "correct-horse"),
    ('env {"api_key": "0123456789abcdef"}', "0123456789abcdef"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----", "MIIEvQ"),
    ("mail jane.doe@corp.example.net now", "jane.doe"),
    ("call +491701234567", "491701234567"),
    ("redis://:hunter22@cache/0", "hunter22"),
    ("postgres://app:hunt/er22@db/orders", "hunt/er22"),
    ("AWS_SECRET_ACCESS_KEY=abcdefghij0123456789", "abcdefghij0123456789"),
    ("env DB_PASSWORD=correct-horse", "correct-horse"),
    ("X-Api-Key: 0123456789abcdef", "0123456789abcdef"),
    ("Authorization: Token 0123456789abcdef", "0123456789abcdef"),
    ("Cookie: sid=0123456789; theme=dark", "0123456789"),
    ("https://example.com/?apiToken=s3cr3t-value", "s3cr3t-value"),
    ("https://example.com/?next=%2Fa%3Ftoken%3Ds3cr3t-value", "s3cr3t-value"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS, ids=[secret for _, secret in SECRETS])
def test_a_secret_in_a_text_is_blotted_out(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in json.dumps(redacted({"message": text, "inside": [{"deep": text}]}))


KEPT = [
    "[P1] [Triggered on {host:pg-main-1}] Replication lag is high",
    "https://app.example.com/monitors/50012345?group=host%3Apg-main-1&event_id=8390000000000000001",
    "max(last_5m):max:postgresql.replication_delay{env:prod} by {host} > 60",
    "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "2026-08-01T10:00:00+01:00",
    "Mon, 03 Aug 2026 10:00:00 +0100",
    "10.0.0.7:5432 refused",
    "arn:aws:sns:eu-west-1:123456789012:alarms",
    "person-1@example.com",
]


@pytest.mark.parametrize("text", KEPT)
def test_what_rules_look_at_stays(text: str) -> None:
    assert redacted({"text": text}) == {"text": text}


@pytest.mark.parametrize(
    "key", ["DBPassword", "APIToken", "accesstoken", "clientsecret", "secretKey", "tokens", "sessionId"]
)
def test_the_name_of_a_secret_is_known_however_it_is_written(key: str) -> None:
    assert redacted({key: "abc"}) == {key: REDACTED}


def test_headers_told_as_pairs_are_blotted_out_by_their_names() -> None:
    pairs = [["Cookie", "a=b"], ["Accept", "*/*"], {"name": "X-Api-Key", "value": "v"}, {"name": "host", "value": "v"}]
    assert redacted({"headers": pairs}) == {
        "headers": [
            ["Cookie", REDACTED], ["Accept", "*/*"], {"name": "X-Api-Key", "value": REDACTED},
            {"name": "host", "value": "v"},
        ]
    }  # fmt: skip


def test_what_stands_under_the_name_of_a_secret_is_blotted_out_whatever_it_is() -> None:
    body = {
        "apiKey": "a", "access-token": "b", "password": "c", "credentials": {"user": "d", "list": ["e"]},
        "Signature": "f", "routing_key": "g", "aggreg_key": "stays", "alert_cycle_key": "stays",
        "tokens_left": 3, "token": None,
    }  # fmt: skip
    out = redacted(body)
    assert out == {
        "apiKey": REDACTED, "access-token": REDACTED, "password": REDACTED,
        "credentials": {"user": REDACTED, "list": [REDACTED]}, "Signature": REDACTED,
        "routing_key": REDACTED, "aggreg_key": "stays", "alert_cycle_key": "stays", "tokens_left": 3, "token": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "number",
    [
        "+4930123456",
        "+491701234567",
        "+49 170 1234567",
        "+49 (0) 170 / 123-4567",
        "+49170 1234567",
        "+49170/1234567",
        "(+49) 170 1234567",
        "+(49) 170 1234567",
        "+1-555-010-9999",
        "+1 (555) 010-9999",
        "+49.170.1234567",
        "+33\xa06\xa012\xa034\xa056\xa078",
        "+4420 7946 0958",
        "+49 170 123 45 67",
    ],
)
@pytest.mark.parametrize("around", ["{}", "call {} now", "tel:{},", "{} 2026-08-01", "{} 10:30", "{} 10.0.0.1", "{}:"])
def test_an_international_number_in_a_text_is_blotted_out_and_nothing_around_it(number: str, around: str) -> None:
    assert Redactor().text(around.format(number)) == around.format(PHONE)


@pytest.mark.parametrize(
    "text",
    [
        "2026-08-01T10:00:00+02:00",
        "2026-08-01T10:00:00+1000 and on",
        "2026-08-01 10:00:00 +1000 12345678",
        "2026-08-01 10:00:00 +0530 1785578400",
        "01/Aug/2026:10:00:00 +1100] 200 51234",
        "1.2.3+20260801.123456 and v1.2.3+20260801123456",
        "10.0.0.1 192.168.100.200 +10.120.130.140",
        "id 0170-1234567 and 555-010-9999-12",
        "+12.3456789 % in 5 min",
        "a+b +1 +12 +100 of 200",
        "order 4711 +3 items, +12345678 bytes",
        "deadbeef-0000-1111-2222-123456789012",
    ],
)
def test_times_ids_versions_and_addresses_are_no_telephone_numbers(text: str) -> None:
    assert Redactor().text(text) == text


@pytest.mark.parametrize(
    "key",
    ["phone", "phoneNumber", "Phone Number", "mobile", "tel", "msisdn", "fax", "work_phone", "contact.phone",
     "mobile_2", "telephone-no", "homePhone", "caller_number", "cellphone"],
)  # fmt: skip
def test_what_stands_under_the_name_of_a_telephone_is_blotted_out(key: str) -> None:
    for value in ("0170 1234567", "+49 170 1234567", "(555) 010-9999 ext. 7"):
        assert Redactor().value({key: value}) == {key: PHONE}
    assert Redactor().value({key: 1701234567}) == {key: int(PHONE)}
    assert Redactor().value({key: [{"type": "work", "number": "0170 1"}]}) == {key: [{"type": "work", "number": PHONE}]}
    for value in (None, True, "", "unknown"):
        assert Redactor().value({key: value}) == {key: value}


def test_a_telephone_in_a_form_is_blotted_out() -> None:
    made = Redactor().sample(webhook(b"phone=0170+1234567&state=down", content_type=FORM), "s")
    assert made.body == b"phone=%2B10000000000&state=down"


@pytest.mark.parametrize("key", ["phonetic", "hotel", "automobile_id", "telemetry", "microphone_x", "cell", "cartel"])
def test_a_name_that_only_sounds_like_a_telephone_is_none(key: str) -> None:
    assert Redactor().value({key: "eu-1234567"}) == {key: "eu-1234567"}


def test_one_address_is_one_stand_in_in_all_samples_of_an_export() -> None:
    redactor = Redactor()
    bodies = [{"by": "Jane@corp.example.net"}, {"by": "joe@corp.example.net", "cc": "jane@CORP.example.net"}]
    out = [json.loads(redactor.sample(webhook(json.dumps(one).encode()), "s").body) for one in bodies]
    assert out == [{"by": "person-1@example.com"}, {"by": "person-2@example.com", "cc": "person-1@example.com"}]


def test_the_name_beside_an_address_is_a_persons() -> None:
    out = redacted({"requester": {"name": "Jane Doe", "email": "jane@corp.example.net", "id": 7}, "name": "a monitor"})
    assert out == {"requester": {"name": "Person 1", "email": "person-1@example.com", "id": 7}, "name": "a monitor"}


def test_json_inside_a_text_is_redacted_as_json() -> None:
    out = redacted({"Type": "Notification", "Message": json.dumps({"token": "abc", "state": "ALARM"})})
    assert json.loads(out["Message"]) == {"token": REDACTED, "state": "ALARM"}


def test_a_form_stays_a_form() -> None:
    body = urlencode([("payload", json.dumps({"secret": "x", "a": 1})), ("StatusCode", "500"), ("Token", "t")]).encode()
    sample = Redactor().sample(webhook(body, content_type=FORM), "s")
    assert sample.suffix == ".form"
    fields = dict(parse_qsl(sample.body.decode()))
    assert json.loads(fields["payload"]) == {"secret": REDACTED, "a": 1}
    assert (fields["StatusCode"], fields["Token"]) == ("500", REDACTED)


def test_a_body_nobody_can_read_is_redacted_as_text() -> None:
    sample = Redactor().sample(webhook(b"\xffpassword=correct-horse"), "s")
    assert (sample.suffix, b"correct-horse" in sample.body) == (".txt", False)


def test_patterns_of_the_caller_are_blotted_out_first() -> None:
    assert redacted({"host": "db7.corp.internal"}, r"[\w-]+\.corp\.internal") == {"host": REDACTED}


def test_a_pattern_that_cannot_be_used_is_said() -> None:
    with pytest.raises(BadPattern, match="pattern '\\('"):
        Redactor(patterns=("(",))


def test_headers_keep_what_says_something_about_the_event() -> None:
    sample = Redactor().sample(
        webhook(
            b"{}",
            content_type="application/json",
            x_github_event="issues",
            x_hub_signature_256="sha256=abc",
            x_bridge_token="t",
            host="bridge.corp.example.net",
            user_agent="curl",
            x_forwarded_for="10.0.0.1",
            x_from="jane@corp.example.net",
        ),
        "s",
    )
    assert json.loads(sample.headers_file) == {
        "content-type": "application/json",
        "x-from": "person-1@example.com",
        "x-github-event": "issues",
    }


_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=15,
)


@given(value=st.dictionaries(_text, _json, max_size=5))
def test_any_json_keeps_its_shape(value: dict[str, Any]) -> None:
    def shape(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: shape(item) for key, item in one.items()}
        return [shape(item) for item in one] if isinstance(one, list) else type(one)

    assert shape(redacted(value)) == shape(value)


@given(body=st.binary(max_size=200), media_type=st.sampled_from(["application/json", FORM, "text/plain"]))
def test_any_bytes_become_a_sample(body: bytes, media_type: str) -> None:
    Redactor().sample(webhook(body, content_type=media_type), "s").body.decode("utf-8")


def test_a_slug_is_a_files_name() -> None:
    assert slug("datadog", "[P1] ../../etc/passwd on {host:a}") == "datadog-p1-etc-passwd-on-host-a"
    assert slug("", "\x00💥") == "event"


# -- tests of captured events

SAMPLE = Sample(source="lab", stem="lab-disk", suffix=".json", body=b"{}", headers={})
DESTINATIONS = {"pd": PagerDuty(account="pd", token="t", from_="bot@example.com")}


def decision(**changes: Any) -> Decision:
    given: dict[str, Any] = {
        "rule": "db",
        "account": "pd",
        "mode": Mode.LIVE,
        "severity": Severity.ERROR,
        "title": "Disk full",
        "series": "0" * 64,
        "parts": ("lab", "fp"),
        "marked": False,
        "key_text": None,
        "key_rule": KeyRule.WHILE_OPEN,
        "fields": {"title": "Disk full", "service": "S", "priority": "P1", "body": "long text"},
        "names": (),
        "notes": (),
        "fold_key": "db",
        "policy": Policy(),
    }
    return Decision(**(given | changes))


def decided(*decisions: Decision, title: str = "Disk full", status: Status = Status.FIRING) -> Decided:
    reading = Alert(source="lab", source_type="generic", fingerprint="fp", status=status, title=title, payload={})
    return Decided(reading=reading, decisions=decisions, matched=tuple(one.rule for one in decisions))


def written(*each: Decided, because: tuple[str, str] | None = None) -> dict[str, Any]:
    text = text_of_test(
        SAMPLE, each, DESTINATIONS, because=because, about="Captured from event 01J.", schema="tests.schema.json"
    )
    assert text.startswith("# yaml-language-server: $schema=tests.schema.json\n# Captured from event 01J.\n")
    assert ("# Nothing in it fires" in text) == all(one.reading.status is not Status.FIRING for one in each)
    tree = read_tree(text, "x.test.yaml")
    assert tree.problems == ()
    assert [error.message for error in Draft7Validator(schema_of_tests()).iter_errors(tree.value)] == []
    (test,) = tree.value
    send, expect = test["steps"]
    assert send == {"send": "fixtures/lab-disk.json", "to": "lab"}
    return {"name": test["name"], **expect}


def test_one_incident_is_expected_with_its_short_fields() -> None:
    assert written(decided(decision())) == {
        "name": "Disk full",
        "at": "1m",
        "expect": {
            "matched": "db",
            "account": "pd",
            "created": 1,
            "request": {"incident": {"title": "Disk full", "service": "S", "priority": "P1"}},
        },
    }


def test_no_rule_is_expected_with_the_nearest_miss() -> None:
    expect = written(decided(), because=("db", "not.labels.env"))["expect"]
    assert expect == {
        "matched": None,
        "because": {"rule": "db", "condition": "not.labels.env"},
        "created": 0,
        "open": 0,
    }


def test_a_batch_counts_its_incidents() -> None:
    expect = written(decided(decision()), decided(decision(series="1" * 64)), decided(decision()))["expect"]
    assert expect == {"matched": "db", "account": "pd", "created": 2}


def test_a_shadow_rule_creates_nothing() -> None:
    assert written(decided(decision(mode=Mode.SHADOW)))["expect"] == {"matched": "db", "created": 0, "open": 0}


def test_a_resolved_report_alone_opens_nothing() -> None:
    assert written(decided(status=Status.RESOLVED))["expect"] == {"created": 0, "open": 0}


HOSTILE = [
    "no",
    "null",
    "1e3",
    "- a: b",
    "{{ x }}",
    '"quoted" \\ ',
    "a: b # c",
    "line\nbreak",
    "\x1b[31m\x9b\x7f",
    "💥 ü",
    "@x",
]


@pytest.mark.parametrize("title", HOSTILE)
def test_whatever_an_alert_holds_the_test_is_yaml_that_says_it(title: str) -> None:
    fields = {"title": title, "service": "S"}
    expect = written(decided(decision(fields=fields), title=title))["expect"]
    assert expect["request"]["incident"]["title"] == title


@given(title=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_title_survives(title: str) -> None:
    expect = written(decided(decision(fields={"title": title, "service": "S"}), title=title))["expect"]
    assert expect["request"]["incident"]["title"] == title
