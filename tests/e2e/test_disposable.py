"""Redis and the clock are disposable: any number of clocks, a Redis that throws jobs away, and nothing comes of it."""

import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from bridge.adapters.valkey import _socket_path
from tests.e2e.processes import INCIDENT_IO, PAGERDUTY, Bridge, alert, at_once

pytestmark = pytest.mark.e2e

ALERTS = 120
FILL = b"x" * 50_000


def titles(bridge: Bridge) -> Counter[str]:
    """How many incidents each title has upstream."""
    return Counter(str(one.incident.get("title", one.incident.get("name"))) for one in bridge.upstream())


def test_three_clocks_two_of_them_killed_make_no_call_twice(tmp_path: Path) -> None:
    accounts = {"pd": PAGERDUTY, "io": INCIDENT_IO}
    start = ("web", "worker.1", "worker.2", "clock.1", "clock.2", "clock.3")
    with Bridge(tmp_path, accounts=accounts, start=start) as bridge:
        bridge.answers("/readyz")

        def posts(thread: int) -> None:
            for number in range(thread, ALERTS, 4):
                if number in (30, 60):
                    bridge.kill(f"clock.{number // 30}")
                bridge.deliver(alert(f"p{number}", account=("pd", "io")[number % 2]))

        at_once(4, posts)
        wanted = {f"p{number}": 1 for number in range(ALERTS)}
        bridge.eventually(lambda: titles(bridge) == wanted, 40.0)
        bridge.eventually(lambda: all(one["state"] == "delivered" for one in bridge.every("deliveries")), 20.0)
        assert [one for one in bridge.every("deliveries") if one["attempts"] != 1] == []


def test_a_redis_that_evicts_jobs_delays_and_loses_nothing(tmp_path: Path) -> None:
    with Bridge(tmp_path, start=("web", "worker.1", "worker.2", "clock")) as bridge:
        bridge.answers("/readyz")
        client = redis.Redis(unix_socket_path=str(_socket_path(tmp_path / "var")), socket_timeout=5.0)
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", str(client.info("memory")["used_memory"] + 3_000_000))
        over = threading.Event()

        def fills() -> None:
            number = 0
            while not over.wait(0.002):
                with suppress(redis.RedisError):
                    client.set(f"fill:{number}", FILL)
                number += 1

        filling = threading.Thread(target=fills)
        filling.start()
        try:
            at_once(
                4, lambda thread: [bridge.deliver(alert(f"p{number}")) for number in range(thread, ALERTS, 4)] and None
            )
            wanted = {f"p{number}": 1 for number in range(ALERTS)}
            bridge.eventually(lambda: titles(bridge) == wanted, 90.0)
            evicted = client.info("stats")["evicted_keys"]
        finally:
            over.set()
            filling.join()
            client.close()
        assert evicted > 100, "nothing was evicted: the test tried nothing"
