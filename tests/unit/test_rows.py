"""JSON as the ledger's rows hold it."""

import json
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.adapters.ledger.rows import dumps

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda held: st.lists(held, max_size=4) | st.dictionaries(st.text(), held, max_size=4), max_leaves=20
)


@given(values)
def test_what_is_written_is_read_back_and_the_same_value_is_the_same_text(value: Any) -> None:
    text = dumps(value)
    assert json.loads(text) == value
    assert dumps(json.loads(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({"b": 1, "a": {"d": [], "c": None}}, '{"a":{"c":null,"d":[]},"b":1}', id="keys are sorted"),
        pytest.param({"title": "Käse \ud83d"}, '{"title":"Käse ?"}', id="half a surrogate pair"),
        pytest.param([2**70], "[1180591620717411303424]", id="an integer of more than 64 bits"),
        pytest.param({1: "one"}, '{"1":"one"}', id="a key that is no text"),
        pytest.param({"at": datetime(2026, 9, 5, tzinfo=UTC)}, '{"at":"2026-09-05T00:00:00+00:00"}', id="an instant"),
        pytest.param(MappingProxyType({"a": frozenset({"y", "x"})}), '{"a":["x","y"]}', id="a set is a sorted list"),
        pytest.param([float("nan"), float("inf")], "[null,null]", id="what JSON has no number for"),
    ],
)
def test_what_only_python_has(value: Any, text: str) -> None:
    assert dumps(value) == text


def test_what_nests_deeply_is_written_whole() -> None:
    value: Any = []
    for _ in range(400):
        value = [value]
    assert dumps(value) == "[" * 401 + "]" * 401
