"""YAML is read as 1.2 with places: nothing is dropped silently, nothing hangs, nothing becomes another type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.yaml_reader import core_value, read_tree


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("012", "012"), ("12:30", "12:30"), ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("0", 0), ("-7", -7), ("0o17", 15), ("0x1F", 31), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("'7'", "7"),
        ("=", "="), ("1" * 500, "1" * 500),
    ],
)  # fmt: skip
def test_a_scalar_means_what_yaml_1_2_says(written: str, meant: object) -> None:
    tree = read_tree(f"key: {written}\n", "f.yaml")
    assert tree.problems == ()
    assert tree.value == {"key": meant}
    assert type(tree.value["key"]) is type(meant)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1: 'a' is given twice, first at line 1"),
        ("a: &x {b: 1}\nc: *x\n", "1:4: the anchor '&x' is not read"),
        ("a: *gone\n", "1:4: the alias '*gone' repeats another part of the file"),
        ("a: 'b\ud800'\n", "1:6: this is not YAML: the character U+D800"),
        ("<<: {a: 1}\n", "1:1: `<<` merges are not read"),
        ("? [1]\n: 2\n", "1:3: a key is one word or text"),
        ("a:\n\t- b\n", "2:1: this is not YAML"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document begins here"),
        ("a: !!python/object:os.system 1\n", "1:4: the tag"),
        ("a: !mine 1\n", "1:4: the tag !mine means nothing here"),
        ("a: \x00\n", "1:4: this is not YAML: the character U+0000"),
        ("a: 'open\n", "this is not YAML"),
    ],
)
def test_what_is_odd_is_told_at_its_place(text: str, says: str) -> None:
    problems = read_tree(text, "f.yaml").problems
    assert problems
    assert says in str(problems[0])
    assert problems[0].hint


@pytest.mark.parametrize("bomb", ["[" * 100_000, "{a: " * 5_000, "- " * 5_000, "a:\n" + "  " * 90 + "b: 1"])
def test_no_nesting_hangs_or_overflows(bomb: str) -> None:
    assert isinstance(read_tree(bomb, "f.yaml").problems, tuple)


def test_every_value_and_key_knows_its_place() -> None:
    tree = read_tree("a:\n  - b: 1\n    c: two\n", "f.yaml")
    assert str(tree.place(("a", 0, "c"))) == "f.yaml:3:8"
    assert str(tree.key_place(("a", 0, "c"))) == "f.yaml:3:5"
    assert str(tree.place(("a", 0, "missing"))) == "f.yaml:2:5"


@given(st.text(max_size=200))
def test_any_text_gives_a_tree(text: str) -> None:
    read_tree(text, "f.yaml")


@given(st.text(max_size=30))
def test_any_scalar_has_a_meaning(text: str) -> None:
    core_value(text)


def test_escapes_in_pairs_as_json_writes_them_are_characters_and_half_of_one_is_a_problem() -> None:
    assert read_tree('{"a": "\\ud83d\\ude00"}', "f").value == {"a": "\U0001f600"}
    half = read_tree('a: 1\nb: "x \\ud800 y"', "f")
    assert [str(one) for one in half.problems] == [
        "f:2:4: an escape like \\ud800 is half a character\n    write the character itself"
    ]


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\u2029"])
def test_what_only_yaml_1_1_takes_for_a_line_break_is_a_character(odd: str) -> None:
    text = f"# a{odd}b\na: |\n  x{odd}y\nb: 'x{odd}y\ue000'\nc{odd}d: x{odd}y:z\ne: {{{{ x{odd}y }}}}\ne: 1\n"
    tree = read_tree(text, "f")
    whole = f"x{odd}y"
    held = {"a": f"{whole}\n", "b": f"{whole}\ue000", f"c{odd}d": f"{whole}:z", "e": f"{{{{ {whole} }}}}"}
    assert [str(one).split("\n")[0] for one in tree.problems] == [
        "f:6:4: {{ without quotes is no text in YAML, but a mapping",
        "f:7:1: 'e' is given twice, first at line 6",
    ]
    assert tree.value == held


@pytest.mark.parametrize("large", [False, True], ids=["told by PyYAML", "told by libyaml"])
@pytest.mark.parametrize(
    ("line", "place", "hint"),
    [
        ('title: "{{ alert.title }}', "3:10", "close the quotes that are opened here"),
        ("title: {a: 1", "4:4", "close the bracket of line 3"),
        ("title: [a, b", "4:4", "close the bracket of line 3"),
        ("title: [ERROR] disk full", "3:18", "a text that begins with [ stands in quotes"),
        ("title: @oncall", "3:10", "a text that begins with @ stands in quotes"),
        ("\ttitle: x", "3:3", "indent with spaces, not tabs"),
        ("title: *disk*", "3:15", "a text that begins with * stands in quotes"),
        ('title: "{{ alert.labels["x"] }}"', "3:28", "inside of quotes write the other ones"),
        ("title: '{{ alert.labels['x'] }}'", "3:28", "inside of quotes write the other ones"),
    ],
)
def test_what_is_opened_or_begins_so_is_told_with_what_to_do(line: str, place: str, hint: str, large: bool) -> None:
    tree = read_tree(f"{'# x' * 40_000 if large else '#'}\na:\n  {line}\n  b: 1\n", "f")
    (problem,) = tree.problems
    assert str(problem).startswith(f"f:{place}: this is not YAML: ")
    assert problem.hint.startswith(hint)


@pytest.mark.parametrize(("text", "char"), [("a: *gone", "*"), ("a: &x 1", "&"), ("a: !mine 1", "!")])
def test_what_is_no_text_for_its_first_character_is_told_to_be_quoted(text: str, char: str) -> None:
    (problem,) = read_tree(text, "f").problems
    assert problem.hint.endswith(f"a text that begins with {char} stands in quotes")


QUOTES = '\n    put the whole text in quotes, as in title: "{{ alert.title }}"'


@pytest.mark.parametrize("large", [False, True], ids=["told by PyYAML", "told by libyaml"])
@pytest.mark.parametrize(
    "line",
    [
        "title: {{ alert.title }} is down",
        "title: {{ alert.labels['x'] }}",
        "title: {{ alert.title }}: is down",
        "title: DB {{ alert.title }}: is down",
        "title: {% if alert.title %}x{% endif %}",
        "  - {{ alert.title }} x",
    ],
)
def test_a_template_without_quotes_that_is_no_yaml_is_told_to_be_quoted(line: str, large: bool) -> None:
    tree = read_tree(f"{'# x' * 40_000 if large else '#'}\na:\n  {line}\n  b: 1\n", "f")
    (problem,) = tree.problems
    assert str(problem).startswith("f:3:")
    assert str(problem).endswith(QUOTES)


def test_a_template_without_quotes_that_is_a_mapping_to_yaml_is_told_once_and_read_as_meant() -> None:
    tree = read_tree("é: ü\r\na: {{ x | y('z') }}\r\nb: [ {{ y }}, {c: {{ z }}, d: 1} ]\r\n", "f")
    assert tree.value == {"é": "ü", "a": "{{ x | y('z') }}", "b": ["{{ y }}", {"c": "{{ z }}", "d": 1}]}
    said = "{{ without quotes is no text in YAML, but a mapping" + QUOTES
    assert [str(one) for one in tree.problems] == [f"f:{at}: {said}" for at in ("2:4", "3:6", "3:19")]
    assert str(tree.place(("b", 1, "c"))) == "f:3:19"
    (other,) = read_tree("a: { {x: 1}: 2}", "f").problems
    assert str(other) == "f:1:6: a key is one word or text, not a list or mapping\n    write it as text"
    assert "quotes, colons" in str(read_tree("title: x: y", "f").problems[0])
