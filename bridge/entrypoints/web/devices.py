"""Browsers that a user has logged in with before; they count their own guesses of that user's password.

Guesses are counted by name, so whoever guesses one again and again would keep its user out of the pages, in the night
of all times. A cookie beside the session's says that a browser was in before; it outlives the logout and opens nothing.
(OWASP, "Slow Down Online Guessing Attacks with Device Cookies".)
"""

import secrets
from datetime import timedelta

from flask import Request, current_app
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.wrappers import Response

KEPT = timedelta(days=90)


def known(request: Request, username: str, mark: str) -> str | None:
    """The id of the browser that asks, once this user, with the password of that mark, was in with it."""
    try:
        said = _signer().loads(request.cookies.get(cookie(), ""), max_age=int(KEPT.total_seconds()))
    except BadData:
        return None
    return str(said["id"]) if (said["user"], said["mark"]) == (username, mark) else None


def remember(response: Response, username: str, mark: str, device: str | None) -> None:
    """With this answer the browser knows that this user was in with it."""
    said = {"user": username, "mark": mark, "id": device or secrets.token_urlsafe(16)}
    response.set_cookie(
        cookie(),
        str(_signer().dumps(said)),
        max_age=KEPT,
        path="/login",  # nobody else asks for it
        httponly=True,
        samesite="Lax",
        secure=bool(current_app.config["SESSION_COOKIE_SECURE"]),
    )


def cookie() -> str:
    """What the cookie is called: like the session's, for it is of the same bridge."""
    return f"{current_app.config['SESSION_COOKIE_NAME']}_device"


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.secret_key), salt="device")
