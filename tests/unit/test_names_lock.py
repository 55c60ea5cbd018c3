"""names.lock.json: names proven before a page, names that changed, and a file that is the same for the same lists."""

import json
from pathlib import Path

import pytest

from bridge.config.names_lock import FILE, Known, lock_text, name_problems, read_lock
from bridge.domain.delivery import NamedThing
from bridge.domain.errors import ConfigError, Grade, Place
from bridge.domain.names import CUT_OFF, FORMERLY, Found, find, renamed
from bridge.rules.book import NameUse
from tests.unit.test_rulebook import load, written

PLACE = Place(file="rules/a.yaml", line=7, column=20)
KEY = ("pd", "service")

RULES = """
rules:
  - id: a
    account: pagerduty-prod
    match: {}
    incident:
      title: x
      service: {from: severity, map: {critical: Postgres, error: "{{ alert.labels.team }}"}, else: Catch-all}
      priority: P1
unmatched: record
"""


def use(text: str) -> NameUse:
    return NameUse(place=PLACE, account="pd", kind="service", text=text)


def things(**names: str) -> tuple[NamedThing, ...]:
    """Entries by id."""
    return tuple(NamedThing(id=id_, name=name) for id_, name in names.items())


def known(*entries: NamedThing, **changes: object) -> Known:
    return Known(lists={KEY: entries}, **changes)  # type: ignore[arg-type]


def test_names_that_stand_in_rules_are_noted_with_their_places(tmp_path: Path) -> None:
    book, _ = load(written(tmp_path, a=RULES))
    assert [(one.account, one.kind, one.text, one.place.line) for one in book.names] == [
        ("pagerduty-prod", "service", "Catch-all", 8),
        ("pagerduty-prod", "service", "Postgres", 8),
        ("pagerduty-prod", "priority", "P1", 9),
    ]
    assert len({one.place.column for one in book.names if one.kind == "service"}) == 2


@pytest.mark.parametrize("text", ["Postgres", "postgres", "S1"])
def test_a_name_the_list_has_is_no_problem(text: str) -> None:
    assert name_problems([use(text)], known(*things(S1="Postgres"))) == ()


def test_a_list_that_is_not_there_proves_nothing() -> None:
    assert name_problems([use("Postgres")], Known(lists={})) == ()


def test_a_name_no_list_has_is_an_error_with_the_candidates() -> None:
    (problem,) = name_problems([use("Postgers")], known(*things(S1="Postgres", S2="Redis")))
    assert (problem.place, problem.grade) == (PLACE, Grade.ERROR)
    assert problem.message == "service 'Postgers' does not exist at 'pd'; there: Postgres, Redis"
    assert problem.hint == "as names.lock.json has it; 'incident-bridge names pull' asks again"


def test_an_ambiguous_name_is_an_error_too() -> None:
    (problem,) = name_problems([use("db")], known(*things(S1="DB", S2="Db")))
    assert problem.message == "service 'db' is ambiguous: DB (S1), Db (S2); use the id"


def test_an_old_list_only_warns() -> None:
    (problem,) = name_problems([use("x")], known(stale=frozenset({KEY}), whence="the ledger"))
    assert (problem.grade, problem.hint[:17]) == (Grade.WARNING, "as the ledger has")


FIELDS = """
rules:
  - id: a
    account: incident-io
    match: {}
    incident:
      name: x
      custom_fields:
        Team: [Support, "{{ alert.labels.team }}", Nobody]
        Ticket: free text
        Taem: x
      roles: {Lead: {email: ann@example.com}, Scribe: bo@example.com}
      timestamps: {Started: {expr: alert.starts_at}}
unmatched: record
"""


def test_names_within_a_mapping_are_proven_as_the_worker_will_look_them_up(tmp_path: Path) -> None:
    book, _ = load(written(tmp_path, a=FIELDS))
    io = "incident-io"
    team = NamedThing(id="F1", name="Team", extra={"values_kind": "custom_field_option", "values_of": "F1"})
    options = [NamedThing(id=f"O{of}", name="Support", extra={"of": of}) for of in ("F1", "F9")]
    lists = {
        (io, "custom_field"): (team, NamedThing(id="F2", name="Ticket")),
        (io, "custom_field_option"): tuple(options),
        (io, "incident_role"): things(R1="Lead", R2="Scribe"),
        (io, "user"): (NamedThing(id="U1", name="Ann", aliases=("ann@example.com",)),),
        (io, "incident_timestamp"): things(T1="Ended"),
    }
    assert [
        (one.place.line, one.message.partition(" does not")[0]) for one in name_problems(book.names, Known(lists=lists))
    ] == [
        (9, "custom_field_option 'Nobody'"),
        (11, "custom_field 'Taem'"),
        (12, "user 'bo@example.com'"),
        (13, "incident_timestamp 'Started'"),
    ]


def test_a_changed_name_keeps_its_id_and_is_a_warning() -> None:
    (kept,) = renamed(things(S1="Postgres"), things(S1="Databases"))
    assert find("Postgres", "service", [kept]) == Found(thing=kept)
    (problem,) = name_problems([use("Postgres")], known(kept))
    assert problem.grade is Grade.WARNING
    assert (problem.message, problem.hint) == (
        "service 'Postgres' of 'pd' is called 'Databases' now; its id is kept",
        "write 'Databases'",
    )


def test_former_names_are_remembered_over_several_changes_and_back_again() -> None:
    first, second, third = things(S1="a"), things(S1="b"), things(S1="c")
    after = renamed(renamed(first, second), third)
    assert after[0].extra[FORMERLY] == ["b", "a"]
    (back,) = renamed(after, first)
    assert (back.extra[FORMERLY], find("c", "service", [back])) == (["c", "b"], Found(thing=back))


def test_a_name_that_another_entry_took_over_means_that_one() -> None:
    after = renamed(things(S1="Postgres"), things(S1="Old Postgres", S2="Postgres"))
    found = find("Postgres", "service", after)
    assert isinstance(found, Found)
    assert found.thing.id == "S2"
    assert FORMERLY not in after[0].extra


def test_the_file_reads_back_as_it_was_written_and_is_the_same_for_the_same_lists(tmp_path: Path) -> None:
    field = NamedThing(id="F1", name="Team", aliases=("squad",), extra={"values_kind": "option"})
    lists = {("io", "custom_field"): (field,), KEY: things(S2="Redis", S1="Postgres")}
    text = lock_text(lists, None)
    (tmp_path / FILE).write_text(text)
    held = read_lock(tmp_path)
    assert held is not None
    assert held.lists == {("io", "custom_field"): (field,), KEY: things(S1="Postgres", S2="Redis")}
    assert lock_text(dict(reversed(held.lists.items())), held) == text


def test_pulling_again_remembers_what_was_renamed(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(lock_text({KEY: things(S1="Postgres")}, None))
    (tmp_path / FILE).write_text(lock_text({KEY: things(S1="Databases")}, read_lock(tmp_path)))
    held = read_lock(tmp_path)
    assert held is not None
    (problem,) = name_problems([use("Postgres")], held)
    assert problem.grade is Grade.WARNING


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"version": 2, "accounts": {}}', '{"version": 1, "accounts": {"pd": {"service": [{}]}}}', "\xff"],
)
def test_a_broken_file_is_a_problem_with_a_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="names pull"):
        read_lock(tmp_path)


def test_no_file_is_no_lock(tmp_path: Path) -> None:
    assert read_lock(tmp_path) is None
    assert json.loads(lock_text({}, None)) == {"version": 1, "accounts": {}}


def test_a_list_that_is_cut_off_only_warns_of_what_it_lacks_but_an_ambiguous_name_stays_wrong() -> None:
    long = {f"S{number}": f"service {number}" for number in range(CUT_OFF - 2)}
    (lacking, ambiguous) = name_problems([use("PXYZ999"), use("db")], known(*things(**long, A="DB", B="Db")))
    assert (lacking.grade, ambiguous.grade) == (Grade.WARNING, Grade.ERROR)
