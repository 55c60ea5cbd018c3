"""The queue: RQ as transport between those who know of work (web, clock) and the workers. Nothing in it is owed.

A job says "drain this lane" or "do this upkeep" and may be lost or doubled at any time: the ledger decides what is due.
Therefore RQ's own retries, scheduler, unique jobs, callbacks and PubSub commands are not used, and what is in Redis is
not trusted: JSON only, and two functions only.
"""

import os
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue as RqQueue
from rq import SimpleWorker
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.timeouts import JobTimeoutException
from rq.utils import now
from rq.worker import WorkerStatus
from rq.worker_registration import clean_worker_registry, register

from bridge.adapters import logs
from bridge.adapters.supervisor import stop_on_signals
from bridge.domain.errors import BridgeError

QUEUE = "ib-drain"
DRAIN = "bridge.entrypoints.worker.drain"
UPKEEP = "bridge.entrypoints.worker.upkeep"
FUNCTIONS = frozenset({DRAIN, UPKEEP})

POKE_FOR_MS = 1000
FRESH_KEY = "ib:seen"
JOB_TIMEOUT_S = 20  # above the send deadline of 10 s, below the lease of 30 s
JOB_WAITS_S = 300  # a job nobody took for so long is forgotten; the clock makes a new one
RESULT_KEPT_S = 30
FAILURE_KEPT_S = 600
STARTED_FOR_S = JOB_TIMEOUT_S + 10  # a job still "started" after this died with its worker

CONNECT_TIMEOUT_S = 0.5
READ_TIMEOUT_S = 1.0
POKE_REST_S = 1.0  # after a failed poke: a Redis that hangs must not cost every webhook a timeout
POP_FOR_S = 0.5  # how long one blocking pop waits; also how soon an idle worker sees that it shall stop
WORKER_READ_TIMEOUT_S = 2.0
WORKER_TTL_S = 60
BEAT_EVERY_S = 5.0
TIDY_EVERY_S = 30.0
UNABLE_REST_S = 1.0
RECONNECT_AFTER_S = (0.1, 0.2, 0.5, 1.0)

JOB_FAILED = "job_failed"


class QueueUnavailable(BridgeError):
    """Redis does not answer. Nothing is lost by it: the clock works without."""


class QueueMisnamed(BridgeError):
    """The address of Redis asks for something that no connection has."""


class JobRefused(BridgeError):
    """A job asks for something other than `drain` or `upkeep`."""


class Job(RqJob):
    """A job that runs `drain(lane)` or `upkeep(topic)` and nothing else, whatever stands in Redis.

    JSON alone is not enough: RQ imports any dotted name that a job gives, as its function or as one of its callbacks
    (the failure callback even while it cleans registries), and posts to any address among its webhooks.
    """

    def restore(self, raw_data: Any) -> None:
        """Read a job from Redis, without anything that would make RQ do more than run it."""
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self._dependency_ids = []
        self.retries_left = self.repeats_left = self.retry_intervals = self.repeat_intervals = None
        self.group_id = None
        self.origin = QUEUE
        self.timeout = JOB_TIMEOUT_S
        self.result_ttl, self.failure_ttl, self.ttl = RESULT_KEPT_S, FAILURE_KEPT_S, JOB_WAITS_S

    def perform(self) -> Any:
        """Run the function. Raises JobRefused. RQ's own way takes the job's expiry away first: a worker killed in
        mid-job would leave it behind for ever."""
        name, args = self.func_name, self.args
        if not isinstance(name, str) or name not in FUNCTIONS or self.instance is not None or self.kwargs:
            raise JobRefused(f"only drain and upkeep run here, not {str(name)[:100]!r}")
        if not isinstance(args, list) or len(args) != 1 or not isinstance(args[0], str):
            raise JobRefused(f"{name} takes one text, not {str(args)[:100]!r}")
        return self._execute()


class Queue:
    """The queue as web, clock and workers see it; every method but `ping` may raise QueueUnavailable.

    Threads may share it. It reconnects by itself.
    """

    def __init__(self, url: str) -> None:
        """`url` is redis://, rediss:// or unix://. Connects when first used."""
        self._redis = client_of(url, READ_TIMEOUT_S)
        self._queue = _rq_queue(self._redis)
        self._rests_until = 0.0

    def poke(self, lane: str) -> None:
        """See to it that a worker drains the lane soon; a lane poked within the last second is not poked again.

        After a failure it fails for a second without trying: the clock finds the lane within 250 ms anyway.
        """
        if time.monotonic() < self._rests_until:
            raise QueueUnavailable("Redis did not answer a moment ago")
        try:
            with self._answered():
                if self._redis.set(_poke_key(lane), 1, nx=True, px=POKE_FOR_MS):
                    self._enqueue(DRAIN, lane)
        except QueueUnavailable:
            self._rests_until = time.monotonic() + POKE_REST_S
            raise

    def clear_poke(self, lane: str) -> None:
        """Let the next poke through; a drain does this before it looks at the lane, so that no news is missed."""
        with self._answered():
            self._redis.delete(_poke_key(lane))

    def enqueue_drain(self, lane: str) -> None:
        """A job for the lane, poked or not."""
        with self._answered():
            self._enqueue(DRAIN, lane)

    def enqueue_upkeep(self, topic: str) -> None:
        """A job for the topic."""
        with self._answered():
            self._enqueue(UPKEEP, topic)

    def outstanding(self) -> int:
        """How many jobs wait or run."""
        with self._answered(), self._redis.pipeline(transaction=False) as pipe:
            pipe.llen(self._queue.key)
            pipe.zcount(self._queue.started_job_registry.key, time.time(), "+inf")
            waiting, running = pipe.execute()
        return int(waiting) + int(running)

    def first(self) -> bytes | None:
        """The job that a worker would take next, by its id."""
        with self._answered():
            found: bytes | None = self._redis.lindex(self._queue.key, 0)
            return found

    def is_fresh(self) -> bool:
        """True once for every new or emptied Redis: what was enqueued before is gone."""
        with self._answered():
            return bool(self._redis.set(FRESH_KEY, 1, nx=True))

    def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            with self._answered():
                return bool(self._redis.ping())
        except QueueUnavailable:
            return False

    def close(self) -> None:
        """Close its connections."""
        self._redis.close()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Every way Redis fails is one to our callers; and the next call asks anew where Redis is.

        After a failover the server of before refuses writes for ever, on the connections that it has as well.
        """
        try:
            yield
        except redis.RedisError as error:
            self._redis.connection_pool.disconnect(inuse_connections=False)
            raise QueueUnavailable(f"Redis: {reason_of(error)}") from error

    def _enqueue(self, function: str, argument: str) -> None:
        """RQ's own enqueueing under a random id, with everything in one round trip instead of two."""
        job = self._queue.create_job(
            function,
            args=[argument],
            timeout=JOB_TIMEOUT_S,
            ttl=JOB_WAITS_S,
            result_ttl=RESULT_KEPT_S,
            failure_ttl=FAILURE_KEPT_S,
            description=f"{function.rpartition('.')[2]} {argument}",
        )
        with self._redis.pipeline() as pipe:
            self._queue.enqueue_job(job, pipeline=pipe)
            pipe.execute()


class _Worker(SimpleWorker):
    """RQ's in-process worker with a leaner loop.

    RQ's own makes some fifteen round trips per job, four of them between the pop and the function, and ends when Redis
    hangs, when a job cannot be read, or when anything else goes wrong. This one makes two before the function (the pop;
    then everything else) and one after it; it beats and tidies by time, not by job. PubSub commands and `rq suspend`
    are left out: they stop or kill jobs from outside, and nobody would see why pages wait.
    """

    job_class = Job

    def __init__(self, connection: Any, name: str, job_timeout_s: int) -> None:
        super().__init__(
            [_rq_queue(connection)],
            name=name,
            connection=connection,
            worker_ttl=WORKER_TTL_S,
            job_class=Job,
            serializer=JSONSerializer,
            prepare_for_work=False,  # RQ would look for its own address in CLIENT LIST
        )
        self.hostname, self.pid, self.ip_address = socket.gethostname(), os.getpid(), "unknown"
        self.birth_date = self.last_heartbeat = now()
        self._job_timeout_s = job_timeout_s
        self._queue = self.queues[0]
        self._started = self._queue.started_job_registry.key
        self._beat_at = self._tidy_at = 0.0

    def _set_connection(self, connection: Any) -> Any:
        """Keep our socket timeout; RQ would raise it to a minute."""
        return connection

    def take(self) -> Job | None:
        """Wait for a job, half a second at most; it is registered as started. Raises redis.RedisError."""
        popped = self.connection.blmove(self._queue.key, self._queue.intermediate_queue_key, POP_FOR_S)  # type: ignore[arg-type]
        if popped is None:
            return None
        raw: bytes = popped  # type: ignore[assignment]
        with self.connection.pipeline() as pipe:
            pipe.hgetall(b"rq:job:" + raw)
            pipe.lrem(self._queue.intermediate_queue_key, 1, raw)  # type: ignore[arg-type]
            pipe.zadd(self._started, {self._execution(raw): time.time() + STARTED_FOR_S})
            pipe.hset(self.key, mapping={"state": WorkerStatus.BUSY.value, "current_job": raw})
            found = pipe.execute(raise_on_error=False)[0]
        if not found:  # it waited longer than JOB_WAITS_S
            self._ended(raw)
            return None
        try:
            job = Job(raw.decode(), connection=self.connection, serializer=JSONSerializer)
            job.restore(found)
        except Exception as error:  # noqa: BLE001 - whatever a stranger wrote there, it must not end the worker
            logs.get().error(JOB_FAILED, job=repr(raw[:100]), reason=f"not a job: {type(error).__name__}")
            self._ended(raw)
            return None
        return job

    def execute_job(self, job: Any, queue: Any = None) -> None:  # noqa: ARG002 - RQ's signature
        """Run one job within its time; a failure is logged and kept in RQ's registry for a while."""
        try:
            with self.death_penalty_class(self._job_timeout_s, JobTimeoutException, job_id=job.id):
                job.perform()
        except JobRefused as refusal:
            logs.get().error(JOB_FAILED, job=job.id, reason=str(refusal))
            self._failed(job, str(refusal))
        except Exception as error:  # noqa: BLE001 - the outermost frame of a job
            logs.get().error(JOB_FAILED, job=job.id, reason=type(error).__name__, exc_info=True)
            self._failed(job, traceback.format_exc())
        else:
            self._ended(job.id.encode())

    def look_after(self) -> None:
        """Between two jobs: show that it lives, and clear away what dead workers left, each in its own time."""
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + BEAT_EVERY_S
            self._beat()
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_EVERY_S
            self._tidy()

    def _beat(self) -> None:
        """Write its whole registration, not a heartbeat field only: FLUSHALL may have taken it."""
        self.last_heartbeat = now()
        with self.connection.pipeline() as pipe:
            pipe.hset(self.key, mapping=self.serialize() | {"state": WorkerStatus.IDLE.value})
            pipe.expire(self.key, WORKER_TTL_S)
            register(self, pipe)
            pipe.execute()

    def _tidy(self) -> None:
        """What RQ's maintenance does, without the callbacks it would call and the jobs it would retry."""
        with self.connection.pipeline() as pipe:
            for registry in (self._started, self._queue.finished_job_registry.key, self._queue.failed_job_registry.key):
                pipe.zremrangebyscore(registry, 0, time.time())
            pipe.lrange(self._queue.intermediate_queue_key, 0, 99)
            between: list[bytes] = pipe.execute()[-1]
        for raw in between:  # popped by a worker that died in the next instant; gone for good when its hash is
            if not self.connection.exists(b"rq:job:" + raw):
                self.connection.lrem(self._queue.intermediate_queue_key, 1, raw)  # type: ignore[arg-type]
        clean_worker_registry(self._queue)

    def _ended(self, raw: bytes) -> None:
        """Nobody reads results: a job that is over is deleted, so that nothing can grow.

        (`result_ttl=0` on the job would let RQ's own worker do so too, but its heartbeats may then bring a job back
        that has neither function nor expiry.)
        """
        with self.connection.pipeline() as pipe:
            pipe.delete(b"rq:job:" + raw)
            self._free(raw, pipe)
            pipe.execute()

    def _failed(self, job: Job, reason: str) -> None:
        with self.connection.pipeline() as pipe:
            job.set_status(JobStatus.FAILED, pipeline=pipe)
            job.failed_job_registry.add(job, ttl=FAILURE_KEPT_S, exc_string=reason, pipeline=pipe)
            Result.create_failure(job, FAILURE_KEPT_S, exc_string=reason, worker_name=self.name, pipeline=pipe)
            self._free(job.id.encode(), pipe)
            pipe.execute()

    def _free(self, raw: bytes, pipe: Any) -> None:
        pipe.zrem(self._started, self._execution(raw))
        pipe.hset(self.key, "state", WorkerStatus.IDLE.value)
        pipe.hdel(self.key, "current_job")
        pipe.expire(self.key, WORKER_TTL_S)

    def _execution(self, raw: bytes) -> bytes:
        """How RQ's registry of started jobs names one: job id, colon, execution id."""
        return raw + b":" + self.name.encode()


def run_worker(
    url_provider: Callable[[], str],
    *,
    on_start: Callable[[], None],
    stop: threading.Event,
    job_timeout_s: int = JOB_TIMEOUT_S,
    is_able: Callable[[], bool] = lambda: True,
) -> None:
    """Work until `stop` is set, which SIGTERM and SIGINT do; a job that runs is finished first.

    While `is_able` says no, which is asked before every job, jobs are left to other workers.

    Call it in the main thread, where a job's time limit works. `on_start` is called once, before the first job;
    `url_provider` before every connection. A Redis that is away is waited for, however long.
    """
    stop_on_signals(stop)
    on_start()
    name = f"ib-{socket.gethostname().partition('.')[0]}-{os.getpid()}-{os.urandom(4).hex()}"
    lost_at: float | None = None
    failures = 0
    while not stop.is_set():
        connection = client_of(url_provider(), WORKER_READ_TIMEOUT_S)
        try:
            worker = _Worker(connection, name, job_timeout_s)
            while not stop.is_set():
                worker.look_after()
                if not is_able():
                    stop.wait(UNABLE_REST_S)
                    continue
                job = worker.take()
                if lost_at is not None:  # not before: a Redis may take what it is told, and refuse to give a job
                    logs.get().info(logs.QUEUE_BACK, away_s=round(time.monotonic() - lost_at, 1))
                    lost_at, failures = None, 0
                if job is not None:
                    worker.execute_job(job)
            with suppress(redis.RedisError):
                worker.register_death()  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            if lost_at is None:
                lost_at = time.monotonic()
                logs.get().warning(logs.QUEUE_LOST, reason=reason_of(error))
            stop.wait(RECONNECT_AFTER_S[min(failures, len(RECONNECT_AFTER_S) - 1)])
            failures += 1
        finally:
            connection.close()


def client_of(url: str, read_timeout_s: float, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> Any:
    """A client that tries each command once, and not for long. RESP2: it needs no handshake. Raises QueueMisnamed."""
    try:
        client: Any = redis.Redis.from_url(
            url,
            socket_connect_timeout=connect_timeout_s,
            socket_timeout=read_timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # connects to nothing; else every single command would say so
    except (TypeError, ValueError) as error:  # '… unexpected keyword argument 'x'', 'Invalid value for 'x' …'
        option = str(error).split("'")[1::2][-1:]
        about = f"option '{option[0]}'" if option else "something"
        raise QueueMisnamed(f"the address of 'redis:' has {about} that cannot be; mend it and start again") from error
    return client


def _rq_queue(connection: Any) -> RqQueue:
    return RqQueue(
        QUEUE, connection=connection, default_timeout=JOB_TIMEOUT_S, job_class=Job, serializer=JSONSerializer
    )


def _poke_key(lane: str) -> str:
    return f"ib:poke:{lane}"


def reason_of(error: Exception) -> str:
    """Why Redis did not do it, without the address, which may hold a password."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLError):  # an OSError whose number is one of OpenSSL's
        said = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or type(cause).__name__
        return f"TLS: {said}"
    if isinstance(cause, socket.gaierror):  # and this one's is one of the resolver's
        return str(cause.strerror)
    if isinstance(cause, FileNotFoundError):  # the socket, or what ssl_ca_certs and its like name
        return "a file that its address names is not there"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    if isinstance(error, redis.TimeoutError):
        return "no answer in time"
    is_answer = isinstance(error, redis.ResponseError | redis.AuthenticationError)
    return str(error)[:200] if is_answer else type(error).__name__
