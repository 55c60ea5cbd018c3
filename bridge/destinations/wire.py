"""What both vendor files need of HTTP and JSON: bytes out, hostile bytes in, waiting times, the upstream's own words.

Pure functions; nothing here raises on an answer, whatever is in it.
"""

import html
import json
import math
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivered,
    Delivery,
    HttpRequest,
    HttpResponse,
    NamedThing,
    NoAnswer,
    PermanentFailure,
    Reason,
    Reference,
    TransientFailure,
    UnknownOutcome,
)
from bridge.domain.text import storable

DETAIL_MAX_CHARS = 500
ID_MAX_CHARS = 255
URL_MAX_CHARS = 2048
INSTANT_MAX_CHARS = 64
DETAIL_SCAN_CHARS = 20_000  # of a body that is no JSON; far more than DETAIL_MAX_CHARS of words in any HTML page
SHIPPED_TOKEN = "sandbox"  # noqa: S105 - the word for the built-in stand-in, no secret (DESIGN section 6)
UNIX_TIME_FROM = 1_000_000_000  # a number this large is an instant, not a wait (31 years)
CLOCKS_DIFFER_BY = timedelta(minutes=5)  # an incident older than the first attempt by this is not that attempt's
MASK = "***"
ENCODED_MIN_CHARS = 6  # shorter pieces of base64 stand in innocent text too

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")


# ---- out -------------------------------------------------------------------------------------------------------------


def json_body(value: Mapping[str, Any]) -> bytes:
    """The value as compact JSON in its own order; a lone surrogate becomes `?`, for UTF-8 cannot carry it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def text_in(fields: Mapping[str, Any], name: str) -> str:
    """A field as text; empty when it is absent. What a rule gave as another JSON type is written as JSON."""
    value = fields.get(name)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def with_notes(text: str, notes: Iterable[str]) -> str:
    """The text and, as its last paragraph, what the bridge has to say about it."""
    said = "; ".join(notes)
    return "\n\n".join(part for part in (text, f"Incident Bridge: {said}" if said else "") if part)


def path_part(identifier: str) -> str:
    """An upstream's id as one segment of a URL path."""
    return quote(identifier, safe="")


def given(**fields: Any) -> dict[str, Any]:
    """The fields that hold something."""
    return {name: value for name, value in fields.items() if value not in (None, "")}


def json_request(
    method: str, url: str, headers: Mapping[str, str], content: Mapping[str, Any], **more: str
) -> HttpRequest:
    """A call that carries JSON; `more` are headers of calls that change something."""
    sent = {**headers, "Content-Type": "application/json", **more}
    return HttpRequest(method=method, url=url, headers=sent, body=json_body(content))


def upstream_id(delivery: Delivery, upstream: str) -> str:
    """The incident's id, as one segment of a path. Raises ValueError when the delivery has none."""
    if delivery.upstream_id is None:
        raise ValueError(f"delivery {delivery.id}: {delivery.action} needs the incident's id at {upstream}")
    return path_part(delivery.upstream_id)


def not_told(delivery: Delivery, upstream: str) -> ValueError:
    """What to raise for an action that is not told to this upstream."""
    return ValueError(f"{upstream} is not told to {delivery.action} yet: delivery {delivery.id}")


def gone(delivery: Delivery, detail: str) -> AttemptResult:
    """A look at an incident that is not there, or that our key does not see, in the upstream's own words.

    A 404 of anybody else on the way says nothing of the incident.
    """
    identifier = delivery.upstream_id
    if identifier is None:
        return PermanentFailure(reason=Reason.NOT_FOUND, detail=detail)
    detail = f"gone there: {detail}"[:DETAIL_MAX_CHARS]
    return Delivered(reference=Reference(id=identifier, closed=True), adopted=True, detail=detail)


# ---- in --------------------------------------------------------------------------------------------------------------


def json_in(body: bytes) -> Any:
    """The decoded body; None when it is no JSON we can read (which JSON's own null shares: neither holds anything).

    A byte that its encoding does not know is U+FFFD: the incident is there whatever somebody's cut or pasted text is.
    """
    try:
        return json.loads(body.decode(json.detect_encoding(body), "replace"))
    except (ValueError, RecursionError):  # no JSON, an integer of 5,000 digits; nested too deep
        return None


def within(value: Any, *path: str) -> Any:
    """What stands at a path of keys; None when any of them is missing or stands in something else than an object."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def objects(value: Any) -> tuple[dict[str, Any], ...]:
    """The objects of a list; whatever else is in it, or instead of it, is left out."""
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def identifier_in(value: Any) -> str | None:
    """An upstream's id that can stand in a URL and a row; None for anything else."""
    if not isinstance(value, str) or not 0 < len(value) <= ID_MAX_CHARS or value in (".", ".."):
        return None
    return value if value.isprintable() else None


def url_in(value: Any) -> str | None:
    """A link a person can open; None for anything else."""
    if not isinstance(value, str) or len(value) > URL_MAX_CHARS or not value.isprintable():
        return None
    return value if value.startswith(("https://", "http://")) else None


def instant_in(value: Any) -> datetime | None:
    """An RFC 3339 or RFC 1123 instant in UTC; without an offset it counts as UTC. None when it is neither."""
    if not isinstance(value, str) or len(value) > INSTANT_MAX_CHARS:
        return None
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            instant = read(value.strip())
            return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def made_since(delivery: Delivery) -> datetime:
    """What was made at the upstream from this instant on may be this delivery's; the clocks may differ."""
    return (delivery.first_attempt_at or delivery.created_at) - CLOCKS_DIFFER_BY


def created_at(incident: Mapping[str, Any], unsaid: datetime) -> datetime:
    """When the upstream made an incident; `unsaid` when it does not say so."""
    return instant_in(incident.get("created_at")) or unsaid


def is_made_before(delivery: Delivery, incident: Mapping[str, Any]) -> bool:
    """Whether an incident was there before a delivery was first tried; not, where the upstream does not say when."""
    since = made_since(delivery)
    return created_at(incident, since) < since


def reference_in(incident: Any, url_field: str, *, closed: Callable[[Mapping[str, Any]], bool]) -> Reference | None:
    """The incident an answer shows; None when it has no id that can be used."""
    identifier = identifier_in(within(incident, "id"))
    if identifier is None:
        return None
    return Reference(id=identifier, url=url_in(incident.get(url_field)), closed=closed(incident))


def shows_another(delivery: Delivery, reference: Reference) -> bool:
    """Whether an answer is about another incident than the call was: it is the answer to another call."""
    return delivery.action is not Action.CREATE and reference.id != delivery.upstream_id


def entries_in(response: HttpResponse, path: str) -> list[Any] | None:
    """The list of a page of names, which stands under the last part of its path; None when there is none."""
    entries = within(json_in(response.body), path.rpartition("/")[2])
    return entries if response.status == 200 and isinstance(entries, list) else None


def named(entries: Iterable[Any], *, keep: Iterable[str] = (), alias: str | None = None) -> tuple[NamedThing, ...]:
    """The entries that have an id and a name (or a summary), with these attributes beside it, one as an alias."""
    kept = tuple(keep)
    return tuple(thing for entry in entries if (thing := _named(entry, kept, alias)) is not None)


def _named(entry: Any, keep: tuple[str, ...], alias: str | None) -> NamedThing | None:
    identifier = identifier_in(within(entry, "id"))
    name = within(entry, "name") or within(entry, "summary")
    if identifier is None or not isinstance(name, str):
        return None
    extra = {key: entry[key] for key in keep if entry.get(key) is not None}
    called = entry.get(alias) if alias is not None else None
    aliases = (storable(called),) if isinstance(called, str) else ()
    return NamedThing(id=identifier, name=storable(name), extra=extra, aliases=aliases)


def retry_after_s(response: HttpResponse) -> float | None:
    """Seconds until the upstream lets us go on, by the first place that says so; None when none does.

    `ratelimit-reset`: PagerDuty, seconds (developer-docs REST-API/04-Rate-Limits.md; read 2026-08). `Retry-After`, the
    body's `retry_after`, `X-RateLimit-Reset`: incident.io (openapi3.json, prose; read 2026-08); the first was a date
    once (https://github.com/incident-io/terraform-provider-incident/pull/95), the last is when the bucket is full
    again, in unix time; where something is left in that bucket, another limit refused (incidents created per hour,
    which names no time at all: https://github.com/mastra-ai/mastra/pull/23631; read 2026-08). An instant is
    measured from the answer's own Date header: without one it says nothing, for the core has no clock.
    """
    answered_at = instant_in(response.headers.get("date"))
    body = json_in(response.body)
    left = response.headers.get("x-ratelimit-remaining")
    named = (
        response.headers.get("ratelimit-reset"),
        response.headers.get("retry-after"),
        within(body, "rate_limit", "retry_after"),
        within(body, "retry_after"),
        response.headers.get("x-ratelimit-reset") if _number(left) in (None, 0) else None,
    )
    waits = (_wait_s(value, answered_at) for value in named)
    return next((wait for wait in waits if wait is not None), None)


def exhausted_s(response: HttpResponse) -> float | None:
    """Seconds until the next call, when a success says that nothing is left of the allowance; None when something is.

    PagerDuty's reset is that time itself; incident.io's is when its whole bucket is full again, `used` calls from now.
    """
    left = response.headers.get("ratelimit-remaining", response.headers.get("x-ratelimit-remaining"))
    wait_s = retry_after_s(response)
    if wait_s is None or left is None or _number(left) != 0:
        return None
    used = _number(response.headers.get("x-ratelimit-used"))
    return wait_s / used if used is not None and used >= 1 and "retry-after" not in response.headers else wait_s


def noting_exhaustion(result: AttemptResult, response: HttpResponse) -> AttemptResult:
    """The result of a success, with what the answer's headers say of the allowance."""
    return replace(result, exhausted_s=exhausted_s(response)) if isinstance(result, Delivered) else result


def _wait_s(value: Any, answered_at: datetime | None) -> float | None:
    seconds = _number(value)
    if seconds is not None and abs(seconds) < UNIX_TIME_FROM:
        return max(0.0, seconds)
    if answered_at is None:
        return None
    if seconds is not None:
        return max(0.0, seconds - answered_at.timestamp())
    until = instant_in(value)
    return None if until is None else max(0.0, (until - answered_at).total_seconds())


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value.partition(";")[0] if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


# ---- the upstream's own words ----------------------------------------------------------------------------------------


def said(response: HttpResponse, words: Iterable[str], secret: str) -> str:
    """One bounded line for people: the status and the upstream's words; for a body without any, its plain text."""
    found = [word for word in words if word]
    text = "; ".join(found) or response.body[:DETAIL_SCAN_CHARS].decode("utf-8", "replace")
    return clean(f"HTTP {response.status}: {text}" if text.strip() else f"HTTP {response.status}", secret)


def clean(text: str, secret: str) -> str:
    """The text on one line, without control characters, without our secret, at most DETAIL_MAX_CHARS long."""
    line = _CONTROL.sub(" ", masked(text, secret)).strip().encode("utf-8", "replace").decode()
    return line if len(line) <= DETAIL_MAX_CHARS else line[: DETAIL_MAX_CHARS - 1] + "…"


def masked(text: str, secret: str) -> str:
    """The text without our secret, however it is written there."""
    pattern = _secret_pattern(secret)
    return (
        text
        if pattern is None
        else pattern.sub(MASK.encode(), text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    )


def masked_answer(answer: HttpResponse | NoAnswer, secret: str) -> HttpResponse | NoAnswer:
    """The answer without our secret, in its headers, its body, or the words for why there is none."""
    if isinstance(answer, NoAnswer):
        return replace(answer, detail=masked(answer.detail, secret))
    pattern = _secret_pattern(secret)
    if pattern is None:
        return answer
    headers = {masked(name, secret): masked(value, secret) for name, value in answer.headers.items()}
    return replace(answer, headers=headers, body=pattern.sub(MASK.encode(), answer.body))


@lru_cache(maxsize=64)
def _secret_pattern(secret: str) -> re.Pattern[bytes] | None:
    """Every way an echo writes the secret: as it is, escaped for JSON, HTML or a URL, and inside Basic credentials."""
    if not secret or secret == SHIPPED_TOKEN:
        return None
    in_json = json.dumps(secret)[1:-1]
    plain = {secret, in_json, in_json.replace("/", "\\/"), html.escape(secret), quote(secret), quote(secret, safe="")}
    forms = {form.encode("utf-8", "replace") for form in plain} | _in_base64(secret.encode("utf-8", "replace"))
    return re.compile(b"|".join(map(re.escape, sorted(forms, key=len, reverse=True))), re.IGNORECASE)


def _in_base64(secret: bytes) -> set[bytes]:
    """What base64 of any text around the secret surely holds: its own characters, at each of three offsets."""
    forms: set[bytes] = set()
    for before in range(3):
        start, end = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            forms.add(encode(bytes(before) + secret)[start:end])
    return {form for form in forms if len(form) >= ENCODED_MIN_CHARS}


def texts(values: Any) -> list[str]:
    """The strings of a list, or the one string that stands in its place."""
    found = values if isinstance(values, list) else [values]
    return [value for value in found if isinstance(value, str)]


# ---- what an answer means, whoever gave it ---------------------------------------------------------------------------


def result_of(
    answer: HttpResponse | NoAnswer,
    *,
    creates: bool,
    secret: str,
    words: Callable[[Any], list[str]],
    special: Callable[[int, Any, str], AttemptResult | None],
    accepted: Callable[[HttpResponse, Any], AttemptResult],
    field_of: Callable[[Any], str | None] = lambda _: None,
) -> AttemptResult:
    """What an answer means: none at all, a refusal, or a success.

    The vendor's own part comes as functions: its `words`, the refusals that are `special` (status, decoded body,
    sentence for people), what an `accepted` call is told, and the rule's field that a refusal is about.
    """
    if isinstance(answer, NoAnswer):
        return unanswered(answer, creates=creates, secret=secret)
    content = json_in(answer.body)
    if 200 <= answer.status < 300:
        told = _with_its_words(accepted(answer, content), answer, content, secret)
        return noting_exhaustion(told, answer)
    detail = said(answer, words(content), secret)
    result = special(answer.status, content, detail) or refused(answer, detail, creates=creates)
    return replace(result, field=field_of(content)) if isinstance(result, PermanentFailure) else result


def _with_its_words(result: AttemptResult, answer: HttpResponse, content: Any, secret: str) -> AttemptResult:
    """What could not be read with its beginning: a proxy's own page, as to log in, says whose it is."""
    if content is not None or getattr(result, "reason", None) is not Reason.UNREADABLE_ANSWER:
        return result
    text = answer.body[:DETAIL_SCAN_CHARS].decode("utf-8", "replace").strip()
    kind = f"is no JSON: {text}" if text else "is empty"
    return replace(result, detail=clean(f"{result.detail}; its body {kind}", secret))


def without_incident(response: HttpResponse, *, creates: bool) -> AttemptResult:
    """A 2xx that does not show the incident."""
    detail = f"HTTP {response.status} without an incident in it"
    return unknown(Reason.UNREADABLE_ANSWER, detail, creates=creates)


def with_another(response: HttpResponse, *, creates: bool) -> AttemptResult:
    """A 2xx that shows an incident which the call was not about."""
    detail = f"HTTP {response.status}, but with another incident: the answer to another call"
    return unknown(Reason.UNREADABLE_ANSWER, detail, creates=creates)


def no_list(
    answer: HttpResponse | NoAnswer, words: Callable[[Any], list[str]], *, secret: str
) -> TransientFailure | PermanentFailure:
    """Why an answer holds no list of names."""
    if isinstance(answer, NoAnswer):
        result = unanswered(answer, creates=False, secret=secret)
    elif 200 <= answer.status < 300:
        detail = f"HTTP {answer.status}, but not a list of names"
        result = TransientFailure(reason=Reason.UNREADABLE_ANSWER, detail=detail)
    else:
        result = refused(answer, said(answer, words(json_in(answer.body)), secret), creates=False)
    if isinstance(result, TransientFailure | PermanentFailure):
        return result
    return TransientFailure(reason=Reason.UNREADABLE_ANSWER, detail="an answer that means nothing to a list")


def unanswered(answer: NoAnswer, *, creates: bool, secret: str) -> AttemptResult:
    """A call that brought no whole answer: only a create that was sent leaves something to find out."""
    detail = clean(answer.detail, secret)
    if not answer.sent:
        return TransientFailure(reason=Reason.NOT_CONNECTED, detail=detail)
    reason = Reason.TIMEOUT if answer.reason is Reason.TIMEOUT else Reason.CONNECTION_LOST
    return unknown(reason, detail, creates=creates)


def unknown(reason: Reason, detail: str, *, creates: bool) -> AttemptResult:
    """A call that may have worked. Only a repeated create can double anything: PUTs and GETs are simply repeated."""
    if creates:
        return UnknownOutcome(reason=reason, detail=detail)
    return TransientFailure(reason=reason, detail=detail)


def refused(response: HttpResponse, detail: str, *, creates: bool) -> AttemptResult:
    """What every status but a 2xx means when the vendor file has nothing special to say about it."""
    match response.status:
        case 401:
            return TransientFailure(reason=Reason.AUTH, detail=detail)
        case 402:
            return PermanentFailure(reason=Reason.PAYMENT_REQUIRED, detail=detail)
        case 403:
            return TransientFailure(reason=Reason.FORBIDDEN, detail=detail)
        case 404:
            return PermanentFailure(reason=Reason.NOT_FOUND, detail=detail)
        case 429:
            wait_s = retry_after_s(response)
            return TransientFailure(reason=Reason.RATE_LIMITED, detail=detail, retry_after_s=wait_s)
        case 408:
            return unknown(Reason.SERVER_ERROR, detail, creates=creates)
        case status if 300 <= status < 400:
            return PermanentFailure(reason=Reason.REFUSED, detail=f"redirect refused: {detail}"[:DETAIL_MAX_CHARS])
        case 400 | 422:
            return PermanentFailure(reason=Reason.BAD_REQUEST, detail=detail)
        case status if 400 <= status < 500:
            return PermanentFailure(reason=Reason.REFUSED, detail=detail)
        case status if status >= 500:
            return unknown(Reason.SERVER_ERROR, detail, creates=creates)
    return unknown(Reason.UNREADABLE_ANSWER, detail, creates=creates)
