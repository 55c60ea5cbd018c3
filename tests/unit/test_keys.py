"""The formulas of identity: pinned by golden vectors, typed, and never failing."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.decision import KeyRule
from bridge.domain.keys import canonical, episode, problem_id, series, upstream_key

GOLDEN = Path(__file__).parent.parent / "golden" / "keys"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def vectors(name: str) -> list[dict[str, Any]]:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", vectors("series.json"), ids=lambda vector: vector["about"])
def test_a_series_never_changes_its_digest(vector: dict[str, Any]) -> None:
    assert series(vector["account"], vector["scope"], vector["parts"]) == vector["series"]


def test_the_golden_series_all_differ() -> None:
    digests = [vector["series"] for vector in vectors("series.json")]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("vector", vectors("episode.json"))
def test_an_episode_never_changes_its_digest(vector: dict[str, Any]) -> None:
    assert episode(vector["sender_episode"], vector["opening_event"], vector["n"]) == vector["episode"]


@pytest.mark.parametrize("vector", vectors("problem.json"))
def test_a_problem_never_changes_its_digest(vector: dict[str, Any]) -> None:
    assert problem_id(vector["source"], vector["fingerprint"]) == vector["problem_id"]


@pytest.mark.parametrize("vector", vectors("upstream_key.json"))
def test_an_upstream_key_never_changes(vector: dict[str, Any]) -> None:
    key = upstream_key(KeyRule(vector["key_rule"]), vector["series"], vector["key_text"], vector["episode"])
    assert key == vector["key"]


@given(parts=st.lists(json_values, max_size=4))
def test_a_key_fits_every_upstream_whatever_the_parts_are(parts: list[Any]) -> None:
    digest = series("account", "scope", parts)
    assert len(digest) == 64
    for rule in KeyRule:
        key = upstream_key(rule, digest, None, episode(None, "event", 0))
        assert key.startswith("ib1-")
        assert len(key) <= 255


@given(first=st.lists(st.text(), max_size=4), second=st.lists(st.text(), max_size=4))
def test_different_parts_give_different_series(first: list[str], second: list[str]) -> None:
    assert (series("a", "s", first) == series("a", "s", second)) is (first == second)


def test_a_read_only_mapping_is_the_same_part_as_a_mapping() -> None:
    assert series("a", "", [MappingProxyType({"b": 1, "a": (2,)})]) == series("a", "", [{"a": [2], "b": 1}])


def test_an_integer_of_more_digits_than_python_writes_has_a_digest() -> None:
    assert series("a", "", [10**5000]) != series("a", "", [10**5000 + 1])


def test_an_integer_that_python_cannot_write_changes_nothing_but_itself_in_a_part() -> None:
    huge = 10**5000
    parts: list[Any] = [{"a": [huge, 1, True, (2, "x")]}, None]
    digests = {
        series("pd", "", [{"a": [n, one, yes, (2, x)]}, None])
        for n in (huge, huge + 1)
        for one in (1, 2)
        for yes in (True, False)
        for x in ("x", "y")
    }
    assert len(digests) == 16
    assert series("pd", "", parts) in digests
    assert series("pd", "", [{"a": [huge, 1, True, [2, "x"]]}, None]) == series("pd", "", parts)


def test_the_order_of_keys_does_not_matter() -> None:
    assert canonical({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'.encode()


def test_what_is_no_json_is_our_own_mistake() -> None:
    with pytest.raises(TypeError, match="a set cannot be part of a key"):
        series("a", "", [{1, 2}])
