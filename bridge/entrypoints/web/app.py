"""The Flask application of one web process."""

import hashlib

from flask import Blueprint, Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from gunicorn.http.errors import ParseException
from itsdangerous import BadSignature
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge.adapters import logs
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.web.packed import packed
from bridge.entrypoints.web.receiver import RETRY_AFTER_S, answer, failed, line, refused

FORMS_MAX_BYTES = 1 << 20  # of what pages and the API take; the receiver counts its own bytes, up to server.max_body


class _Sessions(SecureCookieSessionInterface):
    """Flask's own sessions; who sends no cookie has none to verify, so a webhook does not pay for the means to.

    How old one may be is the gate's to say. Flask would throw away what a host signed whose clock is a second ahead.
    """

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        cookie = request.cookies.get(self.get_cookie_name(app))
        if cookie is None:
            return self.session_class()
        serializer = self.get_signing_serializer(app)
        if serializer is None:
            return None
        try:
            return self.session_class(serializer.loads(cookie))
        except BadSignature:
            return self.session_class()


def cookie_of(session_key: str) -> str:
    """What the session's cookie is called: for each key another name.

    Browsers keep a host's cookies for all of its ports: two bridges there, or whatever else, would log out each other's
    users.
    """
    return f"incident_bridge_{hashlib.sha256(f'cookie {session_key}'.encode()).hexdigest()[:8]}"


def create_app(
    blueprints: tuple[Blueprint, ...], *, trusted_proxies: int = 0, session_key: str = "", https: bool = False
) -> Flask:
    """An application of these blueprints; every error is a JSON answer with a sentence.

    `session_key` signs the cookies of the pages, which with `https` are sent over nothing else.
    """
    app = Flask("incident_bridge", static_folder=None, template_folder=None)
    app.config.update(
        SECRET_KEY=session_key,
        SESSION_COOKIE_NAME=cookie_of(session_key),
        MAX_CONTENT_LENGTH=FORMS_MAX_BYTES,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=https,
        WTF_CSRF_TIME_LIMIT=None,  # a token is good for its session: by time it would be for one host's clock only
    )
    app.session_interface = _Sessions()
    packed(app)
    for one in blueprints:
        app.register_blueprint(one)
    if trusted_proxies:
        hops = trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]

    app.register_error_handler(HTTPException, refused)
    app.register_error_handler(Exception, failed)

    @app.errorhandler(ParseException)
    def _unreadable(error: ParseException) -> Response:
        """A body in chunks that are none. What gunicorn says quotes the body, which nobody is to read in a log."""
        logs.get().warning(logs.REQUEST_UNREADABLE, path=line(request.path), kind=type(error).__name__)
        return answer(400, error="the body cannot be read: its chunks are malformed", close=True)

    @app.errorhandler(LedgerUnavailable)
    def _unavailable(error: LedgerUnavailable) -> Response:
        logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error), path=line(request.path))
        return answer(503, error="the ledger does not answer; try again", retry_after=RETRY_AFTER_S)

    return app
