"""Rule books as texts: the same everywhere, and what changes from one to the next."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge import wiring
from bridge.config.folders import visible
from bridge.config.rule_files import RuleFiles, digest_of, read_files, stamps_of
from bridge.domain.errors import ConfigError
from bridge.rules.changes import DIFF_MAX_LINES, changes_between
from bridge.sources.body import SUFFIXES
from tests.e2e.processes import write_configuration

NOBODY = 65_534  # the user id


@pytest.fixture
def loaded(tmp_path: Path) -> wiring.Loaded:
    config = write_configuration(tmp_path, sources={"lab": {"type": "generic", "auth": "none"}})
    (tmp_path / "templates" / "body.txt.j2").write_text("{{ alert.title }}")
    (tmp_path / "rules" / "team").mkdir()
    (tmp_path / "rules" / "team" / "more.yaml").write_text(
        "rules:\n  - id: more\n    account: pd\n    match: {title: x}\n"
        "    incident: {title: x, body: {template: body.txt.j2}}\n"
    )
    (tmp_path / "rules" / "team" / "more.test.yaml").write_text("[]")
    return wiring.load(config, receives=False)


def test_a_book_out_of_the_ledger_is_the_one_that_was_read_from_disk(loaded: wiring.Loaded) -> None:
    stored = wiring.stored_book(loaded)
    files = RuleFiles.from_json(stored.files)
    assert files == loaded.files
    book, warnings = wiring.book_of(loaded.settings, files)
    assert (book.hash, book.content) == (loaded.book.hash, loaded.book.content)
    assert [str(rule.place) for rule in book.rules] == [str(rule.place) for rule in loaded.book.rules]
    assert warnings == loaded.warnings
    assert list(files.texts) == ["rules/rules.yaml", "rules/team/more.yaml", "templates/body.txt.j2"]


def test_a_book_that_names_an_account_this_host_has_not_is_refused_with_its_place(loaded: wiring.Loaded) -> None:
    text = loaded.files.as_json().replace("account: pd", "account: elsewhere")
    with pytest.raises(ConfigError, match=r"rules/team/more.yaml:3:14: .*account 'elsewhere', which does not exist"):
        wiring.book_of(loaded.settings, RuleFiles.from_json(text))


def test_the_digest_sees_every_file_a_reload_looks_at_and_no_other(loaded: wiring.Loaded, tmp_path: Path) -> None:
    folders = (tmp_path / "rules", tmp_path / "templates")
    seen = {digest_of(*folders)}
    sent = (f"rules/team/new{suffix}" for suffix in SUFFIXES.values())  # as `capture` writes it
    for name in ("rules/rules.yaml", "rules/team/more.test.yaml", "templates/body.txt.j2", *sent):
        with (tmp_path / name).open("a") as file:
            file.write("\n")
        seen.add(digest_of(*folders))
    assert len(seen) == 4 + len(SUFFIXES)
    stamps = stamps_of(*folders)
    for name in ("rules/.rules.yaml.swp", "rules/#more.yaml#", "rules/notes.md", "rules/rules.yaml~"):
        (tmp_path / name).write_text("x")
    assert digest_of(*folders) in seen
    assert stamps_of(*folders) == stamps


def test_a_file_that_was_let_be_read_or_swapped_with_its_time_is_seen_to_change(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("a")
    os.utime(file, (0, 0))
    file.chmod(0o200)
    seen = {stamps_of(tmp_path)}
    file.chmod(0o644)
    seen.add(stamps_of(tmp_path))
    (tmp_path / "new").write_text("b")
    os.utime(tmp_path / "new", (0, 0))
    (tmp_path / "new").replace(file)
    seen.add(stamps_of(tmp_path))
    assert len(seen) == 3


def test_files_that_cannot_be_read_are_problems_with_their_names(tmp_path: Path) -> None:
    for folder in ("rules", "templates"):
        (tmp_path / folder).mkdir()
    (tmp_path / "rules" / "a.yaml").write_bytes(b"\xff")
    (tmp_path / "templates" / "b.j2").write_bytes(b"\xff")
    (tmp_path / "rules" / "c.yaml").symlink_to(tmp_path / "gone")
    files, problems = read_files(tmp_path / "rules", tmp_path / "templates", tmp_path)
    assert files.texts == {}
    assert [str(one).split("\n")[0] for one in problems] == [
        "rules/a.yaml:1:1: the file is not UTF-8",
        "rules/c.yaml:1:1: the file cannot be read: No such file or directory",
        "templates/b.j2:1:1: the file is not UTF-8",
    ]


def test_a_name_that_is_not_utf_8_is_a_problem(tmp_path: Path) -> None:
    for folder, name in (("rules", b"na\xefve.yaml"), ("templates", b"na\xefve.j2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / os.fsdecode(name)).write_text("rules: []")
    files, problems = read_files(tmp_path / "rules", tmp_path / "templates", tmp_path)
    assert files.texts == {}
    assert [str(one) for one in problems] == [
        "rules/na\udcefve.yaml:1:1: the file's name is not UTF-8\n    rename it",
        "templates/na\udcefve.j2:1:1: the file's name is not UTF-8\n    rename it",
    ]


def test_a_folder_of_rules_that_is_not_there_is_the_one_problem(loaded: wiring.Loaded, tmp_path: Path) -> None:
    config = tmp_path / "bridge.yaml"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rules": "rulez/", "templates": "templatez"}))
    with pytest.raises(ConfigError) as raised:
        wiring.load(config, receives=False)
    assert str(raised.value) == (
        "rulez:1:1: there is no such folder\n    make it, or name the folder of the rules: 'rules:' in bridge.yaml"
    )
    (tmp_path / "rules").rename(tmp_path / "rulez")
    with pytest.raises(ConfigError, match=r"there is no template in templatez/: 'templates:' in bridge\.yaml names"):
        wiring.load(config, receives=False)


def test_a_folder_whose_rules_would_be_missing_is_a_problem() -> None:
    with _as_nobody(), tempfile.TemporaryDirectory() as made:  # tmp_path is not for everybody
        root = Path(made)
        (root / "rules" / "team").mkdir(parents=True)
        (root / "rules" / "team" / "more.yaml").write_text("rules: []\n")
        (root / "rules" / "other").symlink_to("gone")
        (root / "rules" / "team").chmod(0)
        _, problems = read_files(root / "rules", root / "templates", root)
        (root / "rules" / "team").chmod(0o700)
    assert [(one.place.file, one.message) for one in problems] == [
        ("rules/other", "the folder cannot be read: the link leads nowhere"),
        ("rules/team", "the folder cannot be read: Permission denied"),
    ]


def test_what_a_file_system_keeps_for_itself_beside_the_rules_is_none_of_them() -> None:
    with _as_nobody(), tempfile.TemporaryDirectory() as made:
        root = Path(made)
        (root / "rules" / "lost+found").mkdir(parents=True, mode=0)
        _, problems = read_files(root / "rules", root / "templates", root)
    assert problems == ()


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Whoever is root may read everything."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(own)


def test_nobody_waits_for_a_pipe_among_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    os.mkfifo(tmp_path / "rules" / "a.yaml")
    _, problems = read_files(tmp_path / "rules", tmp_path / "templates", tmp_path)
    assert [one.message for one in problems] == ["the file cannot be read: it is a pipe or a device"]
    assert digest_of(tmp_path / "rules")


def content(*rules: tuple[str, str], unmatched: str | None = None, **templates: str) -> str:
    held = [[{}, {"id": name, "title": title}] for name, title in rules]
    return json.dumps({"rules": held, "unmatched": unmatched, "templates": templates})


def test_changes_name_rules_templates_order_and_lines() -> None:
    old = content(("a", "1"), ("b", "1"), ("c", "1"), t="1", u="1")
    new = content(("c", "1"), ("a", "2"), ("d", "1"), t="2", v="1", unmatched="a")
    found = changes_between(old, new, {"rules/r.yaml": "x\ny\n"}, {"rules/r.yaml": "x\nz\n"})
    assert (found.added, found.changed, found.removed) == (("d",), ("a",), ("b",))
    assert found.templates == ("t", "u", "v")
    assert found.is_reordered
    assert found.unmatched
    assert [line for line in found.diff if line[0] in "+-"][2:] == ["-y", "+z"]
    assert found.sentence.startswith("1 added (d); 1 changed (a); 1 removed (b); templates changed: t, u, v")


def test_the_first_book_adds_all_its_rules() -> None:
    found = changes_between(None, content(("a", "1"), ("b", "1")), {}, {"rules/r.yaml": "x"})
    assert (found.added, found.changed, found.removed, found.unmatched) == (("a", "b"), (), (), False)


def test_comments_alone_change_no_rule() -> None:
    same = content(("a", "1"))
    assert changes_between(same, same, {"f": "x"}, {"f": "x # why"}).sentence == "only comments or layout"
    assert changes_between(same, same, {"f": "x"}, {"f": "x"}).sentence == "nothing"


def test_the_difference_of_huge_files_is_bounded() -> None:
    huge = "\n".join(str(number) for number in range(10_000))
    found = changes_between(content(), content(), {}, {"f": huge})
    assert len(found.diff) == DIFF_MAX_LINES + 1


def test_hidden_files_and_folders_do_not_count(loaded: wiring.Loaded, tmp_path: Path) -> None:
    """As a Kubernetes volume lays them out, and as editors leave them."""
    rules, templates = tmp_path / "rules", tmp_path / "templates"
    before, digest = loaded.files, digest_of(rules, templates)
    for folder, name in ((rules, "rules.yaml"), (templates, "body.txt.j2")):
        kept = folder / "..2026_11_21"
        kept.mkdir()
        (folder / name).rename(kept / name)
        (folder / "..data").symlink_to(kept.name)
        (folder / name).symlink_to(f"..data/{name}")
    (rules / ".#rules.yaml").symlink_to("somebody@somewhere.1234")
    (rules / ".draft.yaml").write_text("rules: what is this")
    (rules / ".draft.test.yaml").write_text("neither")
    files, problems = read_files(rules, templates, tmp_path)
    assert (files, problems) == (before, ())
    assert digest_of(rules, templates) == digest
    assert list(visible(rules, "*.test.yaml")) == [rules / "team" / "more.test.yaml"]


def test_a_folder_that_is_a_link_counts_as_what_it_leads_to(loaded: wiring.Loaded, tmp_path: Path) -> None:
    """As a Kubernetes volume lays out what its `items` put into folders."""
    rules, templates = tmp_path / "rules", tmp_path / "templates"
    (rules / "team" / "more.yaml").write_text("rules: []\n")
    before, digest = read_files(rules, templates, tmp_path), digest_of(rules, templates)
    kept = rules / "..2026_11_21"
    kept.mkdir()
    (rules / "team").rename(kept / "team")
    (rules / "..data").symlink_to(kept.name)
    (rules / "team").symlink_to("..data/team")
    assert read_files(rules, templates, tmp_path) == before
    assert "rules/team/more.yaml" in before[0].texts
    assert digest_of(rules, templates) == digest
    assert list(visible(rules, "*.test.yaml")) == [rules / "team" / "more.test.yaml"]


def test_a_link_that_leads_back_up_is_not_followed(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.yaml").write_text("")
        (tmp_path / folder / "up").symlink_to(tmp_path)
        (tmp_path / folder / "itself").symlink_to("itself")
    (tmp_path / "a" / "aside").symlink_to(tmp_path / "b")
    found = [path.relative_to(tmp_path).as_posix() for path in visible(tmp_path, "*.yaml")]
    assert sorted(found) == ["a/aside/one.yaml", "a/one.yaml", "b/one.yaml"]
