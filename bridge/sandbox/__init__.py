"""Strict local stand-ins of PagerDuty and incident.io: for `up`, for tests, for trying rules. They page nobody.

They refuse what the real ones refuse, remember what they were told, and can be told to misbehave (control.py). They
share no code with the bridge: what they accept was written from the vendors' documents, not from what the bridge sends.

    with SandboxServer() as sandbox:                 # a thread of this process, on a free port
        requests.post(f"{sandbox.pagerduty_url}/incidents", ...)

    python -m bridge.sandbox --listen 127.0.0.1:8081 --journal var/sandbox.jsonl
"""

from bridge.sandbox.app import Sandbox, create_app
from bridge.sandbox.limits import Rate, Rates
from bridge.sandbox.server import SandboxServer

__all__ = ["Rate", "Rates", "Sandbox", "SandboxServer", "create_app"]
