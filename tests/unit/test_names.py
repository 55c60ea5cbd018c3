"""A person's word and the upstream's list: what is meant, and what is said when it is not clear."""

import pytest

from bridge.domain.delivery import NamedThing, NameRef
from bridge.domain.names import CANDIDATES_MAX, Found, ListPart, NotOne, Served, find, list_part, served

TRIAGE = NamedThing(id="01A", name="Triage", aliases=("triage",))
FIXING = NamedThing(id="01B", name="Fixing", aliases=("live",))
LIVE = NamedThing(id="01C", name="Live")
ANN = NamedThing(id="U1", name="Ann", aliases=("ann@example.com",))
ANNE = NamedThing(id="U2", name="ann", aliases=("Anne@example.com",))
CATCH_ALL = NamedThing(id="P1", name="Catch-all")


def sentence(text: str, *things: NamedThing) -> str:
    answer = find(text, "user", things)
    assert isinstance(answer, NotOne), answer
    return answer.sentence


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("U2", ANNE),
        ("Ann", ANN),
        ("ann", ANNE),
        ("ann@example.com", ANN),
        ("ANN@EXAMPLE.COM ", ANN),
        ("anne@example.com", ANNE),
    ],
)
def test_an_id_then_the_exact_name_then_any_case_then_an_alias(text: str, meant: NamedThing) -> None:
    assert find(text, "user", (ANN, ANNE)) == Found(thing=meant)


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("Caf\u00e9", "Cafe\u0301"),  # one character, or a letter and its accent
        ("Cafe\u0301", "CAF\u00c9"),
        ("Postgres Primary", "Postgres\u00a0Primary"),  # pasted from a page, with a space that does not break
        ("Postgres Primary", " Postgres  Primary "),
    ],
)
def test_a_name_that_looks_the_same_is_the_same(text: str, there: str) -> None:
    thing = NamedThing(id="P2", name=there)
    assert find(text, "service", (CATCH_ALL, thing)) == Found(thing=thing)
    exact = NamedThing(id="P3", name=text)
    assert find(text, "service", (thing, exact)) == Found(thing=exact)


def test_a_name_in_any_case_goes_before_an_alias() -> None:
    assert find("live", "incident_status", (TRIAGE, FIXING, LIVE)) == Found(thing=LIVE)
    assert find("live", "incident_status", (TRIAGE, FIXING)) == Found(thing=FIXING)


def test_an_ambiguous_word_lists_the_candidates_with_their_ids() -> None:
    assert sentence("ANN", ANN, ANNE) == "user 'ANN' is ambiguous: Ann (U1), ann (U2); use the id"
    both = (ANN, NamedThing(id="U3", name="Robot", aliases=("ann@example.com",)))
    assert sentence("ann@example.com", *both) == "user 'ann@example.com' is ambiguous: Ann (U1), Robot (U3); use the id"


def test_an_unknown_word_lists_what_there_is() -> None:
    assert sentence("Bob", ANN, CATCH_ALL) == "user 'Bob' does not exist upstream; there: Ann, Catch-all"
    assert sentence("Bob") == "user 'Bob' does not exist upstream; there: none"


def test_a_long_list_of_long_names_makes_no_long_sentence() -> None:
    things = [NamedThing(id=f"U{n}", name=f"{n:03}" + "x" * 5000) for n in range(300)]
    said = sentence("Bob", *things)
    assert said.endswith(f"… and {300 - CANDIDATES_MAX} more")
    assert len(said) < 1000
    same = [NamedThing(id=f"U{n}", name="Bob") for n in range(300)]
    assert sentence("Bob", *same).endswith(f" and {300 - CANDIDATES_MAX} more; use the id")


@pytest.mark.parametrize(
    ("fallback", "default", "serves"),
    [("ann", "Catch-all", ANNE), ("Nobody", "Catch-all", CATCH_ALL), (None, "Catch-all", CATCH_ALL)],
)
def test_the_else_serves_before_the_accounts_default(fallback: str | None, default: str, serves: NamedThing) -> None:
    ref = NameRef(field="service", kind="service", text="Gone", fallback=fallback)
    found = served(ref, (ANN, ANNE, CATCH_ALL), default)
    assert found.thing == serves
    assert found.note is not None
    assert found.note.endswith(f"; '{serves.name}' serves instead")


def test_what_nothing_serves_for_is_said_and_what_is_named_needs_no_word() -> None:
    ref = NameRef(field="service", kind="service", text="Gone", fallback="Gone too")
    assert served(ref, (ANN,), "Nor this") == Served(
        thing=None, note="service: service 'Gone' does not exist upstream; there: Ann", unlisted=True
    )
    assert served(NameRef(field="user", kind="user", text="Ann"), (ANN,)) == Served(thing=ANN)


TEAM = NamedThing(id="F1", name="Team", extra={"values_kind": "option", "values_of": "F1"})
TICKET = NamedThing(id="F2", name="Ticket")
VALUE = NameRef(field="custom.Team.0", kind="?", text="Support", within="custom.Team")


def test_what_a_name_stands_in_says_which_list_knows_it_and_which_part_of_it() -> None:
    part = list_part(VALUE, {"custom.Team": TEAM})
    assert part is not None
    assert part.ref.kind == "option"
    here, there = (NamedThing(id=f"O-{of}", name="Support", extra={"of": of}) for of in ("F1", "F9"))
    assert served(part.ref, part.among((here, there))) == Served(thing=here)
    assert list_part(TWICE, {}) == ListPart(ref=TWICE)
    assert ListPart(ref=TWICE).among((here, there)) == (here, there)


TWICE = NameRef(field="user", kind="user", text="Ann")


@pytest.mark.parametrize("found", [{}, {"custom.Team": TICKET}])
def test_a_name_within_something_unknown_or_something_that_takes_any_text_is_looked_up_nowhere(
    found: dict[str, NamedThing],
) -> None:
    assert list_part(VALUE, found) is None
