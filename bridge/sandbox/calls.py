"""What the stand-ins were told, call by call, and how a test told them to misbehave."""

import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

CALLS_KEPT = 50_000
_CREDENTIALS = re.compile(r"(?i)^(\s*(?:token\s+token=|\S+\s+))?.*$", re.DOTALL)


@dataclass(slots=True, kw_only=True)
class Call:
    """One call to a stand-in; `status` is None until it is answered, and stays None when the connection was dropped."""

    seq: int
    api: str
    method: str
    path: str
    query: str
    headers: dict[str, str]  # lower-case names, credentials masked
    body: Any  # decoded JSON, else the text
    wall: float = field(default_factory=time.time)  # unix seconds
    monotonic: float = field(default_factory=time.monotonic)  # the machine's, shared by its processes
    status: int | None = None
    dropped: bool = False

    def as_json(self) -> dict[str, Any]:
        """The call as the control endpoints show it."""
        return asdict(self) | {"at": datetime.fromtimestamp(self.wall, UTC).isoformat()}


class CallLog:
    """The latest CALLS_KEPT calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self._seq = 0

    def begin(self, api: str, method: str, path: str, query: str, headers: Mapping[str, str], body: Any) -> Call:
        """A call has arrived."""
        seen = {name.lower(): _masked(name, value) for name, value in headers.items()}
        with self._lock:
            self._seq += 1
            call = Call(seq=self._seq, api=api, method=method, path=path, query=query, headers=seen, body=body)
            self._calls.append(call)
        return call

    def calls(self, *, api: str | None = None, method: str | None = None, since: int = 0) -> list[Call]:
        """The calls after number `since`, oldest first."""
        with self._lock:
            kept = list(self._calls)
        return [
            call
            for call in kept
            if call.seq > since and api in (None, call.api) and (method is None or call.method == method)
        ]

    def clear(self) -> None:
        """Forget them; the numbers go on."""
        with self._lock:
            self._calls.clear()


def _masked(name: str, value: str) -> str:
    if name.lower() in ("cookie", "set-cookie"):
        return "***"
    return _CREDENTIALS.sub(r"\1***", value, count=1) if name.lower() == "authorization" else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What a stand-in does instead of, or after, what it should. See control.py for the meaning of each."""

    effect: bool
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    drop: bool = False
    delay_s: float = 0.0
    delay_before_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Scripted:
    """One queued behaviour and how many calls it is still for."""

    api: str | None
    method: str | None
    path_prefix: str
    times: int
    deed: Deed

    def fits(self, api: str, method: str, path: str, path_in_api: str) -> bool:
        """Whether the call is one of those meant; the path may be given with or without the stand-in's own prefix."""
        return (
            self.api in (None, api)
            and self.method in (None, method)
            and (path.startswith(self.path_prefix) or path_in_api.startswith(self.path_prefix))
        )


class Script:
    """The behaviours still to come, first queued first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[Scripted] = []

    def add(self, scripted: Scripted) -> None:
        """Queue one."""
        with self._lock:
            self._queue.append(scripted)

    def take(self, api: str, method: str, path: str, path_in_api: str) -> Deed | None:
        """The behaviour meant for this call, used up once; None: behave."""
        with self._lock:
            for scripted in self._queue:
                if scripted.fits(api, method, path, path_in_api):
                    scripted.times -= 1
                    if scripted.times <= 0:
                        self._queue.remove(scripted)
                    return scripted.deed
        return None

    def waiting(self) -> list[dict[str, Any]]:
        """What is queued, as JSON."""
        with self._lock:
            return [asdict(scripted) for scripted in self._queue]

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._queue.clear()


def scripted_in(value: Any) -> Scripted:
    """One behaviour as the control endpoint takes it.

    Raises:
        ValueError: with a sentence, when it is none.
    """
    entry = _known(value, {"match", "times", "do"}, "the behaviour")
    match = _known(entry.get("match", {}), {"api", "method", "path_prefix"}, "match")
    do = _known(entry.get("do", {}), set(Deed.__dataclass_fields__), "do")
    misbehaves = "status" in do or bool(do.get("drop"))
    deed = Deed(
        effect=bool(do.get("effect", not misbehaves)),
        status=int(do["status"]) if "status" in do else None,
        headers={str(name): str(text) for name, text in _known(do.get("headers", {}), None, "headers").items()},
        body=do.get("body"),
        drop=bool(do.get("drop", False)),
        delay_s=float(do.get("delay_s", 0)),
        delay_before_s=float(do.get("delay_before_s", 0)),
    )
    if deed.status is not None and not 200 <= deed.status <= 599:
        raise ValueError("do.status is 200 to 599")
    method = match.get("method")
    return Scripted(
        api=match.get("api"),
        method=method.upper() if isinstance(method, str) else None,
        path_prefix=str(match.get("path_prefix", "")),
        times=int(entry.get("times", 1)),
        deed=deed,
    )


def _known(value: Any, names: set[str] | None, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is an object")
    unknown = sorted(set(value) - names) if names is not None else []
    if unknown:
        raise ValueError(f"{where} has no {', '.join(unknown)}; there are: {', '.join(sorted(names or ()))}")
    return value
