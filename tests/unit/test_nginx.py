"""nginx's part, as shipped in deploy/, lets through what the receiver answers."""

import re
from datetime import datetime
from pathlib import Path

from bridge.adapters.ledger import Settled
from bridge.entrypoints.web.app import create_app
from bridge.entrypoints.web.receiver import Receiver, blueprint
from tests.web_apps import Nothing

CONFIGURATION = Path("deploy/nginx.conf").read_text(encoding="utf-8")


def _never(_prepare: object) -> Settled:
    raise AssertionError("nobody posts here")


def methods_of_the_receiver() -> set[str]:
    receiver = Receiver(
        sources={},
        ruling=Nothing,
        settle=_never,
        new_id=str,
        now=datetime.now,
        body_max_bytes=1,
        count=lambda _source, _what: None,
    )
    routes = create_app((blueprint(receiver),)).url_map.iter_rules()
    return {method for rule in routes if rule.rule.startswith("/webhooks/") for method in rule.methods or ()}


def test_every_method_of_the_receiver_comes_through() -> None:
    named = re.findall(r"limit_except ([A-Z ]+) \{ deny all; \}", CONFIGURATION)
    assert [set(one.split()) for one in named] == [methods_of_the_receiver()]
