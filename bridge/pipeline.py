"""From readings and a rule book to Decisions: which rules match, and the complete request each of them opens with.

In: the Readings of one event, the RuleBook, the Destinations by account. Out: one Decided per reading. Whatever the
alert holds and whatever a template does with it, a page comes out: what fails falls back and leaves a note.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from bridge.destinations.base import Destination, Field, FieldKind, instant_text
from bridge.domain.absent import is_blank
from bridge.domain.alert import Alert, Notice, Reading, Severity, Status, effective
from bridge.domain.decision import Change, Decided, Decision, Policy
from bridge.domain.delivery import NameRef
from bridge.domain.keys import canonical, series
from bridge.render import OneWebhook, RenderError, WebhookSpentError
from bridge.rules.book import Block, Lookup, Rule, RuleBook
from bridge.rules.match import Remembering
from bridge.rules.paths import MISSING, Path, is_absent
from bridge.sources.absent import says_nothing

BODY_MAX_CHARS = 65_536  # of a body whose upstream documents no maximum
TEXT_MAX_CHARS = 2_048  # of a one-line text whose upstream documents none
NAME_MAX_CHARS = 255
VALUES_MAX = 50  # beside one name
LABELS_MAX = 100  # in the body built when a rule gives none
LINKS_MAX = 20
FOLD_KEY_MAX_CHARS = 200
FOLD_TARGET_CHARS = 32
PART_MAX_CHARS = 65_536  # of a dedup part, as JSON
PART_MAX_ITEMS = 1_000
ELLIPSIS = "…"

_CONTROL_CODES = (*range(32), *range(127, 160))
_TO_SPACES = dict.fromkeys((*_CONTROL_CODES, 0x2028, 0x2029), " ")
_KEEPING_LINES = {code: None for code in _CONTROL_CODES if chr(code) not in "\n\t"}


def decide(
    readings: tuple[Reading, ...], book: RuleBook, destinations: Mapping[str, Destination]
) -> tuple[Decided, ...]:
    """What the rule book says of every reading, in order; never raises for what a reading holds.

    `destinations` has every account a rule of the book names. Notices, and alerts that do not fire, open nothing: of
    the latter the rules that match are recorded.
    """
    with Remembering(), OneWebhook():
        return tuple(_decided(reading, book, destinations) for reading in readings)


def _decided(reading: Reading, book: RuleBook, destinations: Mapping[str, Destination]) -> Decided:
    if isinstance(reading, Notice):
        return Decided(reading=reading)
    tried = book.match(reading)
    matched = tuple(match.rule for match in tried if match.matched)
    if reading.status is not Status.FIRING:
        return Decided(reading=reading, tried=tried, matched=matched)
    rules = (book.by_id[rule] for rule in matched)
    decisions = tuple(_decision(rule, reading, destinations[rule.account]) for rule in rules)
    return Decided(reading=reading, decisions=decisions, tried=tried, matched=matched)


def _decision(rule: Rule, alert: Alert, destination: Destination) -> Decision:
    request = _Request(
        rule=rule, alert=alert, destination=destination, block=rule.incident, defaults=destination.defaults
    )
    for name, about in destination.fields.items():
        request.fill(name, about)
    request.complete()
    scope = str(request.fields.get(destination.scope_field, "")) if destination.scope_field else ""
    key_text = _key_text(request)
    parts, marked = ((key_text,), False) if key_text is not None else _parts(request)
    return Decision(
        rule=rule.id,
        account=rule.account,
        mode=rule.mode,
        severity=_severity(request),
        title=str(request.fields[destination.title_field]),
        series=series(rule.account, scope, parts),
        scope=scope,
        parts=parts,
        marked=marked,
        key_text=key_text,
        key_rule=destination.key_rule,
        policy=_policy(request),
        rise=_rise(rule, alert, destination),
        places=rule.places,
        fold_key=_fold_key(rule, alert),
        fold_target=_fold_target(rule, request.fields, destination),
        fields=request.fields,
        names=tuple(request.names),
        notes=tuple(request.notes),
    )


def _rise(rule: Rule, alert: Alert, destination: Destination) -> Change | None:
    """What the rule changes in an open incident when this alert is more severe; None when it leaves that to us."""
    if rule.rise is None:
        return None
    request = _Request(rule=rule, alert=alert, destination=destination, block=rule.rise, defaults={})
    for name in rule.rise:
        request.fill(name, destination.update_fields[name])
    return Change(fields=request.fields, names=tuple(request.names), notes=tuple(request.notes))


@dataclass(slots=True, kw_only=True)
class _Request:
    """The request of one decision while it is put together."""

    rule: Rule
    alert: Alert
    destination: Destination
    block: Mapping[str, Block]  # what the rule says of each field
    defaults: Mapping[str, str]  # the account's own fallbacks
    fields: dict[str, Any] = field(default_factory=dict)
    names: list[NameRef] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    overlong: list[tuple[str, str]] = field(default_factory=list)  # field and whole text, for the body

    def fill(self, name: str, about: Field) -> None:
        """Render one field, falling back as far as it takes; leave it out when nothing is left."""
        match about.kind:
            case FieldKind.TEXT | FieldKind.LONG_TEXT:
                self._fill_text(name, about)
            case FieldKind.NAME:
                self._fill_name(name, about)
            case FieldKind.ENUM:
                self._fill_enum(name, about)
            case FieldKind.MAPPING:
                self._fill_mapping(name)
            case FieldKind.VALUES | FieldKind.PEOPLE | FieldKind.INSTANTS:
                self._fill_named(name, about)

    def complete(self) -> None:
        """See to the two fields every incident has: a title that is not empty, and a body that holds what was cut."""
        title, body = self.destination.title_field, self.destination.body_field
        if title not in self.fields:
            self._keep_text(title, self.destination.fields[title], own_title(self.alert))
        if body not in self.fields:
            self.fields[body] = own_body(self.alert)
        whole = "".join(f"\n\n{name} in full: {text}" for name, text in self.overlong if name != body)
        limit = self.destination.fields[body].max_chars or BODY_MAX_CHARS
        self.fields[body] = _cut(self.fields[body], limit - min(len(whole), limit // 2)) + _cut(whole, limit // 2)

    def texts(self, name: str) -> Iterator[tuple[str, str]]:
        """The texts a field could take, best first, each with where it is from: rendered, `else`, account default."""
        block = self.block.get(name)
        if block is not None:
            yield from ((self.rendered(name, one), whence) for one, whence in _with_else(block))
        default = self.defaults.get(name)
        if default is not None:
            yield default, "the account's default"

    def rendered(self, name: str, block: Block) -> str:
        """A leaf as text; empty, with a note, when it fails."""
        return _as_text(self.value(name, block))

    def value(self, name: str, block: Block) -> Any:
        """A leaf's value; MISSING, with a note, when it fails."""
        if isinstance(block, Mapping | tuple):
            return MISSING
        try:
            return block.value(self.alert)
        except WebhookSpentError as error:
            if str(error) not in self.notes:
                self.notes.append(str(error))
        except RenderError as error:
            self.notes.append(f"{name}: its template failed: {error}")
        return MISSING

    def _fill_text(self, name: str, about: Field) -> None:
        for text, whence in self.texts(name):
            clean = _clean_long(text) if about.kind is FieldKind.LONG_TEXT else _clean_line(text)
            if clean:
                self._note_fallback(name, whence)
                self._keep_text(name, about, clean)
                return
        if name in self.block:
            own = name in (self.destination.title_field, self.destination.body_field)
            self.notes.append(f"{name}: {'made from the alert itself' if own else 'left out'}")

    def _keep_text(self, name: str, about: Field, text: str) -> None:
        limit = about.max_chars or (BODY_MAX_CHARS if about.kind is FieldKind.LONG_TEXT else TEXT_MAX_CHARS)
        self.fields[name] = _cut(text, limit)
        if len(text) > limit:
            self.overlong.append((name, text))
            self.notes.append(f"{name}: cut to {limit} characters")

    def _fill_name(self, name: str, about: Field) -> None:
        known = [(_clean_line(text)[:NAME_MAX_CHARS], whence) for text, whence in self.texts(name)]
        usable = [(text, whence) for text, whence in known if not is_absent(text)]
        if not usable:
            if known:
                self.notes.append(f"{name}: nothing to fall back on; left out")
            return
        text, whence = usable[0]
        self._note_fallback(name, whence)
        self.fields[name] = text
        if about.lookup is not None:
            fallback = next((other for other, _ in usable[1:] if other != text), None)
            self.names.append(NameRef(field=name, kind=about.lookup, text=text, fallback=fallback))

    def _fill_enum(self, name: str, about: Field) -> None:
        for text, whence in self.texts(name):
            clean = _clean_line(text)
            if clean and (clean in about.choices or not about.choices):
                self._note_fallback(name, whence)
                self.fields[name] = clean
                return
            if clean:
                self.notes.append(f"{name}: what {whence} gives is none of {', '.join(about.choices)}")
        if name in self.block:
            self.notes.append(f"{name}: left out")

    def _fill_mapping(self, name: str) -> None:
        block = self.block.get(name)
        if block is None:
            return
        data = self._data(name, block)
        if isinstance(data, Mapping) and data:
            self.fields[name] = data
        else:
            self.notes.append(f"{name}: left out")

    def _fill_named(self, name: str, about: Field) -> None:
        """A mapping whose keys are names of the upstream's; one beside which nothing usable stands is left out."""
        block = self.block.get(name)
        if not isinstance(block, Mapping):
            return
        held: dict[str, Any] = {}
        for key, inner in block.items():
            place = f"{name}.{key}"
            value, refs = self._held(place, about, inner)
            if value is MISSING:
                self.notes.append(f"{place}: left out")
                continue
            held[key] = value
            if about.lookup is not None:
                self.names += (NameRef(field=place, kind=about.lookup, text=key), *refs)
        if held:
            self.fields[name] = held

    def _held(self, place: str, about: Field, block: Block) -> tuple[Any, tuple[NameRef, ...]]:
        """What stands beside a name, or MISSING, with the names in it that are to be looked up."""
        value = self._value_or_else(place, block)
        lookup = about.value_lookup or ""
        if about.kind is FieldKind.VALUES:
            texts = list(_flat(value))
            if not texts and block != ():
                return MISSING, ()
            if len(texts) > VALUES_MAX:
                self.notes.append(f"{place}: the first {VALUES_MAX} of {len(texts)} values are used")
            kept = texts[:VALUES_MAX]
            words = (_clean_line(text)[:NAME_MAX_CHARS] for text in kept)
            return kept, tuple(
                NameRef(field=f"{place}.{number}", kind=lookup, text=word, within=place)
                for number, word in enumerate(words)
            )
        if about.kind is FieldKind.INSTANTS:
            return instant_text(value) or MISSING, ()
        person = _clean_line(_as_text(value))[:NAME_MAX_CHARS]
        if is_absent(person):
            return MISSING, ()
        return person, (NameRef(field=f"{place}.{lookup}", kind=lookup, text=person),)

    def _value_or_else(self, place: str, block: Block) -> Any:
        """The value of a leaf, or values of a list of them; what a map cannot give is taken from its `else`."""
        value = self._data(place, block) if isinstance(block, Mapping | tuple) else self.value(place, block)
        if is_absent(value) and isinstance(block, Lookup) and block.otherwise is not None:
            return self.value(place, block.otherwise)
        return value

    def _data(self, name: str, block: Block) -> Any:
        if isinstance(block, Mapping):
            held = {key: self._data(f"{name}.{key}", inner) for key, inner in block.items()}
            return {key: value for key, value in held.items() if value is not MISSING}
        if isinstance(block, tuple):
            items = (self._data(f"{name}.{number}", inner) for number, inner in enumerate(block))
            return [value for value in items if value is not MISSING]
        return _texts_in(self.value(name, block))

    def _note_fallback(self, name: str, whence: str) -> None:
        if whence != "the rule" and name in self.block:
            self.notes.append(f"{name}: {whence} is used")


def own_title(alert: Alert) -> str:
    """The alert's own title, or when it has none a line that says what reports."""
    return _clean_line(alert.title) or _clean_line(f"Alert from {alert.source}: {alert.fingerprint}") or "Alert"


def own_body(alert: Alert) -> str:
    """A body built from the alert alone, as plain text."""
    labels = [f"{_clean_line(name)}: {_clean_line(text)}" for name, text in list(alert.labels.items())[:LABELS_MAX]]
    links = [f"{_clean_line(link.text)}: {_clean_line(link.href)}" for link in alert.links[:LINKS_MAX]]
    sections = (
        _clean_long(alert.description) or own_title(alert),
        "\n".join(links),
        "\n".join(labels),
        f"{effective(alert.severity).value}, reported by {_clean_line(alert.source)} ({alert.source_type})",
    )
    return _cut("\n\n".join(section for section in sections if section), BODY_MAX_CHARS)


def _severity(request: _Request) -> Severity:
    own = effective(request.alert.severity)
    said = request.rule.severity
    if said is None:
        return own
    notes_before = len(request.notes)
    for leaf, whence in _with_else(said):
        text = request.rendered("severity", leaf).strip().lower()
        if text in tuple(Severity):
            if whence != "the rule":
                request.notes.append(f"severity: {whence} is used")
            return Severity(text)
        if text:
            request.notes.append(f"severity: what {whence} gives is none of {', '.join(Severity)}")
    if len(request.notes) > notes_before:
        request.notes.append("severity: the alert's own is used")
    return own


def _with_else(block: Block) -> Iterator[tuple[Block, str]]:
    """What a rule says of a field, best first, each with where it stands."""
    yield block, "the rule"
    if isinstance(block, Lookup) and block.otherwise is not None:
        yield block.otherwise, "the rule's else"


def _key_text(request: _Request) -> str | None:
    leaf = request.rule.incident_key
    if leaf is None:
        return None
    text = _clean_line(request.rendered("incident_key", leaf))
    if is_absent(text):
        request.notes.append("incident_key: it gave nothing; source and fingerprint are used")
        return None
    return text


def _parts(request: _Request) -> tuple[tuple[Any, ...], bool]:
    """What the series is hashed from, and whether the fingerprint stands in for a part of it."""
    alert = request.alert
    if request.rule.dedup is None or request.rule.incident_key is not None:
        return (alert.source, alert.fingerprint), False
    parts: list[Any] = []
    missing: list[str] = []
    for path in request.rule.dedup:
        value = _plain(path.read(alert))
        unusable = value is MISSING or says_nothing(value)
        if unusable:
            missing.append(path.text)
        parts.append(alert.fingerprint if unusable else value)
    if missing:
        request.notes.append(f"dedup: nothing usable at {', '.join(missing)}; the fingerprint stands in")
    return tuple(parts), bool(missing)


def _fold_key(rule: Rule, alert: Alert) -> str:
    if rule.fold_by is None:
        return rule.id
    values = [_folds(path, alert) for path in rule.fold_by]
    text = canonical(values).decode("utf-8", "replace")
    return text if len(text) <= FOLD_KEY_MAX_CHARS else series(rule.account, "fold", values)


def _fold_target(rule: Rule, fields: Mapping[str, Any], destination: Destination) -> str:
    """Whom the incident would reach: account, service, policy, type, as rendered."""
    told = {name: fields[name] for name in destination.target_fields if name in fields}
    if all(type(value) is str for value in told.values()):
        return _target_of(rule.account, frozenset(told.items()))
    return series(rule.account, "target", (told,))[:FOLD_TARGET_CHARS]


@lru_cache(maxsize=1024)  # a rule book reaches few
def _target_of(account: str, told: frozenset[tuple[str, str]]) -> str:
    return series(account, "target", (dict(told),))[:FOLD_TARGET_CHARS]


def _folds(path: Path, alert: Alert) -> Any:
    value = _plain(path.read(alert))
    return None if value is MISSING else value


def _policy(request: _Request) -> Policy:
    rule = request.rule
    resolution = None if rule.resolution is None else _clean_long(request.rendered("resolution", rule.resolution))
    return Policy(
        on_resolve=rule.on_resolve,
        resolution=resolution or None,
        on_acknowledge=rule.on_acknowledge,
        hold_resolve=rule.hold_resolve,
        reopen_within=rule.reopen_within,
    )


def _plain(value: Any) -> Any:
    """A value as JSON that can be hashed and stored; MISSING when it is larger than a key can sensibly be."""
    chars = items = 0

    def walk(value: Any) -> Any:
        nonlocal chars, items
        items += 1
        chars += len(value) if isinstance(value, str) else 0
        if items > PART_MAX_ITEMS or chars > PART_MAX_CHARS:
            raise OverflowError
        if isinstance(value, str):
            return _encodable(value)
        if isinstance(value, Mapping):
            return {_encodable(str(key)): walk(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [walk(item) for item in value]
        return value

    try:
        return walk(value)
    except (OverflowError, RecursionError):
        return MISSING


def _texts_in(value: Any) -> Any:
    """A value for a field that holds texts: scalars as text, lists and mappings of them as they are."""
    if isinstance(value, Mapping):
        held = {_encodable(str(key)): _texts_in(item) for key, item in value.items()}
        return {key: item for key, item in held.items() if item is not MISSING}
    if isinstance(value, list | tuple):
        return [item for one in value if (item := _texts_in(one)) is not MISSING]
    text = _clean_long(_as_text(value))
    return _cut(text, BODY_MAX_CHARS) if text else MISSING


def _flat(value: Any) -> Iterator[str]:
    """The values of a leaf or of several as texts; what says nothing is none of them."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from _flat(one)
        return
    text = _clean_long(_as_text(value))
    if not is_absent(text):
        yield _cut(text, BODY_MAX_CHARS)


def _as_text(value: Any) -> str:
    """A leaf's value as text: JSON for anything but text, empty for nothing."""
    if isinstance(value, str):
        return value
    if value is MISSING or value is None:
        return ""
    return canonical(value).decode("utf-8", "replace")


def _clean_line(text: str) -> str:
    """One line without control characters."""
    if not text.isprintable():
        text = _encodable(text).translate(_TO_SPACES)
    if not text.isascii() and is_blank(text):  # a title of such characters would say nothing
        return ""
    return " ".join(text.split()) if "  " in text or text[:1] == " " or text[-1:] == " " else text


def _clean_long(text: str) -> str:
    """Lines without control characters, tabs kept."""
    if not text.isprintable():
        text = _encodable(text).replace("\r\n", "\n").replace("\r", "\n").translate(_KEEPING_LINES)
    return text.strip()


def _encodable(text: str) -> str:
    """The text with every lone surrogate replaced, so that it has UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(0, limit - len(ELLIPSIS))] + ELLIPSIS
