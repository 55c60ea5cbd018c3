"""The Flask application of one web process."""

from flask import Blueprint, Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge.adapters import logs
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.web.packed import packed
from bridge.entrypoints.web.receiver import RETRY_AFTER_S, answer


class _Sessions(SecureCookieSessionInterface):
    """Flask's own sessions; who sends no cookie has none to verify, so a webhook does not pay for the means to."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)


def create_app(
    blueprints: tuple[Blueprint, ...], *, trusted_proxies: int = 0, session_key: str = "", https: bool = False
) -> Flask:
    """An application of these blueprints; every error is a JSON answer with a sentence.

    `session_key` signs the cookies of the pages, which with `https` are sent over nothing else.
    """
    app = Flask("incident_bridge", static_folder=None, template_folder=None)
    app.config.update(
        SECRET_KEY=session_key,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=https,
        WTF_CSRF_TIME_LIMIT=12 * 3600,
    )
    app.session_interface = _Sessions()
    packed(app)
    for one in blueprints:
        app.register_blueprint(one)
    if trusted_proxies:
        hops = trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]

    @app.errorhandler(HTTPException)
    def _refused(error: HTTPException) -> Response:
        response = answer(error.code or 500, error=(error.description or error.name).split(". ")[0])
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    @app.errorhandler(LedgerUnavailable)
    def _unavailable(error: LedgerUnavailable) -> Response:
        logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error), path=request.path)
        return answer(503, error="the ledger does not answer; try again", retry_after=RETRY_AFTER_S)

    @app.errorhandler(Exception)
    def _failed(error: Exception) -> Response:
        logs.get().error(logs.REQUEST_FAILED, method=request.method, path=request.path, exc_info=error)
        return answer(500, error="this is a fault of Incident Bridge; its log says more")

    return app
