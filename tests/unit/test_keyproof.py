"""Keys that hold and keys that do not: each violation names its rule and the two reports that prove it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bridge.domain.alert import Alert, Notice, Status
from bridge.keyproof import VIOLATIONS_MAX, KeyProof, Kind
from tests.unit.test_rulebook import DESTINATIONS, load, written

FIRING, RESOLVED = Status.FIRING, Status.RESOLVED


def proof(root: Path, dedup: str = "", more: str = "") -> KeyProof:
    text = f"""
rules:
  - id: one
    account: pagerduty-prod
    match: {{source: lab, severity: critical}}
    {dedup}
    incident: {{title: "{{{{ alert.title }}}}", service: "{{{{ alert.labels.service | default('S') }}}}"{more}}}
unmatched: record
"""
    book, _ = load(written(root, a=text))
    return KeyProof(book=book, destinations=DESTINATIONS)


def alert(fingerprint: str, status: Status, labels: Mapping[str, str] | None = None, **changes: Any) -> Alert:
    from bridge.domain.alert import Severity

    known: dict[str, Any] = {
        "source": "lab",
        "source_type": "generic",
        "fingerprint": fingerprint,
        "status": status,
        "title": "t",
        "payload": {},
        "severity": Severity.CRITICAL,
        "labels": MappingProxyType(dict(labels or {})),
    }
    return Alert(**(known | changes))


def violations(one: KeyProof) -> list[tuple[Kind, str, str, tuple[str, ...]]]:
    return [(v.kind, v.first.event, v.second.event, v.differs) for v in one.violations]


def test_the_default_key_holds(tmp_path: Path) -> None:
    one = proof(tmp_path)
    one.take("e1", (alert("a", FIRING), alert("b", FIRING)))
    one.take("e2", (alert("a", FIRING, title="other"), Notice(source="lab", source_type="g", reason="r", payload={})))
    one.take("e3", (alert("a", RESOLVED),))
    assert violations(one) == []
    assert (one.reports, one.problems) == (4, 2)


def test_a_repeat_with_another_key_is_named_with_the_part_that_differs(tmp_path: Path) -> None:
    one = proof(tmp_path, "dedup: [fingerprint, title]")
    one.take("e1", (alert("a", FIRING, title="x"),))
    one.take("e2", (alert("a", FIRING, title="y"),))
    one.take("e3", (alert("a", FIRING, title="z"),))
    assert violations(one) == [(Kind.SPLIT, "e1", "e2", ("title",))]


def test_a_recovery_is_asked_for_its_key_although_no_rule_matches_it(tmp_path: Path) -> None:
    one = proof(tmp_path, "dedup: [fingerprint, labels.state]")
    one.take("e1", (alert("a", FIRING, {"state": "bad"}),))
    one.take("e2", (alert("a", RESOLVED, {"state": "ok"}, severity=None),))
    assert violations(one) == [(Kind.SPLIT, "e1", "e2", ("labels.state",))]


def test_a_service_is_part_of_the_key(tmp_path: Path) -> None:
    one = proof(tmp_path)
    one.take("e1", (alert("a", FIRING, {"service": "x"}),))
    one.take("e2", (alert("a", FIRING, {"service": "y"}),))
    assert violations(one) == [(Kind.SPLIT, "e1", "e2", ("service",))]


def test_a_key_of_ones_own_is_held_to_the_same(tmp_path: Path) -> None:
    one = proof(tmp_path, more=', incident_key: "{{ alert.title }}"')
    one.take("e1", (alert("a", FIRING, title="x"),))
    one.take("e2", (alert("a", FIRING, title="y"),))
    assert violations(one) == [(Kind.SPLIT, "e1", "e2", ("incident_key",))]


def test_another_episode_may_have_another_key(tmp_path: Path) -> None:
    one = proof(tmp_path, "dedup: [fingerprint, labels.run]")
    one.take("e1", (alert("a", FIRING, {"run": "1"}),))
    one.take("e2", (alert("a", RESOLVED, {"run": "1"}),))
    one.take("e3", (alert("a", FIRING, {"run": "2"}),))
    one.take("e4", (alert("b", FIRING, {"run": "1"}, episode="x"),))
    one.take("e5", (alert("b", FIRING, {"run": "2"}, episode="y"),))
    assert violations(one) == []


def test_two_problems_with_one_key_are_named_once(tmp_path: Path) -> None:
    one = proof(tmp_path, "dedup: [source]")
    one.take("e1", (alert("a", FIRING),))
    one.take("e2", (alert("b", FIRING),))
    one.take("e3", (alert("b", RESOLVED),))
    one.take("e4", (alert("b", FIRING),))
    assert violations(one) == [(Kind.JOINED, "e1", "e2", ())]


def test_violations_without_end_are_counted(tmp_path: Path) -> None:
    one = proof(tmp_path, "dedup: [source]")
    for number in range(100):
        one.take(f"e{number}", (alert(f"f{number}", FIRING),))
    assert len(one.violations) == VIOLATIONS_MAX
    assert one.counts == {("one", Kind.JOINED): 99}
