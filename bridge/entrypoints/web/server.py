"""gunicorn with the settings this product needs: threads, and a deadline on every client.

gunicorn's threaded worker gives a thread to each half-sent request and waits for the rest for ever; ours waits ten
seconds in all, however slowly the bytes come, and has enough threads that a hundred slow clients block nobody.
"""

import errno
import mmap
import os
import re
import resource
import signal
import socket
import struct
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Chdir
from gunicorn.glogging import Logger
from gunicorn.http.body import ChunkedReader
from gunicorn.workers.gthread import ThreadWorker

from bridge.adapters import cpu, logs, memory
from bridge.domain.errors import BridgeError
from bridge.entrypoints.web.shortage import is_shortage

PROCESSES = 2
THREADS = 128
READ_WITHIN_S = 10.0
LINGER_S = 2.0  # for a client to hang up, once it has our last answer
GRACEFUL_S = 20
SLACK_S = 1.0  # a read may end this much after the deadline, so that the timeout need not be set for every one
UNSENT_MAX_BYTES = 64 * 1024
THROWN_AWAY_MAX_BYTES = 64 * 1024  # of an unread body, between two requests: gunicorn's own _DRAIN_MAX_BYTES
LEAVE_FOR_S = 0.0005  # a connection that a process with fewer should have; so often at most
LEAVE_TIMES = 4
CONNECTIONS_MAX = 2000  # of a process
FILES_OF_OUR_OWN = 256  # what a process may have open beside them: the ledger's, by as many threads as read at once
CONNECTIONS_MIN = 64
AHEAD_MAX = 2  # connections that a process may have more than the one with the fewest
START_AGAIN_AFTER_S = 1.0


class PatientSocket:
    """A client's socket whose reads share one deadline, and whose small writes leave together.

    It stays a blocking socket with the kernel's own timeouts: each call that Python would make around a read or a write
    lets go of the interpreter lock, and among a hundred threads getting it back costs more than the call.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._until = 0.0
        self._ended = False
        self._unsent = bytearray()
        self._waits_s = 0.0
        sock.setblocking(True)
        self._wait_at_most(socket.SO_SNDTIMEO, READ_WITHIN_S)

    def start(self) -> None:
        """A new request begins: its clock starts."""
        self._until = time.monotonic() + READ_WITHIN_S

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.flush()
        left = self._until - time.monotonic()
        if left <= 0:
            raise ConnectionResetError(errno.ECONNRESET, "the client was too slow")
        if not left <= self._waits_s <= left + SLACK_S:
            self._waits_s = min(READ_WITHIN_S, left + SLACK_S / 2)
            self._wait_at_most(socket.SO_RCVTIMEO, self._waits_s)
        try:
            data: bytes = self._sock.recv(size, flags)
        except BlockingIOError as error:
            raise ConnectionResetError(errno.ECONNRESET, "the client was too slow") from error
        return data

    def sendall(self, data: bytes) -> None:
        self._unsent += data
        if len(self._unsent) > UNSENT_MAX_BYTES:
            self.flush()

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)

    def flush(self) -> None:
        """Send what was written so far."""
        if self._unsent:
            unsent, self._unsent = self._unsent, bytearray()
            try:
                self._sock.sendall(unsent)
            except BlockingIOError as error:
                raise ConnectionResetError(errno.ECONNRESET, "the client does not read its answer") from error
            except OSError as error:
                if error.errno != errno.EPROTOTYPE:  # what macOS calls it when the connection ends just now
                    raise
                raise ConnectionResetError(errno.ECONNRESET, "the client hung up") from error

    def end(self) -> None:
        """Close, but first wait for the client to do so: closing on what it still sends would cost it our answer."""
        self._until = min(self._until, time.monotonic() + LINGER_S)
        self._ended = True
        with suppress(OSError):
            self.flush()
            self._sock.shutdown(socket.SHUT_WR)
            while self.recv(65536):
                pass
        self._sock.close()

    def _wait_at_most(self, option: int, seconds: float) -> None:
        """Set one of the kernel's timeouts.

        macOS refuses any option (EINVAL) of a connection that is over, be there something left to read or not: nothing
        waits on it any more, and the read or write that follows finds out.
        """
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, option, _timeval(seconds))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise

    def setblocking(self, _flag: bool) -> None:
        """It stays as it is: only `recv` reads, and only where waiting is meant."""

    def settimeout(self, _seconds: float | None) -> None:
        """It keeps its own deadline, which is shorter than any that gunicorn would set."""

    def gettimeout(self) -> float | None:
        """As a blocking socket's."""
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Shares:
    """How many connections each process has, by its place: made before the fork, seen by all."""

    def __init__(self, processes: int) -> None:
        shared = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("i")
        self._counts, self._served = shared[:processes], shared[processes : processes + 1]

    @property
    def served(self) -> bool:
        """Whether any process ever came to serve."""
        return bool(self._served[0])

    def report(self, place: int, number: int) -> None:
        """This many has the process at that place, which serves."""
        self._served[0] = True
        if place < len(self._counts):
            self._counts[place] = number

    def is_ahead(self, number: int) -> bool:
        """Whether somebody else should have the next one."""
        return number > min(self._counts) + AHEAD_MAX


def connections_allowed() -> int:
    """How many connections a process may hold without running out of descriptors, once it may have all it can get.

    gunicorn's children end when they cannot take a connection, and every request under way with them. Whoever comes
    when there are as many as this waits in the kernel's line.
    """
    wanted = CONNECTIONS_MAX + FILES_OF_OUR_OWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_less(soft, wanted):
        soft = hard if _is_less(hard, wanted) else wanted
        with suppress(OSError, ValueError):  # macOS has a limit below the one that it tells
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _is_less(soft, wanted):
        return CONNECTIONS_MAX
    return max(CONNECTIONS_MIN, soft - FILES_OF_OUR_OWN)


def heartbeats_in(memory: str) -> str | None:
    """The folder, if files can be made there; None: where this user's other temporary files go."""
    try:
        with tempfile.TemporaryFile(dir=memory):
            return memory
    except OSError:
        return None


def _is_less(limit: int, number: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < number


def _keep_to_one_cpu(_arbiter: Any, worker: Any) -> None:
    """In the child."""
    cpu.keep_to_one(worker.place)


def _timeval(seconds: float) -> bytes:
    """A struct timeval."""
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """The threaded worker with PatientSockets, and without some habits of gunicorn's.

    gunicorn's waits for a client to hang up in its main thread, where it keeps everybody else from connecting. And one
    that stops goes on listening until its last client is done: who connects meanwhile waits for nothing, and after a
    kill of the parent its orphans keep the next one from starting. (A third: with one child that cannot start it ends
    all that serve. A fourth: it ends where no further thread is to be had.)

    Connections that stay are shared out, too: whoever wakes first would take them all (60 of 64, measured), and the
    other CPU had nothing to do.
    """

    alive: bool
    place: int
    shares: Shares

    def init_process(self) -> None:
        """Start and serve. Where files or memory are short while others serve, end in a way that is no end for them."""
        try:
            super().init_process()
        except Exception as error:
            if self.booted or not (self.shares.served and is_shortage(error)):
                raise
            _not_started(error)
            time.sleep(START_AGAIN_AFTER_S)
            os._exit(os.EX_TEMPFAIL)  # with whatever threads it has begun; gunicorn starts another in its place

    def init_signals(self) -> None:
        """Hear signals as a child does; those that came since the fork come now."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)

    def notify(self) -> None:
        """Once per round of its loop: alive, with so many connections."""
        self.shares.report(self.place, self.nr_conns)
        super().notify()

    def accept(self, listener: Any) -> None:
        """Take the next connection, unless a process with fewer does so within a moment."""
        for _ in range(LEAVE_TIMES):
            if not self.shares.is_ahead(self.nr_conns):
                break
            time.sleep(LEAVE_FOR_S)
        super().accept(listener)
        self.shares.report(self.place, self.nr_conns)

    def get_thread_pool(self) -> Any:
        """gunicorn's, with its first thread: a process that gets none cannot serve, and shows so as it starts."""
        pool = super().get_thread_pool()
        pool.submit(int)
        return pool

    def enqueue_req(self, conn: Any) -> None:
        """Give a request to the pool, whose threads work it when no further one is to be had.

        gunicorn's own loop would end there, and every request under way with it.
        """
        try:
            self.tpool.submit(self._answer, conn)
        except RuntimeError as error:  # the pool has it in its line all the same
            if not is_shortage(error):
                raise

    def _answer(self, conn: Any) -> None:
        """In a thread of the pool."""
        answered: Future[Any] = Future()
        try:
            answered.set_result(self.handle(conn))
        except BaseException as error:  # noqa: BLE001 - raised again where it is asked for, in the main thread
            answered.set_exception(error)
        self.method_queue.defer(self.finish_request, conn, answered)

    def handle(self, conn: Any) -> Any:
        """One request of a connection, in a thread of the pool; false when it was the last."""
        if not isinstance(conn.sock, PatientSocket):
            conn.sock = PatientSocket(conn.sock)
        conn.sock.start()
        # macOS accepts who has hung up already as well, and knows no address of theirs
        goes_on = conn.client is not None and super().handle(conn)
        if not goes_on:
            conn.sock.end()
        else:
            with suppress(OSError):  # who hung up is found at the next read
                conn.sock.flush()
        return goes_on

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept, or not; once the process stops, let go of the port."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    def is_parent_alive(self) -> bool:
        """Whether the parent is there; without it this process stops."""
        self.alive = self.alive and bool(super().is_parent_alive())
        return self.alive


def _not_started(error: Exception) -> None:
    """Say so; it is tried again."""
    reason = f"a web process cannot be started, and is tried again: {type(error).__name__}: {error}"
    logs.get().error(logs.TASK_FAILED, task="start", reason=reason)


_REFUSED = re.compile(r"(Invalid request from ip=\S*: [^:'\"]*).*", re.DOTALL)


class Log(Logger):  # type: ignore[misc]
    """gunicorn's own log without a handler of its own: its lines are made as those of every other library.

    Nor does it say what a request holds: the header that gunicorn cannot read, or an address, may be a secret.
    """

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Of a request that is no HTTP: from whom, and what kind of thing is wrong."""
        super().warning(_REFUSED.sub(r"\1", str(msg)), *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Of a request that failed: its method and path."""
        super().exception(msg, *(str(one).partition("?")[0] for one in args), **kwargs)

    def setup(self, cfg: Any) -> None:
        """gunicorn calls this when it starts."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class CannotListen(BridgeError):
    """The address is somebody else's, or not to be had by this user or on this machine."""


class _Parent(Arbiter):  # type: ignore[misc]
    """gunicorn's parent, whose SIGHUP reloads the rules: its own would end every child and start others."""

    def __init__(self, app: Any, on_hangup: Callable[[], None], shares: Shares) -> None:
        self._on_hangup, self._shares = on_hangup, shares
        super().__init__(app)

    def start(self) -> None:
        """Begin to listen. Raises CannotListen after five tries, a second apart; the log has why."""
        try:
            super().start()
        except SystemExit as error:
            at = ", ".join(self.cfg.bind)
            raise CannotListen(f"cannot listen on {at}; stop what listens there, or change server.listen") from error

    def init_signals(self) -> None:
        """gunicorn's, but for SIGTTOU: a line to a terminal with `tostop` is no wish for one process less."""
        super().init_signals()
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    def handle_hup(self) -> None:
        """SIGHUP."""
        self._on_hangup()

    def spawn_worker(self) -> Any:
        """Fork a child, which hears no signal to end until it can: its parent's handlers would swallow it.

        Where there is no file or process to be had for it, it is tried again each second, and those that serve go on.
        """
        umask = os.umask(0)
        os.umask(umask)
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        try:
            return super().spawn_worker()
        except OSError as error:  # in the parent: a child leaves with SystemExit
            os.umask(umask)  # gunicorn has set its own, and not come to set it back
            if not (self._shares.served and is_shortage(error)):
                raise
            _not_started(error)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)


class Server(BaseApplication):  # type: ignore[misc]
    """The web process tree: one parent, PROCESSES children, each with its own objects made after the fork."""

    def __init__(
        self,
        bind: str,
        make_app: Callable[[], Any],
        *,
        processes: int = PROCESSES,
        threads: int = THREADS,
        on_stop: Callable[[], None] = lambda: None,
        on_hangup: Callable[[], None] = lambda: None,
    ) -> None:
        self._bind, self._make_app, self._on_stop = bind, make_app, on_stop
        self._on_hangup = on_hangup
        self._processes, self._threads = processes, threads
        self._shares = Shares(processes)
        Chdir.default = os.getcwd()  # gunicorn's own is of its import, under `up` days ago: it may be gone
        super().__init__()

    def load_config(self) -> None:
        """gunicorn asks for its settings here."""
        settings = {
            "bind": self._bind,
            "worker_class": "bridge.entrypoints.web.server.PatientWorker",
            "workers": self._processes,
            "threads": self._threads,
            "worker_connections": connections_allowed(),
            "backlog": 2048,
            "timeout": 60,
            "graceful_timeout": GRACEFUL_S,
            "keepalive": 75,
            "preload_app": False,
            "loglevel": "warning",
            "logger_class": Log,
            "control_socket_disable": True,
            # What a proxy says is server.trusted_proxies' to believe. gunicorn's own belief in whoever comes from this
            # machine would let a sender's header SCRIPT_NAME lead what a proxy passes as /webhooks/… to any page.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
            "secure_scheme_headers": {},
            "sendfile": False,  # would overtake what a PatientSocket has not sent yet
            "worker_tmp_dir": heartbeats_in("/dev/shm"),  # noqa: S108 - gunicorn's own heartbeat files
            "pre_fork": self._take_place,
            "post_fork": _keep_to_one_cpu,
            "worker_exit": lambda _server, _worker: self._on_stop(),
            "proc_name": "incident-bridge serve",
        }
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def _take_place(self, arbiter: Any, worker: Any) -> None:
        """In the parent: the first place that no other child has."""
        taken = {other.place for other in arbiter.WORKERS.values()}
        worker.place = next(place for place in range(len(taken) + 1) if place not in taken)
        worker.shares = self._shares

    def run(self) -> None:
        """Serve until told to stop."""
        memory.one_arena()
        _Parent(self, self._on_hangup, self._shares).run()

    def load(self) -> Any:
        """Called in each child: the WSGI application."""
        return saying_when_it_ends(self._make_app())


def saying_when_it_ends(app: Any) -> Any:
    """The application, but each answer says so when its connection ends with it.

    gunicorn drops the header an application says that with, and after a promise to stay it hangs up on whoever has more
    of a body to send than it will throw away: the sender's next webhook then goes down a connection that is gone.
    """

    def answered(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            if ("Connection", "close") in headers or _is_left_unread(environ["wsgi.input"].reader):
                start_response.__self__.force_close()
            return start_response(status, headers, *more)

        return app(environ, start)

    return answered


def _is_left_unread(reader: Any) -> bool:
    """Whether gunicorn hangs up because of what nobody read of a body: too much of it, or chunks, however many."""
    if isinstance(reader, ChunkedReader):
        return reader.parser is not None
    return bool(getattr(reader, "length", 0) >= THROWN_AWAY_MAX_BYTES)
