"""`test`: the rules' own tests, on a clock of their own."""

import re
import tempfile
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import click

from bridge.adapters.files import write_bytes
from bridge.config.rule_tests import Case, read_cases, test_files
from bridge.config.texts import text_in
from bridge.domain.errors import ConfigError, Problem
from bridge.entrypoints.cli import PROBLEMS_FOUND, config_option, json_option, say, tell
from bridge.entrypoints.cli.tables import counted, printed
from bridge.rules.book import RuleBook
from bridge.rules.coverage import Tried

if TYPE_CHECKING:
    from bridge.entrypoints.rehearsal import Miss, Stage
    from bridge.wiring import Loaded

RULES_SAID = 20  # in one line about conditions
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[FILE|FOLDER]...")
@click.option("-k", "word", metavar="TEXT", help="Only tests whose name holds TEXT.")
@click.option("--update", is_flag=True, help="Write today's result into the expectations that fail; read the diff.")
@click.option(
    "--rules",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Try this rule file alone, instead of the rules folder.",
)
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the results for a CI as well.")
@json_option
@config_option
def test(
    paths: tuple[Path, ...],
    word: str | None,
    update: bool,
    rules: Path | None,
    junit: Path | None,
    as_json: bool,
    config: Path,
) -> int:
    """Run the *.test.yaml files of the rules folder, or those named: what would be paged, retried and resolved.

    The code of production decides and delivers, on a ledger in memory and stand-ins of the upstreams; an hour of a test
    takes milliseconds, and nothing is sent anywhere. Exit code 1: a test fails, a file cannot be read, no test has the
    name asked for, or there is none in what was named.
    """
    from bridge import wiring
    from bridge.entrypoints.rehearsal import Stage

    loaded = wiring.load(config, receives=False)
    if rules is not None:
        loaded = _with_rules(loaded, rules)
    root = loaded.settings.config_dir
    files = test_files(list(paths) or [loaded.settings.rules_dir])
    cases, problems = cases_of(files, root, loaded.settings, None if update else loaded.book.by_id)
    for problem in problems:
        say(str(problem))
    wanted = [case for case in cases if word is None or word in case.name]
    missing = None if wanted else _missing(cases, problems, paths, word)
    if missing is not None:
        say(missing)
    with closing(Stage(loaded)) as stage:
        results, matched, missed = _played(stage, wanted, aloud=not as_json)
        tried = list(stage.coverage.conditions())
    never = [rule.id for rule in loaded.book.rules if rule.id not in matched]
    failed = sum(not result["ok"] for result in results)
    if junit is not None:
        write_bytes(junit, _junit(results, problems))
    if as_json:
        ok = not failed and not problems and missing is None
        said = [problem.as_json() for problem in problems]
        conditions = [_tried_json(one) for one in tried]
        printed({"tests": results, "never_matched": never, "conditions": conditions, "problems": said, "ok": ok})
    elif results:
        _summed_up(len(results), failed, loaded.book, never)
        _conditions_said(tried, frozenset(never))
    elif missing is None and not problems:
        say("there are no tests; 'incident-bridge capture EVENT' makes one of an event that came in")
    if update and missed:
        return PROBLEMS_FOUND if problems or not _updated(root, missed) else 0
    return PROBLEMS_FOUND if failed or problems or missing is not None else 0


def _missing(cases: Sequence[Case], problems: Sequence[Problem], paths: Sequence[Path], word: str | None) -> str | None:
    """What was asked for and is not there. That the rules folder holds no test at all was not asked."""
    if cases:
        return f"no test has {word!r} in its name (there {'is' if len(cases) == 1 else 'are'} {len(cases)})"
    if paths and not problems:
        return f"there is no test in {', '.join(map(str, paths))}: tests stand in files called *.test.yaml"
    return None


def _with_rules(loaded: "Loaded", rules: Path) -> "Loaded":
    """The configuration with this file as its only rules, as the playground tries them. Raises ConfigError."""
    from bridge.entrypoints.alone import book_alone

    name = rules.name if rules.suffix in (".yaml", ".yml") else f"{rules.name}.yaml"
    with tempfile.TemporaryDirectory(prefix="ib-test-") as folder:
        book, _ = book_alone(loaded.settings, text_in(rules, name), Path(folder), name)
    return replace(loaded, book=book)


def _updated(root: Path, missed: Sequence[tuple[Case, "Miss"]]) -> bool:
    """Write what can be written; answers whether that is all."""
    from bridge.entrypoints.cli.updating import update

    done = update(root, missed)
    for path, number in done.written.items():
        say(f"wrote {path}: {counted(number, 'value')}; read the diff before you keep it")
    for left in done.left:
        say(f"{left.place}: '{left.path}' is yours to change: today it is {left.today}")
    yours = [miss for _, miss in missed if miss.yours]
    for miss in yours:
        say(f"{miss.place}: yours to change: {'; '.join(miss.yours)}")
    return not done.left and not yours


def _conditions_said(tried: Sequence[Tried], never: frozenset[str]) -> None:
    """Which answer of which condition no test has seen; of a rule that never matched only what never held."""
    if not tried:
        return
    both = sum(one.was_true and one.was_false for one in tried)
    tell(f"conditions seen both true and false: {both} of {len(tried)}")
    for word, unseen in (
        ("true", [one for one in tried if not one.was_true]),
        ("false", [one for one in tried if not one.was_false and one.rule not in never]),
    ):
        by_rule: dict[str, list[str]] = {}
        for one in unseen:
            by_rule.setdefault(one.rule, []).append(one.condition)
        rules = [f"{rule} by {', '.join(names)}" for rule, names in by_rule.items()]
        if rules:
            more = f"; and {len(rules) - RULES_SAID} rules more" if len(rules) > RULES_SAID else ""
            tell(f"  never {word}: {'; '.join(rules[:RULES_SAID])}{more}")


def cases_of(
    files: Iterable[Path], root: Path, settings: Any, rules: Collection[str] | None
) -> tuple[list[Case], list[Problem]]:
    """The cases of these files, named relative to `root`, and what is wrong with them; `rules` as for read_cases."""
    cases: list[Case] = []
    problems: list[Problem] = []
    for path in files:
        shown = path.absolute()
        name = shown.relative_to(root).as_posix() if shown.is_relative_to(root) else path.as_posix()
        try:
            cases += read_cases(path, name, settings.sources, settings.accounts, rules)
        except ConfigError as error:
            problems += error.problems
    return cases, problems


def _played(
    stage: "Stage", cases: Iterable[Case], *, aloud: bool
) -> tuple[list[dict[str, Any]], set[str], list[tuple[Case, "Miss"]]]:
    """A result per case, said at once when `aloud`; the rules that matched in any of them; and every miss."""
    from bridge.adapters import logs

    results: list[dict[str, Any]] = []
    matched: set[str] = set()
    missed: list[tuple[Case, Miss]] = []
    for case in cases:
        began = time.monotonic()
        with logs.silenced():
            played = stage.play(case)
        matched |= played.matched
        missed += [(case, miss) for miss in played.misses]
        results.append(_result(case, played.misses, time.monotonic() - began))
        if aloud:
            _said(results[-1])
    return results, matched, missed


def _result(case: Case, misses: Sequence[Any], took_s: float) -> dict[str, Any]:
    return {
        "name": case.name,
        "file": case.place.file,
        "line": case.place.line,
        "ok": not misses,
        "took_s": round(took_s, 3),
        "misses": [
            {"file": miss.place.file, "line": miss.place.line, "at_s": miss.at.total_seconds(), "sentence": sentence}
            for miss in misses
            for sentence in miss.sentences
        ],
    }


def _tried_json(one: Tried) -> dict[str, Any]:
    return {"rule": one.rule, "condition": one.condition, "true": one.was_true, "false": one.was_false}


def _said(result: dict[str, Any]) -> None:
    tell(f"{'ok  ' if result['ok'] else 'FAIL'}  {result['name']}")
    for miss in result["misses"]:
        tell(f"      {miss['file']}:{miss['line']}: after {miss['at_s']:g} s {miss['sentence']}")


def _summed_up(number: int, failed: int, book: RuleBook, never: Sequence[str]) -> None:
    passing = "1 test passes" if number == 1 else f"{number} tests pass"
    tell(f"{number - failed} of {number} tests pass" if failed else passing)
    hit = len(book.rules) - len(never)
    tell(f"rules hit: {hit} of {len(book.rules)}{'; never matched: ' + ', '.join(never[:20]) if never else ''}")


def _junit(results: Sequence[dict[str, Any]], problems: Sequence[Problem]) -> bytes:
    """The results as a CI reads them; a file that cannot be read is an error there, for its tests did not run."""
    failed = sum(not result["ok"] for result in results)
    suite = ElementTree.Element(
        "testsuite",
        name="incident-bridge rules",
        tests=str(len(results) + len(problems)),
        failures=str(failed),
        errors=str(len(problems)),
    )
    for problem in problems:
        case = ElementTree.SubElement(
            suite, "testcase", classname=problem.place.file, name=f"line {problem.place.line}"
        )
        ElementTree.SubElement(case, "error", message=_xml(problem.message)).text = _xml(str(problem))
    for result in results:
        attributes = {"classname": result["file"], "name": _xml(result["name"]), "time": f"{result['took_s']:.3f}"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if not result["ok"]:
            text = "\n".join(f"{miss['file']}:{miss['line']}: {miss['sentence']}" for miss in result["misses"])
            failure = ElementTree.SubElement(case, "failure", message=_xml(result["misses"][0]["sentence"]))
            failure.text = _xml(text)
    written: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return written


def _xml(text: str) -> str:
    """A text without what XML 1.0 cannot say: most control characters, halves of surrogate pairs, two others."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
