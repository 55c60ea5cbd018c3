"""Webhooks as files: redacted, so that they may lie in a repository, and the test that pins what is decided about one.

In: a stored Webhook, and what the rule book says of it. Out: a Sample (body and headers as files), and the text of a
`*.test.yaml`. What a sample loses: credentials, mail addresses, telephone numbers, names beside a mail address. What it
keeps: everything else, hosts and addresses of networks included, for rules look at them.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode

import re2

from bridge.destinations.base import Destination, FieldKind
from bridge.domain.alert import Notice, Status, Webhook
from bridge.domain.decision import Decided, Decision, Mode
from bridge.domain.errors import DecodeError
from bridge.sources.body import FORM_MEDIA_TYPE, HEADERS_SUFFIX, SUFFIXES, json_in

REDACTED = "[redacted]"
NAME_MAX_CHARS = 48
EMBEDDED_MAX_DEPTH = 4  # of JSON inside a text inside JSON
CREATED_MAX = 4  # incidents of one webhook that surely go out within a minute, whatever the account's pace
EXPECT_AT = "1m"
HOLDS_WHATEVER_HAPPENS = "Nothing in it fires, so no rule can break this test: send before it what opened the incident."

# Headers that say how a request travelled, not what it says; and those that could say who or where we are.
_DROPPED_HEADERS = frozenset(
    {
        "accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "connection",
        "content-length", "date", "expect", "forwarded", "from", "host", "origin", "pragma", "priority", "referer",
        "te", "traceparent", "tracestate", "transfer-encoding", "user-agent", "via",
    }
)  # fmt: skip
_DROPPED_PREFIXES = ("cf-", "x-forwarded-", "x-real-", "x-amzn-trace", "x-cloud-trace", "x-datadog-trace", "sec-")

_SECRET_KEY = re.compile(
    r"(?:tokens?|secrets?|passwords?|passwd|pwd|passphrases?|authorization|cookies?|signatures?|credentials?|jwt"
    r"|(?:^|_)(?:sig|session(?:_?id)?)|(?:api|access|private|routing|integration|service|signing|account|secret)_?keys?)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAIL_KEY = re.compile(r"(?:^|_)e?_?mail(?:_address)?$")
_PHONE_KEY = re.compile(
    r"(?:^|_)(?:(?:tele|cell|mobile|home|work|office|business)?phones?|mobiles?|tel|telefon|telefax|fax|msisdn|landline"
    r"|whatsapp|(?:cell|sms|caller|callback|contact|dial_in|hotline|ruf|telefon|handy|mobil)_?(?:numbers?|nummer))"
    r"(?:_?(?:numbers?|nummer|no|nr|num)|_(?:home|work|office|business|private|mobile|primary|secondary|[0-9]+))*$"
)
_PERSON_KEYS = frozenset(
    {"name", "display_name", "full_name", "first_name", "last_name", "real_name", "username", "user_name", "login"}
)
_MAIL = r"[A-Za-z0-9._%+'-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"
_IN_ADDRESS = r"(?:(?:[\w-]+[_-])?(?:apikey|auth|key|pass(?:wd)?|pwd|sig(?:nature)?)|[\w-]*(?:token|secret|password))"
_IN_TEXT = r"(?:access[_-]?(?:token|key)|api[_-]?key|client_?secret|pass(?:word|wd)?|pwd|secret|token)"

Replace = Callable[[Any], str]


def _whole(_found: Any) -> str:
    return REDACTED


def _after_first_group(found: Any) -> str:
    return f"{found.group(1)}{REDACTED}"


PHONE = "+10000000000"  # stands in for every telephone number
PHONE_DIGITS_MIN, PHONE_DIGITS_MAX = 8, 15  # of an international one; ITU-T E.164 has 15 at most
PHONE_BARE_DIGITS_MIN = 10  # of one in a single group: fewer are a difference, such as +12345678 bytes
_APART = r"[ \t\x{a0}\x{202f}./()\x{2010}-\x{2013}-]{1,3}"
_PHONE = rf"((?:^|[^0-9])\+\(?)([1-9][0-9]{{0,15}}(?:{_APART}[0-9]{{1,15}}){{0,8}})(:[0-9])?"
_ANOTHER = re.compile(
    r"\s+(?:[0-9]{4}-[0-9]{2}-|[0-9]{1,3}\.[0-9]{1,3}\.[0-9])"
)  # a day, an address or version follows
_OFFSET = re.compile(r"(?:0[0-9]|1[0-4])(?:00|15|30|45)(?![0-9])")  # of a time zone: 10:00:00 +1000
_NO_PHONE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9]+\.[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}\b.*", re.DOTALL)
_LAST_GROUP = re.compile(r"[^0-9]+[0-9]+$")


def _phone(found: Any) -> str:
    """A plus with digits in groups, when it is a telephone number; what stands behind it is kept."""
    before, text, colon = found.group(1), found.group(2), found.group(3) or ""
    another = _ANOTHER.search(text)
    number = text if another is None else text[: another.start()]
    if colon and another is None:
        number = _LAST_GROUP.sub("", number)  # the hour of a time
    while sum(map(str.isdigit, number)) > PHONE_DIGITS_MAX and _LAST_GROUP.search(number):
        number = _LAST_GROUP.sub("", number)
    least = PHONE_BARE_DIGITS_MIN if number.isdigit() else PHONE_DIGITS_MIN
    is_one = least <= sum(map(str.isdigit, number)) <= PHONE_DIGITS_MAX
    if not is_one or _OFFSET.match(number) or _NO_PHONE.fullmatch(number):
        return str(found.group(0))
    lead = before.rstrip("(").removesuffix("+")
    if lead == "(" and number.count(")") > number.count("(") + before.count("+("):
        lead = ""  # (+49) 30 123456: its bracket closes inside
    return f"{lead}{PHONE}{text[len(number) :]}{colon}"


# Each is RE2, so that no text of a stranger makes it slow. How tokens of AWS, GitHub, GitLab and Slack look:
# https://github.com/gitleaks/gitleaks config/gitleaks.toml; read 2026-11. Ours are wider: one too many does no harm.
_PATTERNS: tuple[tuple[str, Replace], ...] = (
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?", _whole),
    (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", _whole),
    (r"(?i)(\b(?:bearer|basic) )[A-Za-z0-9._~+/=-]{8,}", _after_first_group),
    (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", _whole),
    (
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeprs]-[\w-]{10,}|sk-[\w-]{20,})",
        _whole,
    ),
    (r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[\w/-]+", _after_first_group),
    (r"(://)[^/\s:@\"']*(?::[^\s@\"'<>?#]*)?@", lambda found: f"{found.group(1)}{REDACTED}@"),
    (rf"(?i)((?:[?&;]|%3f|%26|%3b){_IN_ADDRESS}=)[^&\s\"'<>)\]]+", _after_first_group),
    (rf"(?i)((?:[?&;]|%3f|%26|%3b){_IN_ADDRESS}%3d)[^&\s\"'<>%)\]]+", _after_first_group),
    (r"(?im)(\b(?:proxy-)?authorization\s*[=:]\s*[\"']?[a-z]+ )[^\s\"',;<>]{6,}", _after_first_group),
    (r"(?im)(\b(?:set-)?cookie\s*:\s*)[^\r\n\"'<>]+", _after_first_group),
    (rf"(?i)(\b(?:[\w-]*[_-])?{_IN_TEXT}\b[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;<>\[\]]{{6,}}", _after_first_group),
    (_PHONE, _phone),
)


class BadPattern(ValueError):
    """A pattern of the caller that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One webhook as files, with the names of both."""

    source: str
    stem: str
    suffix: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def body_name(self) -> str:
        """What the file of the body is called."""
        return f"{self.stem}{self.suffix}"

    @property
    def headers_name(self) -> str:
        """What the file of the headers is called."""
        return f"{self.stem}{HEADERS_SUFFIX}"

    @property
    def headers_file(self) -> bytes:
        """The headers as the bytes of their file."""
        return (json.dumps(dict(sorted(self.headers.items())), ensure_ascii=False, indent=2) + "\n").encode()


@dataclass(slots=True)
class Redactor:
    """Redacts webhooks of one export; the same address becomes the same stand-in in all of them."""

    patterns: Sequence[str] = ()  # RE2, of what else to blot out
    _compiled: list[tuple[Any, Replace]] = field(init=False)
    _mail: Any = field(init=False)
    _people: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = [(_compiled(pattern), _whole) for pattern in self.patterns]
        self._compiled = [*own, *((_compiled(pattern), replace) for pattern, replace in _PATTERNS)]
        self._mail = _compiled(_MAIL)

    def sample(self, webhook: Webhook, stem: str) -> Sample:
        """A webhook without what may not leave the house."""
        kind, body = self._body(webhook)
        headers = {name: self.text(value) for name, value in webhook.headers.items() if _is_kept(name)}
        return Sample(
            source=webhook.source,
            stem=stem,
            suffix=SUFFIXES[kind],
            body=body,
            headers=MappingProxyType(headers),
        )

    def text(self, text: str) -> str:
        """A text, redacted."""
        clean = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair has no UTF-8
        for pattern, replace in self._compiled:
            clean = pattern.sub(replace, clean)
        redacted: str = self._mail.sub(lambda found: self._address(found.group(0)), clean)
        return redacted

    def value(self, value: Any, *, secret: bool = False, phone: bool = False, depth: int = 0) -> Any:
        """JSON, redacted: texts, everything under the name of a secret or a telephone, names beside a mail address."""
        match value:
            case str() if secret:
                return REDACTED if value else value
            case str() if phone and any(map(str.isdecimal, value)):
                return PHONE
            case int() if phone and not isinstance(value, bool) and abs(value) >= 10 ** (PHONE_DIGITS_MIN - 2):
                return int(PHONE)
            case str():
                return self._embedded(value, depth)
            case Mapping():
                told = _is_secret(_label(value))
                return {
                    name: self.value(
                        item,
                        secret=secret or _is_secret(name) or (told and name == "value"),
                        phone=phone or _is_phone(name),
                        depth=depth,
                    )
                    for name, item in self._without_person(value).items()
                }
            case [str(name), str()] if _is_secret(name):  # headers as pairs
                return [name, REDACTED]
            case list() | tuple():
                return [self.value(item, secret=secret, phone=phone, depth=depth) for item in value]
        return value

    def _body(self, webhook: Webhook) -> tuple[str, bytes]:
        """The body, and which suffix it gets. JSON is laid out anew: two spaces, its own order."""
        try:
            value = json_in(webhook.body)
            if isinstance(value, Mapping | list):
                return "json", (json.dumps(self.value(value), ensure_ascii=False, indent=2) + "\n").encode()
        except (DecodeError, RecursionError):
            pass  # no JSON: a form, or whatever it is
        text = webhook.body.decode("utf-8", "replace")
        if webhook.media_type == FORM_MEDIA_TYPE:
            pairs = parse_qsl(text, keep_blank_values=True)
            return "form", urlencode(
                [(name, self.value(value, secret=_is_secret(name), phone=_is_phone(name))) for name, value in pairs]
            ).encode()
        return "text", self.text(text).encode()

    def _embedded(self, text: str, depth: int) -> str:
        """A text; where it is JSON of its own (SNS, forms), that is redacted as JSON."""
        if text[:1] in ("{", "[") and depth < EMBEDDED_MAX_DEPTH:
            try:
                value = json_in(text.encode("utf-8", "replace"))
            except DecodeError:
                return self.text(text)
            return json.dumps(self.value(value, depth=depth + 1), ensure_ascii=False)
        return self.text(text)

    def _without_person(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """A mapping that has a mail address speaks of a person: the names beside it go."""
        mails = (item for key, item in value.items() if _MAIL_KEY.search(_snake(key)))
        mail = next((item for item in mails if isinstance(item, str) and "@" in item), None)
        if mail is None:
            return value
        number = self._number(mail)
        return {
            key: f"Person {number}" if _snake(key) in _PERSON_KEYS and isinstance(item, str) else item
            for key, item in value.items()
        }

    def _address(self, mail: str) -> str:
        return mail if mail.endswith(("@example.com", "@example.org")) else f"person-{self._number(mail)}@example.com"

    def _number(self, mail: str) -> int:
        return self._people.setdefault(mail.strip().lower(), len(self._people) + 1)


def slug(*words: str) -> str:
    """Words as a part of a file's name: small letters, digits and dashes."""
    parts = (re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words)
    return "-".join(part for part in parts if part)[:NAME_MAX_CHARS].strip("-") or "event"


def _is_kept(name: str) -> bool:
    if name in _DROPPED_HEADERS or name.startswith(_DROPPED_PREFIXES):
        return False
    return not any(word in name for word in ("auth", "token", "secret", "signature", "cookie", "key", "session"))


def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(_snake(key)) is not None


def _label(value: Mapping[str, Any]) -> str:
    """What {"name": …, "value": …} speaks of."""
    return next((value[key] for key in ("name", "key", "header") if isinstance(value.get(key), str)), "")


def _is_phone(key: str) -> bool:
    return _PHONE_KEY.search(_snake(key)) is not None


def _snake(key: str) -> str:
    return _CAMEL.sub("_", key).replace("-", "_").replace(" ", "_").replace(".", "_").lower()


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0] if error.args else "it is not understood"
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise BadPattern(f"the pattern '{pattern}' cannot be used: {words}") from error


# -- the test


def test_of(
    sample: Sample,
    decided: Sequence[Decided],
    destinations: Mapping[str, Destination],
    *,
    because: tuple[str, str] | None,
    about: str,
    schema: str,
) -> str:
    """The text of a `*.test.yaml` whose expectation is what is decided today (DESIGN section 7).

    `because` is the nearest miss, a rule and its condition; `about` a line for people; `schema` the address of the JSON
    Schema of tests. The sample's file lies in `fixtures/` beside the test.
    """
    name = _title(decided) or f"a webhook of {sample.source}"
    send = {"send": f"fixtures/{sample.body_name}", "to": sample.source}
    expect = _expectation(decided, destinations, because)
    lines = [
        f"# yaml-language-server: $schema={schema}",
        f"# {_one_line(about)}",
        *([] if any(map(_fires, decided)) else [f"# {HOLDS_WHATEVER_HAPPENS}"]),
        f"- name: {_scalar(name)}",
        "  steps:",
        f"    - {_flow(send)}",
        f"    - at: {EXPECT_AT}",
        "      expect:",
        *_block(expect, 8),
    ]
    return "\n".join(lines) + "\n"


def _expectation(
    decided: Sequence[Decided], destinations: Mapping[str, Destination], because: tuple[str, str] | None
) -> dict[str, Any]:
    decisions = [one for each in decided for one in each.decisions]
    live = [one for one in decisions if one.mode is Mode.LIVE]
    created = len({one.series for one in live})
    expect: dict[str, Any] = {}
    rules = {rule for each in decided if _fires(each) for rule in each.matched}
    if len(rules) == 1:
        expect["matched"] = next(iter(rules))
    elif not rules and any(_fires(each) for each in decided):
        expect["matched"] = None
        expect |= {} if because is None else {"because": {"rule": because[0], "condition": because[1]}}
    accounts = {one.account for one in live}
    if len(accounts) == 1:
        expect["account"] = next(iter(accounts))
    if created <= CREATED_MAX:
        expect["created"] = created
    if len(live) == 1:
        expect["request"] = {"incident": _told(live[0], destinations[live[0].account])}
    if not live:
        expect["open"] = 0
    return expect


def _told(decision: Decision, destination: Destination) -> dict[str, Any]:
    """The fields of the request that are one line: a body says too much that may change."""
    kinds = {name: about.kind for name, about in destination.fields.items()}
    short = (FieldKind.TEXT, FieldKind.NAME, FieldKind.ENUM)
    return {name: value for name, value in decision.fields.items() if kinds.get(name) in short}


def _fires(each: Decided) -> bool:
    return not isinstance(each.reading, Notice) and each.reading.status is Status.FIRING


def _title(decided: Sequence[Decided]) -> str:
    titles = [_one_line(each.reading.title) for each in decided]
    more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
    return f"{titles[0][:100]}{more}" if titles and titles[0] else ""


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})  # the latter for YAML 1.1 readers


def _scalar(value: Any) -> str:
    """A scalar as YAML: bare where nobody can misread it, else as JSON's text with escapes for what YAML refuses."""
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        quoted = json.dumps(value, ensure_ascii=False)
        return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
    return json.dumps(value)


def yaml_scalar(value: Any) -> str:
    """A text, number, boolean or null as YAML on one line."""
    return _scalar(value)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value)


def _block(value: Mapping[str, Any], indent: int) -> Iterable[str]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield f"{' ' * indent}{_scalar(key)}:"
            yield from _block(item, indent + 2)
        else:
            yield f"{' ' * indent}{_scalar(key)}: {_flow(item)}"
