"""POST /webhooks/<source>: verify, read, decide, settle, answer.

A 2xx means: on disk. Everything refused is a clear sentence, and whatever could be an alert is kept.
"""

import json
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Protocol

from flask import Blueprint, Request, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from bridge.adapters import logs
from bridge.adapters.ledger import Receipt, Settled, receipt, tallies
from bridge.domain.alert import Alert, Notice, Reading, Webhook
from bridge.domain.decision import Decided
from bridge.domain.errors import DecodeError, LedgerUnavailable, SignatureError, Unverifiable
from bridge.entrypoints.web.redacting import without_secrets
from bridge.entrypoints.web.shortage import is_shortage
from bridge.sources.base import BasicAuth, Introduces, NoAuth, SignatureAuth, Source

REJECTED_KEEPS_BYTES = 64 * 1024
RETRY_AFTER_S = "10"  # below the 60 s that Zendesk accepts (SOURCES.md, section 3)
READ_CHUNK = 64 * 1024
# Some senders keep a name and password to themselves until a 401 asks for them: Google Cloud Monitoring
# (https://support.stackdriver.com/customer/en/portal/articles/1491775-configuring-webhooks) and Amazon SNS
# (https://maxbeatty.com/2015/11/16/how-to-subscribe-to-aws-sns-using-https-with-basic-authentication/; read 2026-11).
BASIC_CHALLENGE = 'Basic realm="incident-bridge", charset="UTF-8"'
AT_ONCE_MAX_BYTES = 64 * 1024  # a larger body is read in its own thread, so that nobody waits behind it
NOT_MEANT = "received again for another alert of the same webhook"

_JSON = json.JSONEncoder(separators=(",", ":"))

Decide = Callable[[tuple[Reading, ...]], tuple[Decided, ...]]
Chosen = Callable[[tuple[Reading, ...]], tuple[Reading, ...]]  # which of a webhook's readings count


class Ruling(Protocol):
    """What decides a webhook, and the hash of the rule book it does so with: one value, swapped as a whole."""

    @property
    def hash(self) -> str:
        """Of the rule book."""
        ...

    @property
    def decide(self) -> Decide:
        """What the rules say of readings."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Everything a webhook needs on its way to the ledger."""

    sources: Mapping[str, Source]
    ruling: Callable[[], Ruling]  # asked once for each webhook
    settle: Callable[[Callable[[], Receipt]], Settled]  # makes the receipt and puts it on disk
    new_id: Callable[[], str]
    now: Callable[[], datetime]  # the ledger's clock, for what is stored
    body_max_bytes: int
    count: Callable[[str, str], None]  # (source, what): counted, not stored


class _TooLarge(Exception):
    """More bytes came than the configuration allows; carries the beginning."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__()
        self.beginning = beginning


def blueprint(receiver: Receiver) -> Blueprint:
    """The one address of the receiver: POST, and OPTIONS for senders that ask first."""
    routes = Blueprint("receiver", __name__)

    @routes.route("/webhooks/<name>", methods=["OPTIONS"], provide_automatic_options=False)
    def introduce(name: str) -> Response:
        source = receiver.sources.get(name)
        if source is None:
            return answer(404, error=f"there is no source '{name[:80]}' here")
        return _introduced(source, request)

    @routes.post("/webhooks/<name>", provide_automatic_options=False)
    def receive(name: str) -> Response:
        source = receiver.sources.get(name)
        if source is None:
            return _unknown(receiver, name)
        encoding = request.environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
        if encoding not in ("", "identity"):
            return answer(415, error="this address takes bodies as they are; send without Content-Encoding")
        try:
            return _receive(receiver, source, _webhook(source, request, receiver.body_max_bytes))
        except _TooLarge as error:
            return _too_large(receiver, source, error.beginning)
        except OSError:
            return answer(408, error="the body did not arrive in time", close=True)
        except Unverifiable as error:
            logs.get().error(logs.SENDER_UNVERIFIABLE, source=name, reason=str(error))
            return answer(503, error="not stored; send it again", retry_after=RETRY_AFTER_S)
        except LedgerUnavailable as error:
            logs.get().error(logs.LEDGER_UNAVAILABLE, source=name, reason=str(error))
            return answer(503, error="not stored; send it again", retry_after=RETRY_AFTER_S)

    return routes


def _introduced(source: Source, incoming: Request) -> Response:
    """The answer to OPTIONS: what may be sent here, and what this sender's own handshake wants to hear."""
    response = Response(status=200)
    response.headers["Allow"] = "OPTIONS, POST"
    if isinstance(source, Introduces):
        headers = MappingProxyType(_headers(incoming))
        asked = Webhook(source=source.name, headers=headers, body=b"", received_at=datetime.now(UTC))
        response.headers.update(dict(source.introduction(asked)))
    return response


def _receive(receiver: Receiver, source: Source, webhook: Webhook) -> Response:
    try:
        source.verify(webhook)
    except SignatureError as error:
        return _unauthorized(receiver, source, error)
    safe = without_secrets(source, webhook)
    packed = zlib.compress(safe.body, 1)  # here, for it lets go of the interpreter lock
    try:
        prepare = partial(_receipt, receiver, source, safe, packed, source.delivery_id(webhook))
        if len(safe.body) > AT_ONCE_MAX_BYTES:
            made = prepare()
            settled = receiver.settle(lambda: made)
        else:
            settled = receiver.settle(prepare)
    except DecodeError as error:
        return _reject(receiver, source, safe, receiver.new_id(), 400, f"{source.name}: {error}")
    if settled.duplicate:
        return answer(202, event=settled.event_id, alerts=settled.alerts, duplicate=True)
    return answer(202, event=settled.event_id, alerts=settled.alerts)


def taken_again(receiver: Receiver, webhook: Webhook, only: Collection[int] | None = None) -> str:
    """A stored webhook is settled as a new event, by today's rules; its id. Raises DecodeError, LedgerUnavailable.

    `only` the alerts at these positions count then, as if said now: what came since makes none of them late.
    """
    chosen = tuple if only is None else partial(_only, only, said_now=True)
    return _settled_again(receiver, webhook, None, chosen).event_id


def heard_at_last(receiver: Receiver, webhook: Webhook, only: Collection[int], delivery_id: str) -> Settled:
    """The alerts at these positions of a stored webhook are settled as a new event, once under this id.

    They are as old as they are: what came since goes before them. Raises DecodeError, LedgerUnavailable.
    """
    return _settled_again(receiver, webhook, delivery_id, partial(_only, only, said_now=False))


def _settled_again(receiver: Receiver, webhook: Webhook, delivery_id: str | None, chosen: Chosen) -> Settled:
    source = receiver.sources[webhook.source]
    made = _receipt(receiver, source, webhook, zlib.compress(webhook.body, 1), delivery_id, chosen)
    return receiver.settle(lambda: made)


def _receipt(
    receiver: Receiver,
    source: Source,
    safe: Webhook,
    packed: bytes,
    delivery_id: str | None,
    chosen: Chosen = tuple,
) -> Receipt:
    """Read, decide and prepare; in the writer's thread as a rule. Raises DecodeError."""
    ruling = receiver.ruling()
    readings = source.alerts_in(safe)
    return receipt(
        event_id=receiver.new_id(),
        source=source.name,
        received_at=receiver.now(),
        headers=safe.headers,
        body=safe.body,
        packed_body=packed,
        delivery_id=delivery_id,
        decided=ruling.decide(chosen(readings)),
        book=ruling.hash,
    )


def _only(only: Collection[int], readings: Sequence[Reading], *, said_now: bool) -> tuple[Reading, ...]:
    return tuple(
        (replace(one, reported_at=None) if said_now else one)
        if position in only and isinstance(one, Alert)
        else Notice(
            source=one.source, source_type=one.source_type, reason=NOT_MEANT, payload=one.payload, title=one.title
        )
        for position, one in enumerate(readings)
    )


def _webhook(source: Source, incoming: Request, limit: int) -> Webhook:
    return Webhook(
        source=source.name,
        headers=MappingProxyType(_headers(incoming)),
        body=_body(incoming, limit),
        received_at=datetime.now(UTC),
        query=MappingProxyType(incoming.args.to_dict()) if incoming.query_string else MappingProxyType({}),
    )


def _headers(incoming: Request) -> dict[str, str]:
    """Header names in lower case, straight from the environment: werkzeug's own mapping costs several times that."""
    environ = incoming.environ
    headers = {_header_name(name): value for name, value in environ.items() if name.startswith("HTTP_")}
    for variable, name in (("CONTENT_TYPE", "content-type"), ("CONTENT_LENGTH", "content-length")):
        if environ.get(variable):
            headers[name] = environ[variable]
    return headers


@lru_cache(maxsize=1024)  # senders have few, and always the same
def _header_name(variable: str) -> str:
    return variable[5:].lower().replace("_", "-")


def _body(incoming: Request, limit: int) -> bytes:
    """The body, counted in bytes read, whatever Content-Length says. Raises _TooLarge, or OSError when it stalls."""
    stream = incoming.environ["wsgi.input"]
    declared = incoming.content_length
    if declared is not None and declared > limit:
        raise _TooLarge(stream.read(REJECTED_KEEPS_BYTES))
    if declared is not None:
        body: bytes = stream.read(declared)
        if len(body) < declared:
            raise ConnectionResetError("the body ended early")
        return body
    if "chunked" not in incoming.headers.get("Transfer-Encoding", "").lower():
        return b""
    parts: list[bytes] = []
    size = 0
    while chunk := stream.read(READ_CHUNK):
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            raise _TooLarge(b"".join(parts)[:REJECTED_KEEPS_BYTES])
    return b"".join(parts)


def _unknown(receiver: Receiver, name: str) -> Response:
    """404, told by the log, for nothing is stored. Counted without the name: strangers make up as many as they like."""
    receiver.count("", "unknown_source")
    logs.get().warning(logs.EVENT_REJECTED, source=line(name[:80]), reason="unknown_source")
    return answer(404, error=f"there is no source '{name[:80]}' here")


def _unauthorized(receiver: Receiver, source: Source, error: SignatureError) -> Response:
    receiver.count(source.name, tallies.UNAUTHORIZED)
    logs.get().warning(logs.EVENT_REJECTED, source=source.name, reason=tallies.UNAUTHORIZED, check=error.check)
    response = answer(401, error="unauthorized")
    if isinstance(source.auth, BasicAuth):
        response.headers["WWW-Authenticate"] = BASIC_CHALLENGE
    return response


def _too_large(receiver: Receiver, source: Source, beginning: bytes) -> Response:
    webhook = Webhook(
        source=source.name,
        headers=MappingProxyType(_headers(request)),
        body=beginning,
        received_at=datetime.now(UTC),
        query=MappingProxyType(request.args.to_dict()),
    )
    if not isinstance(source.auth, SignatureAuth | NoAuth):  # a signature covers a body nobody is going to read
        try:
            source.verify(webhook)
        except SignatureError as error:
            return _unauthorized(receiver, source, error)
    sentence = f"{source.name}: the body is larger than {receiver.body_max_bytes} bytes (server.max_body)"
    safe = without_secrets(source, webhook)
    response = _reject(receiver, source, safe, receiver.new_id(), 413, sentence)
    response.headers["Connection"] = "close"
    return response


def _reject(
    receiver: Receiver, source: Source, webhook: Webhook, event_id: str, status: int, sentence: str
) -> Response:
    """Keep the beginning of a body nobody could read, so that a person can see what was sent."""
    beginning = webhook.body[:REJECTED_KEEPS_BYTES]
    rejected = receipt(
        event_id=event_id,
        source=source.name,
        received_at=receiver.now(),
        headers=webhook.headers,
        body=beginning,
        packed_body=zlib.compress(beginning, 1),
        rejected=sentence,
    )
    receiver.settle(lambda: rejected)
    receiver.count(source.name, "rejected")
    logs.get().warning(logs.EVENT_REJECTED, source=source.name, event_id=event_id, reason=sentence[:200])
    return answer(status, error=sentence, event=event_id)


def refused(error: HTTPException) -> Response:
    """What Flask refuses, in its first sentence."""
    response = answer(error.code or 500, error=(error.description or error.name).split(". ")[0])
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def failed(error: Exception) -> Response:
    """What we did wrong, or had no memory or thread for: the log has the traceback."""
    logs.get().error(logs.REQUEST_FAILED, method=request.method, path=line(request.path), exc_info=error)
    if is_shortage(error):
        return answer(503, error="this machine has no more to give just now; send it again", retry_after=RETRY_AFTER_S)
    return answer(500, error="this is a fault of Incident Bridge; its log says more")


def line(path: str) -> str:
    """An address as a log on a terminal may show it."""
    return path if path.isprintable() else ascii(path)


def answer(status: int, /, *, retry_after: str | None = None, close: bool = False, **content: Any) -> Response:
    """A JSON answer; the event comes first, so that people find it in their sender's log."""
    response = Response(_JSON.encode(content), status=status, mimetype="application/json")
    if retry_after is not None:
        response.headers["Retry-After"] = retry_after
    if close:
        response.headers["Connection"] = "close"
    return response
