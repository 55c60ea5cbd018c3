"""The web application as a process builds it, over a ledger of a test's own, without a socket."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge.adapters.ledger import Ledger
from bridge.config.models import ProxySettings, TokenSettings, UserSettings
from bridge.domain.alert import Reading
from bridge.domain.decision import Decided
from bridge.entrypoints.web import api, health, receiver, ui
from bridge.entrypoints.web.access import Gate
from bridge.entrypoints.web.app import create_app
from bridge.entrypoints.web.reloads import reload_families

SESSION_KEY = "a key of this test"
RATES = {"pd": ("pagerduty", "12/min")}


class Nothing:
    """Rules that say nothing."""

    hash = ""

    @staticmethod
    def decide(readings: tuple[Reading, ...]) -> tuple[Decided, ...]:
        return tuple(Decided(reading=reading) for reading in readings)


def web_app(
    ledger: Ledger,
    *,
    users: Mapping[str, UserSettings] | None = None,
    tokens: Mapping[str, TokenSettings] | None = None,
    proxy: ProxySettings | None = None,
    trusted_proxies: int = 0,
    session_key: str = SESSION_KEY,
    **gate: Any,
) -> Flask:
    """All blueprints of a web process."""
    door = Gate(
        username="admin",
        password_hash=None,
        tokens=tokens or {},
        public_url="http://127.0.0.1:8080",
        users=users or {},
        proxy=proxy,
        guards=ledger,
        **gate,
    )
    incoming = receiver.Receiver(
        sources={},
        ruling=Nothing,
        settle=lambda prepare: ledger.settle([prepare()])[0][0],
        new_id=ledger.new_id,
        now=ledger.time_here,
        body_max_bytes=1,
        count=lambda source, what: None,
    )
    reading = api.Api(ledger=ledger, gate=door, rates=RATES, rules=list, poke=lambda lanes: None)
    pages = ui.Ui(
        ledger=ledger, gate=door, rates=RATES, rules=list, book=lambda: "b", poke=lambda lanes: None, missing=list
    )
    app = create_app(
        (
            receiver.blueprint(incoming),
            api.blueprint(reading),
            health.blueprint(
                ledger,
                partial(health.not_ready, ledger, ledger.is_writable),
                door,
                health.Tally(),
                RATES,
                lambda: reload_families(ledger.rules_state()),
            ),
            ui.blueprint(pages),
        ),
        trusted_proxies=trusted_proxies,
        session_key=session_key,
    )
    app.config["TESTING"] = True
    return app


class Browser:
    """A client that keeps its cookies and sends each form with its token."""

    def __init__(self, app: Flask, **environ: Any) -> None:
        self._environ = {"REMOTE_ADDR": "127.0.0.1", **environ}
        self._client: FlaskClient = app.test_client()

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._client.get(path, base_url="http://127.0.0.1", environ_overrides=self._environ, **options)

    def post(self, path: str, **form: str) -> TestResponse:
        """Send a form, as from the page at /login or, where that is none, any other."""
        return self._post(path, data={"csrf_token": self.token(), **form})

    def api(self, path: str, *, method: str = "POST", token: bool = True, **content: Any) -> TestResponse:
        """Send JSON, as a page's script does."""
        headers = {"X-CSRFToken": self.token()} if token else {}
        return self._post(path, method=method, json=content, headers=headers)

    def _post(self, path: str, *, method: str = "POST", **options: Any) -> TestResponse:
        return self._client.open(
            path, method=method, base_url="http://127.0.0.1", environ_overrides=self._environ, **options
        )

    def token(self) -> str:
        answer = self.get("/login")
        text = answer.text if answer.status_code == 200 else self.get("/").text
        return text.partition('name="csrf-token" content="')[2].partition('"')[0]

    def log_in(self, username: str, password: str) -> TestResponse:
        return self.post("/login", username=username, password=password)
