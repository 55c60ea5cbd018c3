"""The Flask application of one web process."""

from flask import Blueprint, Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge.adapters import logs
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.web.packed import packed
from bridge.entrypoints.web.receiver import RETRY_AFTER_S, answer, refused

FORMS_MAX_BYTES = 1 << 20  # of what pages and the API take; the receiver counts its own bytes, up to server.max_body


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
        MAX_CONTENT_LENGTH=FORMS_MAX_BYTES,
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
        response = refused(error)
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    @app.errorhandler(ParseException)
    def _unreadable(error: ParseException) -> Response:
        """A body in chunks that are none. What gunicorn says quotes the body, which nobody is to read in a log."""
        logs.get().warning(logs.REQUEST_UNREADABLE, path=_line(request.path), kind=type(error).__name__)
        return answer(400, error="the body cannot be read: its chunks are malformed", close=True)

    @app.errorhandler(LedgerUnavailable)
    def _unavailable(error: LedgerUnavailable) -> Response:
        logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error), path=_line(request.path))
        return answer(503, error="the ledger does not answer; try again", retry_after=RETRY_AFTER_S)

    @app.errorhandler(Exception)
    def _failed(error: Exception) -> Response:
        logs.get().error(logs.REQUEST_FAILED, method=request.method, path=_line(request.path), exc_info=error)
        return answer(500, error="this is a fault of Incident Bridge; its log says more")

    return app


def _line(path: str) -> str:
    """An address as a log on a terminal may show it."""
    return path if path.isprintable() else ascii(path)
