"""Rule files to a RuleBook: read, checked as a whole, compiled.

In: a folder of rules and one of templates, and what bridge.yaml says of accounts and sources. Out: the RuleBook with
warnings, or ConfigError with every Problem of every file. Nothing starts with an error in any of them.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from bridge.config.maps import put_in
from bridge.config.rule_compiler import compile_rule
from bridge.config.rule_files import RuleFiles, read_files
from bridge.config.rule_lint import book_warnings, warnings_of
from bridge.config.rule_loading import AccountView, Loading
from bridge.config.rule_models import RULE_ID, RuleFileModel, RuleModel, RuleSettingsModel
from bridge.config.sentences import sentences
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree, read_tree
from bridge.domain.errors import ConfigError, Grade, Place, Problem
from bridge.domain.keys import canonical
from bridge.render import Renderer, nearest
from bridge.rules.book import RuleBook
from bridge.sources.absent import says_nothing

RULES_MAX = 20_000  # of one rule book: twice what bench/rules measures
PROBLEMS_MAX = 1_000  # that anybody reads
RECORD = "record"  # `unmatched: record`: nobody is paged, the alert is kept and shown
_RULES_OWN = frozenset(field.alias or name for name, field in RuleModel.model_fields.items()) - (
    RuleSettingsModel.model_fields.keys()
)


def load_rulebook(
    rules_dir: Path,
    templates_dir: Path,
    accounts: Mapping[str, AccountView],
    source_names: Collection[str],
    root: Path,
    unread: Collection[str] = (),
    allowed: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> tuple[RuleBook, tuple[Problem, ...]]:
    """Read every rule file (not `*.test.yaml`) under a folder, in the order of their paths, with the templates.

    `unread` names accounts that are there and could not be read: a rule may name them, and nothing more is said of it.
    `allowed` are the only accounts that files below a folder of `rules_dir` may use, by its path ending in a slash.
    Returns the book and what it warns of. Raises ConfigError with every Problem when any of them is an error. Files are
    named relative to `root`.
    """
    files, problems = read_files(rules_dir, templates_dir, root)
    return compile_rulebook(files, accounts, source_names, unread, problems, allowed)


def compile_rulebook(
    files: RuleFiles,
    accounts: Mapping[str, AccountView],
    source_names: Collection[str],
    unread: Collection[str] = (),
    said: Iterable[Problem] = (),
    allowed: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> tuple[RuleBook, tuple[Problem, ...]]:
    """The book of these texts, as `load_rulebook` answers; `said` is what was wrong with reading them."""
    problems = [*said]
    has_unread = bool(problems)
    renderer = Renderer(files.templates, folder=files.templates_folder)
    problems += renderer.problems
    loading = Loading(
        accounts=accounts,
        source_names=source_names,
        renderer=renderer,
        key_renderer=renderer.for_keys(says_nothing),
        problems=problems,
        unread=frozenset(unread),
        has_unread=has_unread,
    )
    for shown, text in files.rules:
        loading.allowed = _allowed_for(shown.removeprefix(f"{files.rules_folder}/"), allowed)
        _load_file(text, shown, loading)
    _check_whole(loading, Place(file=files.rules[0][0] if files.rules else files.rules_folder))
    once = dict.fromkeys(problems)  # a default of a file is read for each of its rules
    if any(problem.grade is Grade.ERROR for problem in once):
        raise ConfigError(once)
    unmatched = None if loading.unmatched is None or loading.unmatched[0] == RECORD else loading.unmatched[0]
    once |= dict.fromkeys(book_warnings(loading.rules, unmatched))
    held = {"rules": loading.contents, "unmatched": unmatched, "templates": files.templates}
    content = canonical(held).decode()
    book = RuleBook.of(
        loading.rules, unmatched=unmatched, content=content, names=dict.fromkeys(loading.names), paths=loading.paths
    )
    return book, tuple(sorted(once, key=lambda problem: problem.place))


def _allowed_for(file: str, allowed: Mapping[str, Collection[str]]) -> tuple[str, Collection[str]] | None:
    """The innermost folder of a file that is restricted, and to which accounts."""
    folders = [folder for folder in allowed if file.startswith(folder)]
    return max(((folder, allowed[folder]) for folder in folders), key=lambda one: len(one[0]), default=None)


def _load_file(text: str, shown: str, loading: Loading) -> None:
    before, loading.has_unread = loading.has_unread, True
    tree = read_tree(text, shown)
    loading.problems += tree.problems
    if not isinstance(tree.value, Mapping):
        if not tree.problems and tree.value is not None:  # a file of comments only is an empty one
            hint = "it has: defaults, maps, rules, unmatched"
            if isinstance(tree.value, list):
                hint += "; tests are read from names that end in .test.yaml"
            loading.error(Place(file=shown), "a rule file is a mapping", hint)
        return
    loading.problems += put_in(tree)
    try:
        written = RuleFileModel.model_validate(tree.value)
    except ValidationError as error:
        loading.problems += sentences(error, tree, (), "file", RuleFileModel)
        return
    loading.has_unread = before
    defaults = _sound(RuleSettingsModel, written.defaults, tree, ("defaults",), loading)
    if written.unmatched is not None:
        _take_unmatched(written.unmatched, tree.place(("unmatched",)), loading)
    room = RULES_MAX - len(loading.contents)
    if len(written.rules) > room:
        message, hint = f"a rule book has at most {RULES_MAX:,} rules", "from here on nothing is read; delete some"
        loading.error(tree.place(("rules", room)), message, hint)
        return
    for number, entry in enumerate(written.rules):
        at: YamlPath = ("rules", number)
        if len(loading.problems) > PROBLEMS_MAX:
            hint = "mend those; what is below is not read yet"
            loading.error(tree.place(at), f"there are over {PROBLEMS_MAX:,} problems", hint)
            return
        if not isinstance(entry, Mapping):
            loading.error(tree.place(at), "a rule is a mapping", "it has at least: id, match, incident")
            continue
        rule = _sound(RuleModel, entry, tree, at, loading)
        _take_id(entry.get("id"), tree, at, loading)
        has_incident = isinstance(entry.get("incident"), Mapping)
        compiled = compile_rule(rule, tree, at, defaults, loading, has_incident=has_incident)
        if compiled is not None:
            loading.rules.append(compiled)
            account = loading.accounts.get(compiled.account)
            if account is not None:
                loading.problems += warnings_of(compiled, rule.incident, tree, at, account.destination)
        loading.contents.append([written.defaults, entry])


_Model = TypeVar("_Model", bound=RuleSettingsModel)
_PLACEHOLDERS: Mapping[str, Any] = {"id": "?", "incident": {}}  # for what a rule lacks, so that the rest is still read


def _sound(model: type[_Model], value: Mapping[str, Any], tree: Tree, at: YamlPath, loading: Loading) -> _Model:
    """The settings; those that cannot be read are problems and left out, so that the others are checked as well."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        thing = "rule" if issubclass(model, RuleModel) else "defaults"
        said = sentences(error, tree, at, thing, model)
        loading.problems += [_of_a_rule(one, tree, at, value) for one in said] if thing == "defaults" else said
        odd = {str(one["loc"][0]) for one in error.errors(include_url=False)}
        sound = {key: one for key, one in value.items() if key not in odd}
        needed = odd & _PLACEHOLDERS.keys() & model.model_fields.keys()
        return model.model_validate({key: _PLACEHOLDERS[key] for key in needed} | sound)


def _of_a_rule(problem: Problem, tree: Tree, at: YamlPath, defaults: Mapping[str, Any]) -> Problem:
    """A problem of `defaults`; of a key that is each rule's own, with where it belongs."""
    for key in _RULES_OWN & defaults.keys():
        if problem.place == tree.key_place((*at, key)):
            return replace(problem, hint=f"'{key}' is each rule's own: write it there, delete it here")
    return problem


def _take_id(rule_id: Any, tree: Tree, at: YamlPath, loading: Loading) -> None:
    if not isinstance(rule_id, str):
        return
    place = tree.place((*at, "id"))
    if RULE_ID.fullmatch(rule_id) is None or rule_id == RECORD:
        hint = "letters, digits and - _ . : / are allowed, up to 100 of them, and it is not 'record'"
        loading.error(place, f"'{rule_id}' cannot be the id of a rule", hint)
    elif rule_id in loading.ids:
        loading.error(place, f"rule '{rule_id}' is there twice, first at {loading.ids[rule_id]}", "rename one of them")
    else:
        loading.ids[rule_id] = place


def _take_unmatched(wanted: str, place: Place, loading: Loading) -> None:
    if loading.unmatched is not None:
        message = f"'unmatched' is there twice over all files, first at {loading.unmatched[1]}"
        loading.error(place, message, "delete one of them")
    else:
        loading.unmatched = (wanted, place)


def _check_whole(loading: Loading, first: Place) -> None:
    """What only all files together show."""
    if not loading.ids and not loading.problems:
        loading.error(first, "there are no rules", "put at least one into a .yaml file here, see rules/README.md")
    if loading.unmatched is None and loading.has_unread:
        return
    if loading.unmatched is None:
        hint = "add 'unmatched: record' to one file, or the id of the rule that then decides"
        loading.error(first, "no file says what becomes of an alert that no rule matches", hint)
        return
    wanted, place = loading.unmatched
    if wanted != RECORD and wanted not in loading.ids:
        choices = [*loading.ids, RECORD]
        loading.error(
            place, f"'unmatched' names rule '{wanted}', which does not exist", nearest(wanted, choices, "rules")
        )
    for rule_id, rule_place in loading.without_match.items():
        if rule_id != wanted:
            hint = "add 'match:' with conditions, or 'match: {}' to match every alert"
            loading.error(rule_place, f"rule '{rule_id}' has no 'match'", hint)
