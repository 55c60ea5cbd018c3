"""PostgreSQL's driver, which by itself waits for an answer however long none comes."""

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from psycopg import Connection, OperationalError

# Above the 10 s after which the server lets go of what a host that is gone had locked: who waits for that gets it.
# Below the 20 s of a job, with the 5 s that a new connection may take to be refused.
SILENCE_MAX_S = 12.0
# It warns of what follows from an error ("pipeline aborted"), and that error is raised.
logging.getLogger("psycopg").setLevel(logging.ERROR)


class HeardConnection(Connection[Any]):
    """A connection that is given up when it says nothing for long while something is asked of it.

    TCP notices a machine that is gone, but only the next one: behind a pooler or a load balancer that one lives, and
    takes our words for a server that does not, while another has long taken its place.
    """

    silence_max_s = SILENCE_MAX_S
    _trip: ExitStack | None = None
    _departed = False

    @contextmanager
    def in_one_trip(self) -> Iterator[None]:
        """What is written in this block goes without waiting for each answer, until rows are asked for.

        An error of one shows there, or at the end of the block, which waits for all of them; of blocks inside others
        only the outermost does. Whoever writes says so with `depart`.
        """
        if self._trip is not None:
            yield
            return
        with ExitStack() as self._trip:
            self._trip.callback(self._arrived)
            yield

    def depart(self) -> None:
        """Something is written: within `in_one_trip`, what follows goes with it. Whoever only asks waits once less."""
        if self._trip is not None and not self._departed:
            self._trip.enter_context(self.pipeline())
            self._departed = True

    def arrive(self) -> None:
        """Wait for what is on its way, and from here on for each answer again."""
        if self._departed and self._trip is not None:
            self._trip.close()

    def _arrived(self) -> None:
        self._trip, self._departed = None, False

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        """psycopg comes here with every question, and wakes the generator ten times a second. Raises OperationalError.

        What was asked may have been done all the same, a commit too.
        """
        return super().wait(self._heard(gen), *args, **kwargs)

    def _heard(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        until = time.monotonic() + self.silence_max_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    until = time.monotonic() + self.silence_max_s
                elif time.monotonic() >= until:
                    self.pgconn.finish()
                    raise OperationalError(f"the server said nothing for {self.silence_max_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value
