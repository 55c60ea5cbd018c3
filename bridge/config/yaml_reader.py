"""YAML files as plain values that remember where they stand.

YAML is read as YAML 1.2's core schema (`no`, `on`, `012` and `12:30` stay text) from a tree of PyYAML's nodes; its
safe_load keeps the last of two equal keys silently and reads those words as other types. Anchors, aliases and tags are
refused. The nodes are built from libyaml's events with a stack of our own: no depth is a recursion, and a large file
is read several times faster.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from bridge.domain.errors import Place, Problem

DEPTH_MAX = 50
TEXT_MAX_CHARS = 4 * 1024 * 1024
RETOLD_MAX_CHARS = 64 * 1024  # PyYAML's own parser says better what is wrong than libyaml, but is over ten times slower

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TRUE, _FALSE = frozenset({"true", "True", "TRUE"}), frozenset({"false", "False", "FALSE"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it
# what YAML 1.2 section 5.1 does not count as printable; found before the parsers, which stop at it in two ways
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
UNTAGGED = ""  # what a node is called whose type the core schema decides
_DIGITS_MAX = 400  # longer numbers stay text


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One file: its value, its problems, and the place of every value and key in it."""

    file: str
    value: Any
    problems: tuple[Problem, ...] = ()
    places: dict[Path, Place] = field(default_factory=dict, repr=False)
    key_places: dict[Path, Place] = field(default_factory=dict, repr=False)

    def place(self, path: Path) -> Place:
        """Where the value at a path stands; of what is missing, where its nearest parent stands."""
        return _nearest(self.places, path, self.file)

    def key_place(self, path: Path) -> Place:
        """Where the key at a path stands; of a list's item or the missing, where the value or its parent stands."""
        return self.key_places.get(path) or self.place(path)


def read_tree(text: str, file: str) -> Tree:
    """Read one document. Never raises: whatever is wrong is among the tree's problems."""
    if len(text) > TEXT_MAX_CHARS:
        return _failed(file, Place(file=file), "the file is larger than 4 MiB", "split it")
    text = text.removeprefix("\ufeff")
    odd = _UNPRINTABLE.search(text)
    if odd is not None:
        line, column = text.count("\n", 0, odd.start()) + 1, odd.start() - text.rfind("\n", 0, odd.start())
        what = f"this is not YAML: the character U+{ord(odd[0]):04X} cannot stand in it"
        return _failed(file, Place(file=file, line=line, column=column), what, "delete it")
    problems: list[Problem] = []
    try:
        node = _composed(text, file, problems)
    except _TooDeep as error:
        return _failed(file, _place(file, error.mark), f"nested deeper than {DEPTH_MAX} levels", "flatten it")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        return _failed(file, _place(file, mark), f"this is not YAML: {what}", _syntax_hint(what))
    except yaml.YAMLError as error:
        return _failed(file, Place(file=file), f"this is not YAML: {error}".split("\n")[0], "write it as UTF-8 text")
    reader = _Reader(file, problems)
    value = None if node is None else reader.read(node, ())
    return Tree(
        file=file,
        value=value,
        problems=tuple(sorted(reader.problems, key=lambda problem: problem.place)),
        places=reader.places,
        key_places=reader.key_places,
    )


class _TooDeep(Exception):
    """Nested deeper than anything people write."""

    def __init__(self, mark: Any) -> None:
        super().__init__()
        self.mark = mark


def _composed(text: str, file: str, problems: list[Problem]) -> yaml.Node | None:
    """The only document's node; what stands in it but may not is added to the problems."""
    try:
        return _Composer(file, problems).node(text, _PARSER)
    except yaml.YAMLError:
        if len(text) > RETOLD_MAX_CHARS:
            raise
    problems.clear()
    return _Composer(file, problems).node(text, yaml.SafeLoader)


class _Composer:
    """Builds nodes from a parser's events with a stack of its own, so that no depth is a recursion."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file, self.problems = file, problems
        self.open: list[yaml.CollectionNode] = []
        self.root: yaml.Node | None = None
        self.documents = 0

    def node(self, text: str, parser: Any) -> yaml.Node | None:
        """The root; None when the text holds none. Raises yaml.YAMLError, and _TooDeep before it gets expensive."""
        for event in yaml.parse(text, Loader=parser):
            mark: Any = event.start_mark
            match event:
                case yaml.DocumentStartEvent():
                    self.documents += 1
                    if self.documents > 1:
                        self._problem(event, "a second document begins here", "one file holds one: leave out '---'")
                        return self.root
                case yaml.MappingStartEvent():
                    self._begin(event, yaml.MappingNode)
                case yaml.SequenceStartEvent():
                    self._begin(event, yaml.SequenceNode)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._end()
                case yaml.ScalarEvent():
                    scalar = yaml.ScalarNode(event.tag or UNTAGGED, event.value, mark, style=event.style)
                    self._add(event, scalar)
                case yaml.AliasEvent():
                    what = f"the alias '*{event.anchor}' repeats another part of the file"
                    self._problem(event, what, "write it out, or use `defaults`")
                    self._place(yaml.ScalarNode(UNTAGGED, "", mark))
        return self.root

    def _begin(self, event: Any, kind: type[yaml.CollectionNode]) -> None:
        if len(self.open) == DEPTH_MAX:
            raise _TooDeep(event.start_mark)
        node = kind(event.tag, [], event.start_mark)
        self._add(event, node)
        self.open.append(node)

    def _end(self) -> None:
        node = self.open.pop()
        if isinstance(node, yaml.MappingNode):
            flat = node.value
            node.value = list(zip(flat[::2], flat[1::2], strict=True))

    def _add(self, event: Any, node: yaml.Node) -> None:
        if event.anchor is not None:
            self._problem(event, f"the anchor '&{event.anchor}' is not read", "leave it out")
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            written = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            self._problem(event, f"the tag {written} means nothing here", "leave it out")
        self._place(node)

    def _place(self, node: yaml.Node) -> None:
        if self.open:
            self.open[-1].value.append(node)
        elif self.root is None:
            self.root = node

    def _problem(self, event: Any, message: str, hint: str) -> None:
        self.problems.append(Problem(place=_place(self.file, event.start_mark), message=message, hint=hint))


class _Reader:
    """Turns nodes into values and writes down where each stands."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file, self.problems = file, problems
        self.places: dict[Path, Place] = {}
        self.key_places: dict[Path, Place] = {}

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.places[path] = _place(self.file, node.start_mark)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.read(item, (*path, number)) for number, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self._scalar(node)
        return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        value: dict[str, Any] = {}
        first_at: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, "a key is one word or text, not a list or mapping", "write it as text")
                continue
            key = key_node.value
            if key == "<<" and key_node.style in (None, ""):
                self._problem(key_node, "`<<` merges are not read", "write the keys out, or use `defaults`")
                continue
            if key in first_at:
                self._problem(key_node, f"'{key}' is given twice, first at line {first_at[key]}", "delete one of them")
                continue
            first_at[key] = key_node.start_mark.line + 1
            self.key_places[(*path, key)] = _place(self.file, key_node.start_mark)
            value[key] = self.read(value_node, (*path, key))
        return value

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        return core_value(node.value) if node.style in (None, "") and node.tag == UNTAGGED else node.value

    def _problem(self, node: yaml.Node, message: str, hint: str) -> None:
        self.problems.append(Problem(place=_place(self.file, node.start_mark), message=message, hint=hint))


def core_value(text: str) -> Any:
    """What an unquoted scalar means in YAML 1.2's core schema (a leading zero, as in 012, is nobody's number: text)."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if len(text) > _DIGITS_MAX:
        return text
    if _INT.fullmatch(text):
        digits = text.lstrip("+-")
        return text if len(digits) > 1 and digits.startswith("0") else int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _nearest(places: dict[Path, Place], path: Path, file: str) -> Place:
    for length in range(len(path), -1, -1):
        found = places.get(path[:length])
        if found is not None:
            return found
    return Place(file=file)


def _place(file: str, mark: Any) -> Place:
    return Place(file=file) if mark is None else Place(file=file, line=mark.line + 1, column=mark.column + 1)


def _failed(file: str, place: Place, message: str, hint: str) -> Tree:
    return Tree(file=file, value=None, problems=(Problem(place=place, message=message, hint=hint),))


def _syntax_hint(what: str) -> str:
    if "\\t" in what or "tab" in what:
        return "indent with spaces, not tabs"
    return "check quotes, colons and indentation at this line"
