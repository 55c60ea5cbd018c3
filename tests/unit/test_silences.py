"""Silences: what may be one, whom it hides, and how it is written."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from bridge import wiring
from bridge.domain.alert import Severity
from bridge.domain.decision import Decided
from bridge.domain.errors import ConfigError
from bridge.domain.silences import LENGTH_MAX, Silence, hiding, wrongs
from bridge.entrypoints.cli.silencing import _match, match_text, matcher_in
from bridge.rules.silencing import Matcher, Silencing
from tests.e2e.processes import write_configuration
from tests.ledgers import alert, fires

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LAB = {"lab": {"type": "generic", "auth": "none"}}


def nested(depth: int) -> dict[str, Any]:
    """`not: {not: {...}}`, that deep."""
    match: dict[str, Any] = {"title": "x"}
    for _ in range(depth):
        match = {"not": match}
    return match


def silence(**changes: Any) -> Silence:
    plain: dict[str, Any] = {
        "id": "S",
        "match": {"labels.env": "staging"},
        "starts_at": NOW,
        "ends_at": NOW + HOUR,
        "author": "operations",
        "reason": "a planned test",
    }
    return Silence(**{**plain, **changes})


def test_a_silence_holds_from_its_begin_to_just_before_its_end() -> None:
    held = silence()
    assert [held.hides(Severity.ERROR, NOW + HOUR * n) for n in (-1, 0, 0.5, 1)] == [False, True, True, False]


@pytest.mark.parametrize("severity", Severity)
def test_only_criticals_are_spared_and_only_when_nobody_asked_for_them(severity: Severity) -> None:
    assert silence().hides(severity, NOW) is (severity is not Severity.CRITICAL)
    assert silence(criticals=True).hides(severity, NOW)


def test_of_several_silences_the_first_that_hides_is_named() -> None:
    over, holds = silence(id="over", ends_at=NOW), silence(id="holds")
    assert hiding((over, holds), Severity.ERROR, NOW) is holds
    assert hiding((over,), Severity.ERROR, NOW) is None


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"match": {}}, "'match' has no condition"),
        ({"reason": " "}, "'reason' is missing"),
        ({"author": ""}, "'author' is missing"),
        ({"reason": "x" * 501}, "'reason' has 501 characters"),
        ({"ends_at": NOW}, "'ends_at' is over already"),
        ({"author": "x" * 101}, "'author' has 101 characters"),
        ({"starts_at": NOW + 2 * HOUR, "ends_at": NOW + HOUR}, "'ends_at' is over already"),
        ({"starts_at": NOW - 3 * HOUR, "ends_at": NOW - HOUR}, "'ends_at' is over already"),
        ({"ends_at": NOW + LENGTH_MAX + HOUR}, "'ends_at' is too far ahead"),
        ({"starts_at": NOW + HOUR, "ends_at": NOW + LENGTH_MAX + 2 * HOUR}, "'ends_at' is too far ahead"),
        ({"starts_at": NOW + timedelta(days=400), "ends_at": NOW + timedelta(days=401)}, "'starts_at' is too far"),
    ],
)
def test_what_is_wrong_with_a_silence_is_said(changes: dict[str, Any], wrong: str) -> None:
    (said,) = wrongs(silence(**changes), NOW)
    assert said.startswith(wrong)


def test_what_is_as_long_as_allowed_is_kept_whole() -> None:
    year = NOW + timedelta(days=365)
    assert wrongs(silence(author="x" * 100, reason="x" * 500), NOW) == ()
    assert wrongs(silence(starts_at=year, ends_at=year + LENGTH_MAX), NOW) == ()


def test_one_that_began_long_ago_counts_from_now_on() -> None:
    long_ago = NOW - timedelta(days=20)
    assert wrongs(silence(starts_at=long_ago, ends_at=NOW + LENGTH_MAX), NOW) == ()


def test_a_silence_of_thirty_days_that_begins_next_month_is_one() -> None:
    starts_at = NOW + timedelta(days=31)
    assert wrongs(silence(starts_at=starts_at, ends_at=starts_at + LENGTH_MAX), NOW) == ()


def test_decisions_carry_the_silences_that_match_their_alert_and_others_stay_as_they_are(tmp_path: Path) -> None:
    settings = wiring.load_settings(write_configuration(tmp_path, sources=LAB))
    _, conditions = wiring.match_of(settings, "labels.env: staging\ntitle: {regex: down}")
    held = silence()
    silencing = Silencing(matchers=(Matcher(silence=held, conditions=conditions),))
    plain = fires("a")
    matching = Decided(reading=alert("a", labels={"env": "staging"}), decisions=plain.decisions, matched=plain.matched)
    marked, other = silencing.marked((matching, plain))
    assert [one.silences for one in marked.decisions] == [(held,)]
    assert other is plain
    assert Silencing().marked((matching,))[0] is matching


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("labels.env: staging\nlabel: x", "match:2:1: unknown condition 'label'"),
        ("source: nobody", "match:1:9: source 'nobody' does not exist"),
        ("title: {regex: '('}", "match:1:16: regex '(' cannot be used"),
        ("a: [", "match:"),
        ("", "match:1:1: conditions are wanted, found nothing"),
        ("just words", "match:1:1: conditions are wanted, found 'just words'"),
        ({}, "match:1:1: conditions are wanted"),
        (None, "match:1:1: conditions are wanted"),
        ({"severity": "loud"}, "match:1:14: severity 'loud' does not exist"),
        (nested(60), "match:1:"),
        (nested(100_000), "match:1:"),
    ],
)
def test_what_is_wrong_with_matchers_is_said_at_its_place(match: Any, said: str, tmp_path: Path) -> None:
    settings = wiring.load_settings(write_configuration(tmp_path, sources=LAB))
    with pytest.raises(ConfigError) as caught:
        wiring.match_of(settings, match)
    assert str(caught.value.problems[0]).startswith(said)


def test_matchers_that_are_only_warned_of_are_taken(tmp_path: Path) -> None:
    settings = wiring.load_settings(write_configuration(tmp_path, sources=LAB))
    match, _ = wiring.match_of(settings, "labels.tier: {ne: 2}")
    assert match == {"labels.tier": {"ne": 2}}


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("labels.env=staging", ("labels.env", "staging")),
        ("labels.tier=3", ("labels.tier", "3")),
        ("payload.value=3", ("payload.value", 3)),
        ("source!=am", ("source", {"ne": "am"})),
        ("title=~^pg[-_]", ("title", {"regex": "^pg[-_]"})),
        ("title!~a=b", ("not", {"title": {"regex": "a=b"}})),
        ("labels.query=a=b", ("labels.query", "a=b")),
        ("title=[CRITICAL] Disk full", ("title", "[CRITICAL] Disk full")),
        ("title=Disk: full", ("title", "Disk: full")),
        ("title={{ x", ("title", "{{ x")),
        ("title=# 3", ("title", "# 3")),
        ("fingerprint=12", ("fingerprint", "12")),
        ("payload.message=[CRITICAL] Disk full", ("payload.message", "[CRITICAL] Disk full")),
        ("payload['a.b']=12: 30: x", ("payload['a.b']", "12: 30: x")),
        ("payload.tags=[a, b]", ("payload.tags", "[a, b]")),
        ("payload.value=", ("payload.value", "")),
        ("payload.ok!=true", ("payload.ok", {"ne": True})),
    ],
)
def test_a_matcher_of_the_command_line_is_a_condition(text: str, condition: tuple[str, Any]) -> None:
    assert matcher_in(text) == condition


def test_two_matchers_on_one_path_both_hold() -> None:
    assert _match(("title=~a", "title=~b"), None) == {"all": [{"title": {"regex": "a"}}, {"title": {"regex": "b"}}]}
    assert _match((), "title: a") == "title: a"
    for matchers, match in (((), None), (("title=a",), "title: a"), (("title",), None)):
        with pytest.raises(click.UsageError):
            _match(matchers, match)


def test_conditions_are_shown_in_one_line() -> None:
    assert (
        match_text({"labels.env": "staging", "title": {"regex": "^a"}}) == 'labels.env: staging, title: {"regex": "^a"}'
    )
