"""Who looks at the pages: a login that expires, a limit on guessing, and a CSRF token in every form."""

from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, g, redirect, render_template, request, session
from flask_wtf.csrf import validate_csrf

from bridge.domain.access import How, Role, Who
from bridge.entrypoints.web import access, auditing, devices
from bridge.entrypoints.web.access import Gate, Refusal

OLD_LOGIN = "This page was out of date, or the browser keeps no cookies. Log in once more."
TYPED = frozenset({"text", "reason", "why", "match", "body", "rules"})  # and the fields of a dead letter
_OPEN = frozenset({"ui.login", "ui.static"})


def guard(routes: Blueprint, gate: Gate) -> None:
    """Every page asks for a login, or for this machine; every POST for its token."""

    @routes.before_request
    def _guard() -> Any:
        if request.endpoint == "ui.static":
            return None
        if _holds_nul():
            return _problem("There is nothing with the character NUL in it here", 400)
        if request.method not in access.SAFE_METHODS:
            try:
                validate_csrf(request.form.get("csrf_token") or request.headers.get("X-CSRFToken"))
            except ValueError:  # wtforms' ValidationError is one
                if request.endpoint == "ui.login" and gate.has_logins:
                    return _login(OLD_LOGIN, 400, request.form.get("username", "")[:200])
                return _not_taken("This form has expired", 400)
        if request.endpoint in _OPEN and gate.has_logins:
            return None
        refusal = gate.admit(request)
        return None if refusal is None else _refused(gate, refusal)

    @routes.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if not gate.has_logins:
            return redirect("/", 303)
        if request.method == "GET":
            return _login(None)
        name, password = request.form.get("username", ""), request.form.get("password", "")
        device = devices.known(request, name, gate.mark_of(name))
        who = gate.log_in(name[:200], password[:1000], request.remote_addr or "", device=device)
        if isinstance(who, Refusal):
            response = Response(*_login(who.sentence, who.status))
            if who.status == 429:
                response.headers["Retry-After"] = "30"
            return response
        wanted = session.get("wanted", "/")
        gate.begin_session(who)
        g.who = who
        auditing.did("login")
        inside = redirect(wanted if _is_page(wanted) else "/", 303)
        devices.remember(inside, who.name, gate.mark_of(who.name), device)
        return inside

    @routes.post("/logout")
    @access.needs(Role.VIEW)
    def logout() -> Any:
        gate.end_session()
        auditing.did("logout")
        return redirect("/login" if gate.has_logins else "/", 303)


def _holds_nul() -> bool:
    """Whether the address or the form has a NUL in it: nobody types one, and PostgreSQL takes none."""
    said = (*request.args.items(multi=True), *request.form.items(multi=True), *(request.view_args or {}).items())
    return any("\x00" in text for pair in said for text in pair)


def _login(problem: str | None, status: int = 200, username: str = "") -> tuple[str, int]:
    return render_template("login.html", problem=problem, username=username), status


def _not_taken(sentence: str, status: int) -> tuple[str, int]:
    """A form that was not taken, of a page that stood open too long: the way back to it, and what was typed."""
    typed = {name.partition(":")[2] or name: said for name, said in request.form.items() if _is_typed(name) and said}
    back = page_of_form(request.path)
    return render_template("problem.html", sentence=sentence, typed=typed, back=back, nothing_changed=True), status


def _is_typed(name: str) -> bool:
    return name in TYPED or name.startswith(("text:", "json:"))


def page_of_form(path: str) -> str:
    """The page on which the form stands that posts to this path."""
    room, *rest = path.strip("/").split("/")
    if room in ("events", "incidents", "dead"):
        return f"/{room}/{quote(rest[0])}" if len(rest) > 1 else f"/{room}"
    return f"/{room}" if room in ("quiet", "rules", "playground") else "/"


def _problem(sentence: str, status: int) -> tuple[str, int]:
    """A page; names that a proxy gave are escaped in it."""
    return render_template("problem.html", sentence=sentence), status


def _refused(gate: Gate, refusal: Refusal) -> Any:
    if refusal.status != 401 or not gate.has_logins:
        return _problem(refusal.sentence, refusal.status)
    if request.method != "GET" or access.TAIL in request.headers:  # the tail would show the login among its rows
        return _not_taken("Log in first", 401)
    session["wanted"] = request.full_path.rstrip("?")
    return redirect("/login", 303)


def _is_page(path: object) -> bool:
    """Whether this is a path of ours, and no other site's address."""
    return isinstance(path, str) and path.startswith("/") and not path.startswith(("//", "/\\", "/login"))


def name_of(who: Who) -> str:
    """Who is looking, for the head of a page."""
    return "this machine only" if who.how is How.LOOPBACK else f"{who.name} ({who.role.value})"
