"""YAML files as plain values that remember where they stand.

YAML is read as YAML 1.2's core schema (`no`, `on`, `012` and `12:30` stay text) from a tree of PyYAML's nodes; its
safe_load keeps the last of two equal keys silently and reads those words as other types. Anchors, aliases and tags are
refused. The nodes are built from libyaml's events with a stack of our own: no depth is a recursion, and a large file
is read several times faster.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import yaml

from bridge.domain.errors import Place, Problem

DEPTH_MAX = 50
TEXT_MAX_CHARS = 4 * 1024 * 1024
RETOLD_MAX_CHARS = 64 * 1024  # PyYAML's own parser says better what is wrong than libyaml, but is over ten times slower

Path = tuple[str | int, ...]
Spot = tuple[Any, Any]
"""Where a value began (a mark of the parser's), with the spots inside it: of a mapping {key: (mark of the key, spot)},
of a list [spot], of a scalar None. A Place is made of it when somebody asks: most values of a file need none."""

_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TRUE, _FALSE = frozenset({"true", "True", "TRUE"}), frozenset({"false", "False", "FALSE"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it
# what YAML 1.2 section 5.1 does not count as printable; found before the parsers, which stop at it in two ways
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAKS_ONCE = "\x85\u2028\u2029"  # line breaks of YAML 1.1, which both parsers speak; in 1.2 characters like any other
_NOBODYS = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))  # Unicode's private use
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # by an escape alone: what stands in the file as such is unprintable
_DIGITS_MAX = 400  # longer numbers stay text


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One file: its value, its problems, and the place of every value and key in it."""

    file: str
    value: Any
    problems: tuple[Problem, ...] = ()
    root: Spot | None = field(default=None, repr=False)
    key_values: Mapping[int, Any] = field(default_factory=dict, repr=False)  # by where a key stands; most are texts

    def place(self, path: Path) -> Place:
        """Where the value at a path stands; of what is missing, where its nearest parent stands."""
        return _place(self.file, self._found(path)[1])

    def key_place(self, path: Path) -> Place:
        """Where the key at a path stands; of a list's item or the missing, where the value or its parent stands."""
        key_mark, mark = self._found(path)
        return _place(self.file, mark if key_mark is None else key_mark)

    def key_value(self, path: Path) -> Any:
        """What the key at a path means: without quotes it may be a number, true or false; else it is its text."""
        key_mark = self._found(path)[0]
        return path[-1] if key_mark is None else self.key_values.get(key_mark.index, path[-1])

    def lend(self, to: Path, of: Path) -> None:
        """What stands at `to` is from now on what stands at `of`: places inside it are those where it is written."""
        spot, target = self._spot(of), self._spot(to[:-1])
        if spot is not None and target is not None and isinstance(target[1], dict) and to[-1] in target[1]:
            target[1][to[-1]] = (target[1][to[-1]][0], spot)

    def _spot(self, path: Path) -> Spot | None:
        spot = self.root
        for step in path:
            inner = None if spot is None else spot[1]
            if isinstance(inner, dict) and step in inner:
                spot = inner[step][1]
            elif isinstance(inner, list) and isinstance(step, int):
                spot = inner[step]
            else:
                return None
        return spot

    def _found(self, path: Path) -> tuple[Any, Any]:
        """The marks of the key and the value at a path; of what is missing no key's, and its nearest parent's."""
        if self.root is None:
            return None, None
        key_mark: Any = None
        mark, inner = self.root
        for step in path:
            if isinstance(inner, dict) and step in inner:
                key_mark, (mark, inner) = inner[step]
            elif isinstance(inner, list) and isinstance(step, int) and 0 <= step < len(inner):
                key_mark, (mark, inner) = None, inner[step]
            else:
                return None, mark
        return key_mark, mark


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
        built = _built(text, file, problems)
    except _TooDeep as error:
        return _failed(file, _place(file, error.mark), f"nested deeper than {DEPTH_MAX} levels", "flatten it")
    except yaml.MarkedYAMLError as error:
        is_unclosed = error.problem == "found unexpected end of stream"
        mark = (error.context_mark if is_unclosed else None) or error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        hint = _unclosed_hint(error) or _syntax_hint(what, _line(text, mark), mark)
        return _failed(file, _place(file, mark), f"this is not YAML: {what}", hint)
    except yaml.YAMLError as error:
        return _failed(file, Place(file=file), f"this is not YAML: {error}".split("\n")[0], "write it as UTF-8 text")
    in_order = tuple(sorted(problems, key=lambda problem: problem.place))
    return Tree(file=file, value=built.value, problems=in_order, root=built.root, key_values=built.key_values)


class _TooDeep(Exception):
    """Nested deeper than anything people write."""

    def __init__(self, mark: Any) -> None:
        super().__init__()
        self.mark = mark


def _built(text: str, file: str, problems: list[Problem]) -> "_Builder":
    """The only document, built; what stands in it but may not is added to the problems."""
    stand_ins = _stand_ins(text)
    text = text.translate(stand_ins) if stand_ins else text
    meant = {ord(other): chr(one) for one, other in stand_ins.items()}
    try:
        return _Builder(file, problems, meant).built(text, _PARSER)
    except yaml.YAMLError:
        if len(text) > RETOLD_MAX_CHARS:
            raise
    problems.clear()
    return _Builder(file, problems, meant).built(text, yaml.SafeLoader)


def _stand_ins(text: str) -> dict[int, str]:
    """For each character that the parsers take for the end of a line, one that does not stand in the text."""
    odd = "" if text.isascii() else [one for one in _BREAKS_ONCE if one in text]
    used = set(text) if odd else frozenset()
    free = (chr(code) for codes in _NOBODYS for code in codes if chr(code) not in used)
    return {ord(one): other for one, other in zip(odd, free, strict=False)}


class _Open:
    """A mapping or list whose end is still to come."""

    __slots__ = ("inner", "is_bare", "key", "key_mark", "keys_next", "mark", "value")

    def __init__(self, value: Any, inner: Any, mark: Any) -> None:
        self.value, self.inner, self.mark = value, inner, mark
        self.is_bare = False  # {{ without quotes: a text was meant
        self.keys_next = isinstance(value, dict)  # whether the next node is a key
        self.key: str | None = None  # of the next value; None: the value is dropped
        self.key_mark: Any = None


class _Builder:
    """Builds values and spots from a parser's events with a stack of its own, so that no depth is a recursion."""

    def __init__(self, file: str, problems: list[Problem], meant: Mapping[int, str]) -> None:
        self.file, self.problems, self.meant = file, problems, meant  # `meant`: what stands in for something else
        self.open: list[_Open] = []
        self.text = ""
        self.value: Any = None
        self.root: Spot | None = None
        self.key_values: dict[int, Any] = {}

    def built(self, text: str, parser: Any) -> Self:
        """Itself, with the root. Raises yaml.YAMLError, and _TooDeep before it gets expensive."""
        documents = 0
        self.text = text
        events: Iterator[Any] = yaml.parse(text, Loader=parser)
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent:
                self._begin(event, {}, {})
            elif kind is yaml.SequenceStartEvent:
                self._begin(event, [], [])
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                ended = self.open.pop()
                if ended.is_bare:
                    self._meant(ended, self.text[ended.mark.index : event.end_mark.index].translate(self.meant))
            elif kind is yaml.AliasEvent:
                what = f"the alias '*{event.anchor}' repeats another part of the file"
                hint = f"write it out, or use `defaults` or `maps`; {_begins_with('*')}"
                self._problem(event.start_mark, what, hint)
                self._place(event.start_mark, f"*{event.anchor}", None, key="", is_plain=False)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    hint = "one file holds one: leave out '---'"
                    self._problem(event.start_mark, "a second document begins here", hint)
                    break
        return self

    def _scalar(self, event: Any) -> None:
        if event.anchor is not None or event.tag is not None:
            self._check_marked(event)
        is_plain = event.style is None or event.style == ""
        text = event.value if event.value.isascii() else self._whole(event)
        if self.open and self.open[-1].keys_next:
            means = core_value(text) if is_plain and event.tag is None else text
            if isinstance(means, int | float):
                self.key_values[event.start_mark.index] = means
            self._place(event.start_mark, text, None, key=text, is_plain=is_plain)
        else:
            value = core_value(text) if is_plain and event.tag is None else text
            self._place(event.start_mark, value, None, key=None, is_plain=is_plain)

    def _whole(self, event: Any) -> str:
        """A text whose escapes, as JSON writes them in pairs, are characters; half of a pair is a problem."""
        text: str = event.value.translate(self.meant) if self.meant else event.value
        if _SURROGATE.search(text) is None:
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._problem(event.start_mark, "an escape like \\ud800 is half a character", "write the character itself")
            return _SURROGATE.sub("\ufffd", text)

    def _begin(self, event: Any, value: Any, inner: Any) -> None:
        if len(self.open) == DEPTH_MAX:
            raise _TooDeep(event.start_mark)
        if event.anchor is not None or event.tag is not None:
            self._check_marked(event)
        self._place(event.start_mark, value, inner, key=None, is_plain=False)
        self.open.append(_Open(value, inner, event.start_mark))

    def _check_marked(self, event: Any) -> None:
        if event.anchor is not None:
            self._problem(
                event.start_mark, f"the anchor '&{event.anchor}' is not read", f"leave it out; {_begins_with('&')}"
            )
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            written = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            self._problem(
                event.start_mark, f"the tag {written} means nothing here", f"leave it out; {_begins_with('!')}"
            )

    def _place(self, mark: Any, value: Any, inner: Any, *, key: str | None, is_plain: bool) -> None:
        """Put a node where it belongs: into the open mapping or list, or as the root. `key`: its text as a key."""
        if not self.open:
            if self.root is None:
                self.value, self.root = value, (mark, inner)
            return
        outer = self.open[-1]
        if outer.keys_next:
            outer.keys_next = False
            outer.key, outer.key_mark = self._key(outer, mark, key, is_plain=is_plain), mark
        elif type(outer.value) is list:
            outer.value.append(value)
            outer.inner.append((mark, inner))
        else:
            outer.keys_next = True
            if outer.key is not None:
                outer.value[outer.key] = value
                outer.inner[outer.key] = (outer.key_mark, (mark, inner))

    def _meant(self, ended: _Open, text: str) -> None:
        """A mapping that was meant as a text is read as that, so that nothing more is said of it."""
        if not self.open:
            self.value, self.root = text, (ended.mark, None)
            return
        outer = self.open[-1]
        if type(outer.value) is list:
            outer.value[-1], outer.inner[-1] = text, (ended.mark, None)
        elif outer.key is not None:
            outer.value[outer.key], outer.inner[outer.key] = text, (outer.key_mark, (ended.mark, None))

    def _key(self, outer: _Open, mark: Any, key: str | None, *, is_plain: bool) -> str | None:
        """The key of the value that comes next; None, with a problem, when that value is dropped."""
        if key is None and self.text.startswith("{{", mark.index - 1) and outer.mark.index == mark.index - 1:
            outer.is_bare = True
            self._problem(outer.mark, "{{ without quotes is no text in YAML, but a mapping", _QUOTES_HINT)
        elif key is None:
            self._problem(mark, "a key is one word or text, not a list or mapping", "write it as text")
        elif key == "<<" and is_plain:
            self._problem(mark, "`<<` merges are not read", "write the keys out, or use `defaults`")
        elif key in outer.value:
            line = outer.inner[key][0].line + 1
            self._problem(mark, f"'{key}' is given twice, first at line {line}", "delete one of them")
        else:
            return key
        return None

    def _problem(self, mark: Any, message: str, hint: str) -> None:
        self.problems.append(Problem(place=_place(self.file, mark), message=message, hint=hint))


_PLAIN_TEXT = frozenset('ABCDEGHIJKLMOPQRSUVWXYZabcdeghijklmopqrsuvwxyz_/$^([{<>=*"')  # no special word begins so


def core_value(text: str) -> Any:
    """What an unquoted scalar means in YAML 1.2's core schema (a leading zero, as in 012, is nobody's number: text)."""
    if text[:1] in _PLAIN_TEXT:  # most scalars, cheaply
        return text
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


def _place(file: str, mark: Any) -> Place:
    return Place(file=file) if mark is None else Place(file=file, line=mark.line + 1, column=mark.column + 1)


def _failed(file: str, place: Place, message: str, hint: str) -> Tree:
    return Tree(file=file, value=None, problems=(Problem(place=place, message=message, hint=hint),))


_QUOTES_HINT = 'put the whole text in quotes, as in title: "{{ alert.title }}"'
_BARE = re.compile(r"""(?:^|[:,\[{-])\s*\{[{%]|:\s+[^"'\s|>{\[][^"']*\{[{%]""")  # a template that stands without quotes


def _line(text: str, mark: Any) -> str:
    """The line a mark stands in, as far as anybody writes one."""
    if mark is None:
        return ""
    start = text.rfind("\n", 0, mark.index) + 1
    return text[start : start + 1000].partition("\n")[0]


_IN_QUOTES = re.compile(r""":\s+(["'])(?:(?!\1).)*\{[{%](?:(?!\1).)*\1[^"'\s,}\]]""")  # "{{ alert.labels["x"] }}"
_BEGUN = re.compile(r"""[:-]\s+(?:(\[)[^\]"']*\]|\{[^}"']*\})\s*[^\s,#\]}]""")  # [ERROR] disk full


def _unclosed_hint(error: yaml.MarkedYAMLError) -> str:
    """What to close, when that is what is wrong: the parser stumbles lines below it."""
    if error.problem == "found unexpected end of stream":
        return "close the quotes that are opened here"
    opened, found = error.context_mark, error.problem_mark
    if (error.context or "").startswith("while parsing a flow") and opened is not None and found is not None:
        return f"close the bracket of line {opened.line + 1}" if opened.line < found.line else ""
    return ""


def _begins_with(char: str) -> str:
    return f"a text that begins with {char} stands in quotes"


def _syntax_hint(what: str, line: str, mark: Any) -> str:
    if _IN_QUOTES.search(line) is not None:
        return """inside of quotes write the other ones, as in title: "{{ alert.labels['team'] }}\""""
    if _BARE.search(line) is not None:
        return _QUOTES_HINT
    odd = line[mark.column : mark.column + 1] if "cannot start any token" in what and mark is not None else ""
    if "\\t" in what or "tab" in what or odd == "\t":
        return "indent with spaces, not tabs"
    begun = _BEGUN.search(line)
    if odd or begun is not None:
        return _begins_with(odd or (begun and begun[1]) or "{")
    if what.startswith("while scanning an a"):
        return _begins_with("*" if "alias" in what else "&")
    return "check quotes, colons and indentation at this line"
