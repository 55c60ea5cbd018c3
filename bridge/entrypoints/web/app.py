"""The Flask application of one web process."""

from flask import Blueprint, Flask, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge.adapters import logs
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.web.receiver import RETRY_AFTER_S, answer


def create_app(blueprints: tuple[Blueprint, ...], *, trusted_proxies: int = 0) -> Flask:
    """An application of these blueprints; every error is a JSON answer with a sentence."""
    app = Flask("incident_bridge", static_folder=None, template_folder=None)
    for one in blueprints:
        app.register_blueprint(one)
    if trusted_proxies:
        hops = trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]

    @app.get("/")
    def front() -> Response:
        return answer(
            200,
            product="Incident Bridge",
            webhooks="POST /webhooks/<source>",
            api=["/api/v1/events", "/api/v1/incidents", "/api/v1/deliveries", "/api/v1/lanes", "/api/v1/rules"],
            health=["/healthz", "/readyz", "/metrics"],
        )

    @app.errorhandler(HTTPException)
    def _refused(error: HTTPException) -> Response:
        response = answer(error.code or 500, error=(error.description or error.name).split(". ")[0])
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    @app.errorhandler(LedgerUnavailable)
    def _unavailable(error: LedgerUnavailable) -> Response:
        logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error))
        return answer(503, error="the ledger does not answer; try again", retry_after=RETRY_AFTER_S)

    @app.errorhandler(Exception)
    def _failed(error: Exception) -> Response:
        logs.get().error(logs.REQUEST_FAILED, exc_info=error)
        return answer(500, error="this is a fault of Incident Bridge; its log says more")

    return app
