"""The running bridge that the browser looks at: a rule that breaks, an account that refuses, a storm, a dead letter."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridge.sandbox import SandboxServer
from bridge.sandbox.calls import scripted_in
from tests.e2e.processes import ACCOUNTS, PAGERDUTY, UNLIMITED, Bridge, alert

SLOW = {**PAGERDUTY, "rate": "2/min", "burst": 2, "reserve": 1, "max_wait": "30s"}
STORM = 40
SET_WITHIN_S = 60.0  # no promise: the machine may be busy
ROUTES = {"broken": "pd", "gone": "pd", "eu": "eu", "storm": "slow"}


class Scene(Bridge):
    """A bridge and a second upstream, which refuses our key until told otherwise."""

    elsewhere: SandboxServer
    events: dict[str, str]

    def tells(self, kind: str, title: str, **more: Any) -> str:
        """One alert that the rule of that name takes; its event."""
        labels = {"kind": kind, "team": "checkout", **more.pop("labels", {})}
        body = alert(title, description=f"{title}, says a test.", labels=labels, **more)
        event: str = self.deliver(body)["event"]
        return event

    def incident_of(self, event: str) -> str:
        """The incident that an event opened."""
        found: str = self.get(f"events/{event}")["alerts"][0]["incident"]
        return found


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """A running Scene in which everything went wrong that the pages have to explain."""
    elsewhere = SandboxServer(rates=UNLIMITED, journal=folder / "elsewhere.jsonl")
    elsewhere.start()
    eu = {**PAGERDUTY, "token": "${EU_TOKEN}", "base_url": f"{elsewhere.base_url}/pagerduty"}
    accounts = {**ACCOUNTS, "eu": eu, "slow": SLOW}
    bridge = Scene(folder / "bridge", env={"EU_TOKEN": "a-key-of-eu"}, accounts=accounts)
    bridge.elsewhere, bridge.events = elsewhere, {}
    rules = _rule("broken", "{{ payload.metric.name }} is down") + _rule("gone") + _rule("eu") + _rule("storm")
    (folder / "bridge" / "rules" / "a-team.yaml").write_text("rules:\n" + rules)
    try:
        with bridge:
            _acted(bridge)
            yield bridge
    finally:
        elsewhere.stop()


def _rule(kind: str, title: str = "[{{ alert.severity | upper }}] {{ alert.title }}") -> str:
    return f"""\
  - id: {kind}
    match: {{source: lab, labels.kind: {kind}}}
    account: {ROUTES[kind]}
    incident:
      title: "{title}"
      service: Checkout API
      urgency: high
"""


def refuse_key(bridge: Scene) -> None:
    """The second upstream answers 401 to everything."""
    body = {"error": {"message": "Account Not Found", "code": 2012}}
    behaviour = {"match": {"api": "pagerduty"}, "times": 1_000_000, "do": {"status": 401, "body": body}}
    bridge.elsewhere.script.add(scripted_in(behaviour))


def _acted(bridge: Scene) -> None:
    refuse_key(bridge)
    refusal = {"error": {"message": "Invalid Input Provided", "code": 2001, "errors": ["Service is archived"]}}
    bridge.events["fine"] = bridge.tells("pd", "Checkout answers 502 for everybody", account="pd")
    bridge.events["ticket"] = bridge.tells("io", "Invoices cannot be downloaded", account="io", severity="error")
    bridge.arrives("Checkout answers 502 for everybody", SET_WITHIN_S)
    for number in (1, 2):
        bridge.script(match={"api": "pagerduty", "method": "POST"}, times=2, do={"status": 400, "body": refusal})
        bridge.events[f"gone {number}"] = bridge.tells("gone", f"Search errors are at {number} %")
        bridge.eventually(lambda n=number: len(_dead(bridge)) == n, SET_WITHIN_S)
    bridge.events["broken"] = bridge.tells("broken", "Payments worker restarts every minute")
    bridge.events["eu"] = bridge.tells("eu", "Frankfurt latency is 4 s")
    for number in range(STORM):
        severity = "critical" if number % 10 == 0 else "warning"
        bridge.events["storm"] = bridge.tells("storm", f"Disk is full on db-{number:02}", severity=severity)
    bridge.eventually(lambda: _held(bridge) == "auth", SET_WITHIN_S)
    bridge.eventually(lambda: len(bridge.get("incidents?state=folded")["items"]) > 10, SET_WITHIN_S)


def _dead(bridge: Scene) -> list[Any]:
    return list(bridge.get("deliveries?state=dead")["items"])


def _held(bridge: Scene) -> Any:
    return next(lane for lane in bridge.get("lanes")["items"] if lane["account"] == "eu")["held_by"]
