"""Matchers of rule tests."""

from typing import Any

import pytest

from bridge.rules.expectations import differences

ACTUAL = {"incident": {"title": "pg-main is down", "priority": "P1", "n": 1, "tags": ["a", "b"], "on": True}}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"incident": {}},
        {"incident": {"title": "pg-main is down", "n": 1.0}},
        {"incident": {"title": {"contains": "pg-main"}}},
        {"incident": {"title": {"regex": "^pg-.*down$"}}},
        {"incident": {"priority": {"one_of": ["P2", {"contains": "1"}]}}},
        {"incident": {"body": {"absent": True}, "title": {"absent": False}}},
        {"incident": {"tags": ["a", {"regex": "."}]}},
        {"incident": {"tags": {"contains": '"b"'}}},
    ],
)
def test_what_is_named_and_there_is_no_difference(wanted: Any) -> None:
    assert list(differences(wanted, ACTUAL, "request")) == []


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"priority": "P2"}, 'request.priority is "P1", wanted "P2"'),
        ({"nosuch": 1}, "request.nosuch is missing, wanted 1"),
        ({"n": True}, "request.n is 1, wanted true"),
        ({"on": 1}, "request.on is true, wanted 1"),
        ({"title": {"contains": "mysql"}}, 'request.title is "pg-main is down", which does not contain "mysql"'),
        ({"nosuch": {"contains": "x"}}, 'request.nosuch is missing, wanted contains "x"'),
        ({"title": {"regex": "^x"}}, 'request.title is "pg-main is down", in which "^x" finds nothing'),
        ({"title": {"absent": True}}, 'request.title is "pg-main is down", wanted nothing there'),
        ({"nosuch": {"absent": False}}, "request.nosuch is missing"),
        ({"priority": {"one_of": ["P2", "P3"]}}, 'request.priority is "P1", wanted one of ["P2", "P3"]'),
        ({"tags": ["a"]}, 'request.tags is ["a", "b"], wanted ["a"]'),
        ({"tags": ["a", "c"]}, 'request.tags.1 is "b", wanted "c"'),
        ({"title": {"x": 1}}, 'request.title is "pg-main is down", wanted {"x": 1}'),
    ],
)
def test_a_difference_is_said_with_its_path(wanted: Any, sentence: str) -> None:
    assert list(differences(wanted, ACTUAL["incident"], "request")) == [sentence]


def test_every_difference_is_told() -> None:
    assert len(list(differences({"priority": "P2", "n": 2}, ACTUAL["incident"], "r"))) == 2
