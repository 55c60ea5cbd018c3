"""Who looks at the pages: a login that expires, a limit on guessing, and a CSRF token in every form."""

import threading
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, redirect, render_template, request, session
from flask_wtf.csrf import validate_csrf

from bridge.entrypoints.web.access import Gate

EXPIRES_AFTER = timedelta(hours=12)
GUESSES_MAX = 10  # wrong passwords of all together, per process
GUESSES_WITHIN_S = 300.0
_OPEN = frozenset({"ui.login", "ui.static"})


class Guesses:
    """Wrong passwords of late: too many close the door for a while."""

    def __init__(self) -> None:
        self._at: deque[float] = deque()
        self._lock = threading.Lock()

    def too_many(self) -> bool:
        with self._lock:
            while self._at and time.monotonic() - self._at[0] > GUESSES_WITHIN_S:
                self._at.popleft()
            return len(self._at) >= GUESSES_MAX

    def add(self) -> None:
        with self._lock:
            self._at.append(time.monotonic())


def is_known(gate: Gate) -> bool:
    """Whether this request's session has logged in, not too long ago."""
    if session.get("user") != gate.username:
        return False
    since = datetime.fromtimestamp(float(session.get("since", 0.0)), UTC)
    return datetime.now(UTC) - since < EXPIRES_AFTER


def guard(routes: Blueprint, gate: Gate) -> None:
    """Every page asks for a login, or for this machine; every POST for its token."""
    guesses = Guesses()

    @routes.before_request
    def _guard() -> Any:
        if request.endpoint == "ui.static":
            return None
        if request.method == "POST":
            try:
                validate_csrf(request.form.get("csrf_token") or request.headers.get("X-CSRFToken"))
            except ValueError:  # wtforms' ValidationError is one
                sentence = "This form has expired. Load the page again"
                return render_template("problem.html", sentence=sentence), 400
        if gate.password_hash is None:
            refusal = gate.refusal(request)
            return None if refusal is None else (refusal.sentence, refusal.status)
        if is_known(gate) or request.endpoint in _OPEN:
            return None
        return redirect("/login", 303) if request.method == "GET" else ("log in first", 401)

    @routes.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if gate.password_hash is None:
            return redirect("/", 303)
        if request.method == "GET":
            return render_template("login.html", problem=None)
        if guesses.too_many():
            sentence = "Too many wrong passwords; wait five minutes."
            return render_template("login.html", problem=sentence), 429
        if not gate.knows_login(request.form.get("username"), request.form.get("password")):
            guesses.add()
            return render_template("login.html", problem="That name and password do not belong together."), 401
        session.clear()
        session.update(user=gate.username, since=time.time())
        return redirect("/", 303)

    @routes.post("/logout")
    def logout() -> Any:
        session.clear()
        return redirect("/login", 303)
