"""PostgreSQL's driver, which by itself waits for an answer however long none comes."""

import time
from collections.abc import Generator
from typing import Any

from psycopg import Connection, OperationalError

# Above the 10 s after which the server lets go of what a host that is gone had locked: who waits for that gets it.
# Below the 20 s of a job, with the 5 s that a new connection may take to be refused.
SILENCE_MAX_S = 12.0


class HeardConnection(Connection[Any]):
    """A connection that is given up when it says nothing for long while something is asked of it.

    TCP notices a machine that is gone, but only the next one: behind a pooler or a load balancer that one lives, and
    takes our words for a server that does not, while another has long taken its place.
    """

    silence_max_s = SILENCE_MAX_S

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
