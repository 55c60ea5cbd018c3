"""Who may do what: logins, sessions, tokens, proxies, roles; on both databases, for guesses are counted there."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog
from argon2 import PasswordHasher
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner, URLSafeTimedSerializer
from sqlalchemy import text

from bridge.adapters.ledger import EventQuery, Ledger
from bridge.config.models import ProxySettings, TokenSettings, UserSettings
from bridge.domain.access import GUESSES_AT_ONCE, Role
from bridge.domain.delivery import PermanentFailure, Reason
from bridge.domain.silences import Silence
from bridge.entrypoints.web.app import cookie_of
from bridge.entrypoints.web.ui.letters import BULK_MAX
from bridge.entrypoints.web.ui.sessions import page_of_form
from tests.ledgers import MovedDatabase, claim, fires, ledger_of, record, route, settle
from tests.web_apps import SESSION_KEY, Browser, web_app

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery staple"
SESSION = cookie_of(SESSION_KEY)
DEVICE = f"{SESSION}_device"
USERS = {
    role.value: UserSettings(password_hash=CHEAP.hash(f"{role} {PASSWORD}"), role=role)
    for role in (Role.VIEW, Role.OPERATE, Role.ADMIN)
}
TOKENS = {f"t-{role}": TokenSettings(secret=f"{role}-secret", role=role) for role in Role}
PROXY = ProxySettings(
    header="X-Forwarded-User",
    role=None,
    roles_header="X-Groups",
    hops=2,
    peers=(ipaddress.ip_network("10.0.0.0/8"),),
)


def password(role: str) -> str:
    return f"{role} {PASSWORD}"


@pytest.fixture
def app(ledger: Ledger) -> Flask:
    return web_app(ledger, users=USERS, tokens=TOKENS)


@pytest.fixture
def moved(ledger_url: str) -> Iterator[Ledger]:
    opened = ledger_of(MovedDatabase(ledger_url), pd=route())
    yield opened
    opened.close()


def test_a_login_leads_to_the_page_that_was_asked_for(app: Flask) -> None:
    browser = Browser(app)
    asked = browser.get("/incidents?state=open")
    assert (asked.status_code, asked.location) == (303, "/login")
    inside = browser.log_in("view", password("view"))
    assert (inside.status_code, inside.location) == (303, "/incidents?state=open")
    assert "view (view)" in browser.get("/").text


def test_a_form_of_a_page_that_stood_open_over_night_leads_back_to_it_with_what_was_typed(app: Flask) -> None:
    browser = Browser(app)
    browser.log_in("operate", password("operate"))
    old = browser.token()
    browser.post("/logout")
    browser.log_in("operate", password("operate"))  # in another tab
    said = {"csrf_token": old, "text": "the <queue> team has it"}
    answer = browser.post("/incidents/01M80AAWRDZ4NEWV1X7YG6BBCE/note", **said)
    assert answer.status_code == 400
    assert "Nothing was changed" in answer.text
    assert '<a href="/incidents/01M80AAWRDZ4NEWV1X7YG6BBCE">Load it again</a>' in answer.text
    assert "the &lt;queue&gt; team has it</textarea>" in answer.text
    assert old not in answer.text


def test_a_form_whose_session_is_over_leads_through_the_login_to_its_page(app: Flask) -> None:
    browser = Browser(app)
    browser.log_in("operate", password("operate"))
    with browser._client.session_transaction(base_url="http://127.0.0.1") as session:
        session["seen"] -= timedelta(hours=3).total_seconds()
    answer = browser.post("/dead/01M80AAWRDZ4NEWV1X7YG6BBCE/edit", **{"json:body": '{"a": 1}', "do": "replay"})
    assert answer.status_code == 401
    assert "{&#34;a&#34;: 1}</textarea>" in answer.text
    back = "/dead/01M80AAWRDZ4NEWV1X7YG6BBCE"
    assert f'<a href="{back}">' in answer.text
    assert browser.get(back).location == "/login"
    assert browser.log_in("operate", password("operate")).location == back


def test_a_login_page_of_yesterday_asks_once_more_and_keeps_the_name(app: Flask) -> None:
    browser = Browser(app)
    answer = browser.post("/login", csrf_token="of yesterday", username="view", password=password("view"))
    assert answer.status_code == 400
    assert "Log in once more" in answer.text
    assert 'value="view"' in answer.text
    assert password("view") not in answer.text
    assert browser.log_in("view", password("view")).status_code == 303


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/lanes/pd/pause", "/"),
        ("/events/01M8/send", "/events/01M8"),
        ("/dead/bulk", "/dead"),
        ("/dead/01M8/discard", "/dead/01M8"),
        ("/quiet/01M8/end", "/quiet"),
        ("/rules/reload", "/rules"),
        ("/playground", "/playground"),
        ("/incidents/%22x/note", "/incidents/%2522x"),
    ],
)
def test_a_form_stands_on_one_page(path: str, page: str) -> None:
    assert page_of_form(path) == page


@pytest.mark.parametrize("wanted", ["//elsewhere.example", "/\\elsewhere.example", "/login"])
def test_a_login_leads_to_no_other_site(app: Flask, wanted: str) -> None:
    browser = Browser(app)
    browser.get(wanted)
    assert browser.log_in("view", password("view")).location == "/"


def test_viewers_read_and_operators_act(app: Flask) -> None:
    for role in Role:
        browser = Browser(app)
        browser.log_in(role.value, password(role.value))
        assert browser.get("/audit").status_code == 200
        allowed = role is not Role.VIEW
        assert browser.post("/lanes/pd/pause").status_code == (303 if allowed else 403)
        assert browser.api("/api/v1/lanes/pd/resume").status_code == (200 if allowed else 403)
        with app.test_client() as client:
            bearer = {"Authorization": f"Bearer {role}-secret"}
            acted = client.post("/api/v1/lanes/pd/resume", json={}, headers=bearer)
            assert acted.status_code == (200 if allowed else 403)
            assert client.get("/metrics", headers=bearer).status_code == 200


def test_only_an_admin_puts_other_rules_in_force_and_a_viewer_may_try_what_changes_nothing(app: Flask) -> None:
    for role in Role:
        browser = Browser(app)
        browser.log_in(role.value, password(role.value))
        refused = browser.api("/api/v1/reload").status_code == 403
        assert refused == (role is not Role.ADMIN)
        assert (browser.post("/rules/reload").status_code == 403) == (role is not Role.ADMIN)
        assert browser.api("/api/v1/silences/preview", match={"title": "x"}).status_code != 403
        assert browser.post("/playground").status_code != 403


def test_a_viewer_sees_no_form_it_may_not_send(ledger: Ledger, app: Flask) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), PermanentFailure(reason=Reason.FORBIDDEN, detail="no"))
    incident = ledger.incidents(limit=1).items[0]["id"]
    forms: dict[str, list[int]] = {}
    for role in Role:
        browser = Browser(app)
        browser.log_in(role.value, password(role.value))
        for path in ("/", f"/incidents/{incident}", "/dead", "/quiet", "/rules"):
            forms.setdefault(path, []).append(len(re.findall('<form[^>]*method="post"', browser.get(path).text)))
    harmless = {**dict.fromkeys(forms, 1), "/rules": 2}  # the way out; the check of the files, which changes nothing
    assert {path: found[0] for path, found in forms.items()} == harmless
    assert forms["/"][1] > 1
    assert forms[f"/incidents/{incident}"][1] > 1


def test_a_refused_role_is_told_what_it_lacks(app: Flask) -> None:
    browser = Browser(app)
    browser.log_in("view", password("view"))
    assert browser.api("/api/v1/lanes/pd/pause").get_json()["error"] == "view may view; this needs the role operate"


def test_a_session_acts_through_the_api_with_the_pages_token_only(app: Flask) -> None:
    browser = Browser(app)
    browser.log_in("operate", password("operate"))
    refused = browser.api("/api/v1/lanes/pd/pause", token=False)
    assert refused.status_code == 400
    assert "X-CSRFToken" in refused.get_json()["error"]
    assert browser.api("/api/v1/lanes/pd/pause").status_code == 200


@pytest.mark.parametrize(
    ("key", "before"), [("seen", timedelta(hours=2, minutes=1)), ("since", timedelta(hours=12, minutes=1))]
)
def test_a_session_ends_unused_and_ends_anyway(app: Flask, key: str, before: timedelta) -> None:
    browser = Browser(app)
    browser.log_in("view", password("view"))
    assert browser.get("/").status_code == 200
    with browser._client.session_transaction(base_url="http://127.0.0.1") as session:
        session[key] -= before.total_seconds()
    assert browser.get("/").location == "/login"


class _Ahead(TimestampSigner):
    """Of a web host whose clock is a minute ahead."""

    def get_timestamp(self) -> int:
        return super().get_timestamp() + 60


def test_what_a_host_signed_whose_clock_is_ahead_is_good_at_the_others(app: Flask) -> None:
    browser = Browser(app)
    browser.log_in("operate", password("operate"))
    assert browser.token()
    with browser._client.session_transaction(base_url="http://127.0.0.1") as session:
        session["since"] = session["seen"] = session["seen"] + 60
        held = dict(session)
    sessions = app.session_interface
    assert isinstance(sessions, SecureCookieSessionInterface)
    serializer = sessions.get_signing_serializer(app)
    assert serializer is not None
    serializer.signer = _Ahead
    browser._client.set_cookie(SESSION, str(serializer.dumps(held)), domain="127.0.0.1")
    assert browser.get("/").status_code == 200
    token = URLSafeTimedSerializer(str(app.secret_key), salt="wtf-csrf-token", signer=_Ahead).dumps(held["csrf_token"])
    assert browser.post("/lanes/pd/pause", csrf_token=str(token)).status_code == 303


def test_a_session_of_before_the_clock_was_set_back_is_over(app: Flask) -> None:
    browser = Browser(app)
    browser.log_in("view", password("view"))
    with browser._client.session_transaction(base_url="http://127.0.0.1") as session:
        session["since"] = session["seen"] = session["seen"] + timedelta(hours=1).total_seconds()
    assert browser.get("/").location == "/login"
    assert browser.log_in("view", password("view")).status_code == 303
    assert browser.get("/").status_code == 200


def test_two_bridges_of_one_host_log_nobody_out_of_the_other(ledger: Ledger, app: Flask) -> None:
    """A browser keeps the cookies of a host for all of its ports."""
    browser, other = Browser(app), web_app(ledger, users=USERS, session_key="the key of another bridge")
    browser.log_in("view", password("view"))
    browser._client.application = other
    assert browser.get("/").location == "/login"
    browser.log_in("view", password("view"))
    for one in (other, app):
        browser._client.application = one
        assert browser.get("/").status_code == 200


def test_the_live_tail_keeps_no_session_alive(app: Flask) -> None:
    browser = Browser(app)
    browser.log_in("view", password("view"))
    with browser._client.session_transaction(base_url="http://127.0.0.1") as session:
        session["seen"] -= 3600
        before = session["seen"]
    assert browser.get("/events", headers={"X-Rows-Only": "1"}).status_code == 200
    with browser._client.session_transaction(base_url="http://127.0.0.1") as session:
        assert session["seen"] == before
    browser.get("/events")
    with browser._client.session_transaction(base_url="http://127.0.0.1") as session:
        assert session["seen"] > before + 3000


def test_a_changed_password_ends_its_sessions(ledger: Ledger) -> None:
    browser = Browser(web_app(ledger, users=USERS))
    browser.log_in("view", password("view"))
    changed = {**USERS, "view": replace(USERS["view"], password_hash=CHEAP.hash("another"))}
    cookie = browser._client.get_cookie(SESSION, domain="127.0.0.1")
    assert cookie is not None
    other = Browser(web_app(ledger, users=changed))
    other._client.set_cookie(SESSION, cookie.value, domain="127.0.0.1")
    assert other.get("/").location == "/login"


def test_a_logout_ends_every_copy_of_its_cookie_in_every_process_and_no_other_session(moved: Ledger) -> None:
    browser, elsewhere = (Browser(web_app(moved, users=USERS)) for _ in range(2))
    for one in (browser, elsewhere):
        one.log_in("view", password("view"))
    cookie = browser._client.get_cookie(SESSION, domain="127.0.0.1")
    assert cookie is not None
    thief = Browser(web_app(moved, users=USERS))
    thief._client.set_cookie(SESSION, cookie.value, domain="127.0.0.1")
    assert thief.get("/").status_code == 200
    assert browser.post("/logout").location == "/login"
    thief._client.set_cookie(SESSION, cookie.value, domain="127.0.0.1")
    assert thief.get("/").location == "/login"
    assert thief.get("/api/v1/lanes").status_code == 401
    assert elsewhere.get("/").status_code == 200
    assert isinstance(moved.database, MovedDatabase)
    moved.database.ahead = timedelta(hours=13)  # by now the cookie has ended by itself
    elsewhere.post("/logout")
    with moved.database.reading() as transaction:
        assert len(transaction.connection.execute(text("SELECT id FROM ended_sessions")).all()) == 1


def test_wrong_names_and_wrong_passwords_get_one_answer(app: Flask) -> None:
    answers = {
        re.sub(r'(content|value)="[^"]+"', "", Browser(app).log_in(name, said).text)
        for name, said in (("view", "wrong"), ("nobody", "wrong"), ("nobody", password("view")), ("", ""))
    }
    assert len(answers) == 1


def test_guesses_are_counted_over_all_processes_and_grow_back(moved: Ledger) -> None:
    first, second = (web_app(moved, users=USERS) for _ in range(2))
    statuses = [
        Browser(app, REMOTE_ADDR=f"127.0.1.{number}").log_in("admin", "guess").status_code
        for number in range(GUESSES_AT_ONCE)
        for app in (first if number % 2 else second,)
    ]
    assert statuses == [401] * GUESSES_AT_ONCE
    assert Browser(first).log_in("admin", password("admin")).status_code == 429, "nor with the right one"
    assert Browser(first).log_in("view", password("view")).status_code == 303, "somebody else may"
    assert isinstance(moved.database, MovedDatabase)
    moved.database.ahead = timedelta(seconds=31)
    assert Browser(first).log_in("admin", password("admin")).status_code == 303


def test_who_guesses_elsewhere_locks_no_browser_out_that_was_in_before(app: Flask) -> None:
    browser = Browser(app, REMOTE_ADDR="10.2.0.1")
    browser.log_in("view", password("view"))
    browser.post("/logout")
    for number in range(GUESSES_AT_ONCE):
        Browser(app, REMOTE_ADDR=f"10.2.1.{number}").log_in("view", "guess")
    for number in range(GUESSES_AT_ONCE):
        Browser(app, REMOTE_ADDR="10.2.0.1").log_in(f"name {number}", "guess")
    assert Browser(app, REMOTE_ADDR="10.2.2.2").log_in("view", password("view")).status_code == 429
    assert browser.log_in("view", password("view")).status_code == 303


def test_a_browser_that_was_in_before_guesses_no_faster_and_for_nobody_else(ledger: Ledger, app: Flask) -> None:
    browser = Browser(app, REMOTE_ADDR="10.3.0.1")
    browser.log_in("view", password("view"))
    browser.post("/logout")
    for number in range(GUESSES_AT_ONCE):
        Browser(app, REMOTE_ADDR=f"10.3.1.{number}").log_in("admin", "guess")
    assert browser.log_in("admin", password("admin")).status_code == 429, "another user's"
    statuses = [browser.log_in("view", "guess").status_code for _ in range(GUESSES_AT_ONCE + 1)]
    assert statuses == [401] * GUESSES_AT_ONCE + [429]
    assert browser.log_in("view", password("view")).status_code == 429
    assert Browser(app, REMOTE_ADDR="10.3.2.2").log_in("view", password("view")).status_code == 303, "counted apart"


@pytest.mark.parametrize("made", ["nonsense", "", "the session", "another password"])
def test_a_cookie_of_our_making_is_needed_to_be_known(ledger: Ledger, app: Flask, made: str) -> None:
    browser = Browser(app, REMOTE_ADDR="10.4.0.1")
    inside = browser.log_in("view", password("view"))
    assert "Path=/login" in next(one for one in inside.headers.getlist("Set-Cookie") if one.startswith(f"{DEVICE}="))
    if made == "another password":
        changed = UserSettings(password_hash=CHEAP.hash("another"), role=Role.VIEW)
        app = web_app(ledger, users={**USERS, "view": changed})
        known = browser._client.get_cookie(DEVICE, domain="127.0.0.1", path="/login")
    else:
        known = browser._client.get_cookie(SESSION, domain="127.0.0.1") if made == "the session" else None
    for number in range(GUESSES_AT_ONCE):
        Browser(app, REMOTE_ADDR=f"10.4.1.{number}").log_in("view", "guess")
    stranger = Browser(app, REMOTE_ADDR="10.4.2.2")
    value = made if known is None else known.decoded_value
    stranger._client.set_cookie(DEVICE, value, domain="127.0.0.1", path="/login")
    word = "another" if made == "another password" else password("view")
    assert stranger.log_in("view", word).status_code == 429


def test_one_address_guesses_no_faster_by_changing_names(app: Flask) -> None:
    browser = Browser(app, REMOTE_ADDR="2001:db8::1")
    statuses = [browser.log_in(f"name {number}", "guess").status_code for number in range(GUESSES_AT_ONCE + 1)]
    assert statuses == [401] * GUESSES_AT_ONCE + [429]
    assert Browser(app, REMOTE_ADDR="2001:db8::ffff").log_in("view", password("view")).status_code == 429
    assert Browser(app, REMOTE_ADDR="2001:db8:0:1::1").log_in("view", password("view")).status_code == 303


def test_right_passwords_close_no_login(app: Flask) -> None:
    assert {Browser(app).log_in("view", password("view")).status_code for _ in range(GUESSES_AT_ONCE * 2)} == {303}


def test_passwords_sent_with_every_request_are_guesses_too(app: Flask) -> None:
    with app.test_client() as client:
        answers = [client.get("/api/v1/lanes", auth=("admin", f"guess {n}")) for n in range(GUESSES_AT_ONCE + 1)]
        assert [one.status_code for one in answers] == [401] * GUESSES_AT_ONCE + [429]
        assert client.get("/api/v1/lanes", auth=("view", password("view"))).status_code == 429, "same address"


def test_the_first_page_says_who_holds_an_account_back(app: Flask) -> None:
    browser = Browser(app)
    browser.log_in("operate", password("operate"))
    assert browser.api("/api/v1/lanes/pd/pause").status_code == 200
    assert "pd is held back by operate" in browser.get("/").text


def test_failed_logins_are_in_the_audit_but_cannot_fill_it(ledger: Ledger, app: Flask) -> None:
    for number in range(3 * GUESSES_AT_ONCE):
        Browser(app, REMOTE_ADDR=f"10.1.0.{number}").log_in(f"{PASSWORD} {number}", "guess")
    Browser(app, REMOTE_ADDR="10.2.0.1").log_in("admin", password("admin"))
    lines = ledger.audit(limit=500).items
    assert [one["action"] for one in lines] == ["login"] + ["login failed"] * GUESSES_AT_ONCE
    assert [one["role"] for one in lines] == ["admin"] + [""] * GUESSES_AT_ONCE, "who failed to log in has no role"
    assert PASSWORD not in str(lines), "who types a password as the name has it nowhere on record"
    assert (lines[0]["actor"], lines[0]["how"], lines[0]["address"]) == ("admin", "session", "10.2.0.1")


def proxied(app: Flask, **changes: str) -> Any:
    headers = {"X-Forwarded-User": "alice", "X-Groups": "staff, operate", "X-Forwarded-For": "192.0.2.7, 10.0.0.9"}
    headers |= {name.replace("_", "-"): value for name, value in changes.items() if name != "peer"}
    return Browser(app, REMOTE_ADDR=changes.get("peer", "10.0.0.8")).get("/api/v1/lanes", headers=headers)


def test_a_trusted_proxys_user_may_what_its_role_may(ledger: Ledger) -> None:
    app = web_app(ledger, proxy=PROXY, trusted_proxies=2)
    assert proxied(app).status_code == 200
    browser = Browser(app, REMOTE_ADDR="10.0.0.8", HTTP_X_FORWARDED_USER="alice", HTTP_X_GROUPS="operate")
    browser._environ["HTTP_X_FORWARDED_FOR"] = "192.0.2.7, 10.0.0.9"
    assert browser.api("/api/v1/lanes/pd/pause", token=False).status_code == 400, "the proxy's cookie comes by itself"
    assert browser.post("/lanes/pd/pause").status_code == 303
    (line,) = ledger.audit(limit=5).items
    assert (line["actor"], line["role"], line["how"], line["action"], line["object"], line["address"]) == (
        ("alice", "operate", "proxy", "pause", "account pd", "192.0.2.7")
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"peer": "192.0.2.1"}, "192.0.2.1 is not in ui.proxy.peers"),
        ({"peer": "127.0.0.1"}, "127.0.0.1 is not in ui.proxy.peers"),
        ({"X_Forwarded_For": "192.0.2.7"}, "X-Forwarded-For names 1"),
        ({"X_Forwarded_For": " , "}, "X-Forwarded-For names 0"),
        ({"X_Forwarded_User": "mallory, alice"}, "does not name one user"),
        ({"X_Groups": "operators"}, "alice has no role"),
        ({"X_Groups": ""}, "alice has no role"),
    ],
)
def test_a_user_nobody_trusted_names_is_refused(ledger: Ledger, changes: dict[str, str], sentence: str) -> None:
    refused = proxied(web_app(ledger, proxy=PROXY, trusted_proxies=2), **changes)
    assert refused.status_code == 403
    assert sentence in refused.get_json()["error"]


def test_a_refused_name_is_text_on_its_page(ledger: Ledger) -> None:
    named = {"X-Forwarded-User": "<b>alice</b>", "X-Groups": "none", "X-Forwarded-For": "192.0.2.7, 10.0.0.9"}
    refused = Browser(web_app(ledger, proxy=PROXY, trusted_proxies=2), REMOTE_ADDR="10.0.0.8").get("/", headers=named)
    assert refused.status_code == 403
    assert "&lt;b&gt;alice&lt;/b&gt; has no role" in refused.text
    assert "<b>" not in refused.text


def test_with_a_proxy_nobody_is_let_in_for_being_on_this_machine(ledger: Ledger) -> None:
    app = web_app(ledger, proxy=PROXY, trusted_proxies=2)
    assert Browser(app).get("/api/v1/lanes").status_code == 401
    assert Browser(app).get("/").status_code == 401


def test_every_change_asks_for_a_token_of_its_form_and_a_role(ledger: Ledger) -> None:
    app = web_app(ledger, users=USERS)
    changes = [
        rule for rule in app.url_map.iter_rules() if (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}
    ]
    assert len(changes) > 8
    viewer = Browser(app)
    viewer.log_in("view", password("view"))
    for rule in changes:
        if rule.endpoint == "receiver.receive":
            continue
        path = re.sub(r"<any\(([^,)]+)[^>]*>", r"\1", rule.rule)
        path = re.sub(r"<[^>]*>", "x", path)
        for method in (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}:
            sent = {} if method == "DELETE" else {"json": {}}
            bare = app.test_client().open(path, method=method, **sent)
            assert bare.status_code in (400, 401), path
            view = app.view_functions[rule.endpoint]
            if rule.endpoint != "ui.login" and not hasattr(view, "_needs"):
                assert (
                    viewer._post(path, method=method, headers={"X-CSRFToken": viewer.token()}, **sent).status_code
                    == 403
                )


def test_a_silence_is_ended_in_the_name_of_who_ended_it(ledger: Ledger, app: Flask) -> None:
    by_page, by_session, by_token = (quiet(ledger, reason) for reason in ("page", "session", "token"))
    browser = Browser(app)
    browser.log_in("operate", password("operate"))
    browser.post(f"/quiet/{by_page}/end")
    browser.api(f"/api/v1/silences/{by_session}", method="DELETE")
    with app.test_client() as client:
        client.delete(f"/api/v1/silences/{by_token}", headers={"Authorization": "Bearer operate-secret"})
    ended = [(ledger.silence(one) or {})["ended_by"] for one in (by_page, by_session, by_token)]
    assert ended == ["operate", "operate", "t-operate"]


def test_a_silence_that_is_over_is_not_ended_again_in_the_audit(ledger: Ledger, app: Flask) -> None:
    by_page, by_session = (quiet(ledger, reason) for reason in ("page", "session"))
    browser = Browser(app)
    browser.log_in("operate", password("operate"))
    before = len(ledger.audit(limit=50).items)
    for _ in range(2):
        browser.post(f"/quiet/{by_page}/end")
        browser.api(f"/api/v1/silences/{by_session}", method="DELETE")
    assert len(ledger.audit(limit=50).items) == before + 2


def test_what_was_not_done_does_not_look_as_if_it_was(ledger: Ledger, app: Flask) -> None:
    silence = quiet(ledger, "twice")
    browser = Browser(app)
    browser.log_in("operate", password("operate"))
    browser.post(f"/quiet/{silence}/end")
    assert '<p class="card said" role="status">The silence is over' in browser.get("/quiet").text
    browser.post(f"/quiet/{silence}/end")  # somebody else's page
    assert '<p class="card said not" role="alert">That silence was over already.' in browser.get("/quiet").text


def letters(ledger: Ledger, number: int) -> list[str]:
    """That many dead letters of one cause; their ids."""
    for one in range(number):
        settle(ledger, fires(f"letter {ledger.new_id()} {one}"))
        record(ledger, claim(ledger), PermanentFailure(reason=Reason.FORBIDDEN, detail="no"))
    return [one["id"] for one in ledger.deliveries(state="dead", limit=number).items]


def test_what_changed_nothing_is_not_in_the_audit(ledger: Ledger) -> None:
    (letter,) = letters(ledger, 1)
    (cause,) = ledger.dead_causes()
    about = {name: cause[name] for name in ("account", "rule", "reason")}
    browser = Browser(web_app(ledger))
    tried = [
        browser.post("/dead/bulk", do="discard", **about),
        browser.post("/dead/bulk", do="discard", sure="yes", **about),  # without a reason
        browser.post("/dead/bulk", do="discard", sure="yes", why="no", account="pd", rule="x", reason="x"),
        browser.post(f"/dead/{letter}/edit", **{"do": "preview", "text:title": "another"}),
        browser.post(f"/dead/{letter}/edit", **{"do": "replay", "json:title": "{"}),
        browser.post(f"/dead/{letter}/anew"),
        browser.post(f"/dead/{letter}/discard"),
        browser.post("/dead/x/replay"),
        browser.post("/incidents/x/resolve"),
        browser.post("/quiet/x/end"),
        browser.post("/events/x/send"),
        browser.post("/lanes/x/pause"),
        browser.post("/rules/reload"),
    ]
    assert {one.status_code for one in tried} == {200, 303}
    assert ledger.audit(limit=50).items == ()
    assert [one["id"] for one in ledger.deliveries(state="dead", limit=5).items] == [letter]


def test_many_letters_are_discarded_as_they_were_shown_and_each_is_in_the_audit(ledger: Ledger) -> None:
    shown = letters(ledger, 2)
    (cause,) = ledger.dead_causes()
    form = {"do": "discard", **{name: cause[name] for name in ("account", "rule", "reason")}}
    browser = Browser(web_app(ledger))
    asked = browser.post("/dead/bulk", **form)
    assert "Discard 2 letters?" in asked.text
    (late,) = letters(ledger, 1)
    ids = re.findall(r'name="id" value="([^"]+)"', asked.text)
    browser._post("/dead/bulk", data={"csrf_token": browser.token(), "sure": "yes", "why": "known", "id": ids, **form})
    assert [one["id"] for one in ledger.deliveries(state="dead", limit=5).items] == [late]
    lines = ledger.audit(limit=50).items
    assert {(one["action"], one["object"], one["detail"]["reason"]) for one in lines} == {
        ("discard", f"delivery {one}", "known") for one in shown
    }


def test_letters_that_were_shown_are_found_again_whatever_has_died_meanwhile(ledger: Ledger) -> None:
    shown = letters(ledger, 1)
    (cause,) = ledger.dead_causes()
    form = {"do": "replay", "sure": "yes", **{name: cause[name] for name in ("account", "rule", "reason")}}
    letters(ledger, BULK_MAX)
    browser = Browser(web_app(ledger))
    browser._post("/dead/bulk", data={"csrf_token": browser.token(), "id": shown, **form})
    assert "1 letter back in line" in browser.get("/").text
    assert [(one["action"], one["object"]) for one in ledger.audit(limit=5).items] == [
        ("replay", f"delivery {shown[0]}")
    ]


def contents(ledger: Ledger) -> dict[str, list[Any]]:
    """Every row of every table."""
    with ledger.database.reading() as transaction:
        tables = [
            *("events", "alerts", "problems", "series", "incidents", "members", "deliveries", "attempts", "lanes"),
            *("audit", "guesses", "ended_sessions", "tallies", "marks", "alarms", "name_fetches"),
        ]
        return {
            table: sorted(map(repr, transaction.connection.execute(text(f"SELECT * FROM {table}")))) for table in tables
        }


def quiet(ledger: Ledger, reason: str = "b") -> str:
    """A silence; its id."""
    now = ledger.time()
    made = Silence(
        id=ledger.new_id(),
        match={"title": "x"},
        starts_at=now,
        ends_at=now + timedelta(hours=1),
        author="a",
        reason=reason,
    )
    return str(ledger.silence_added(made)["id"])


def test_no_get_changes_anything(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    ids = {
        "event_id": ledger.events(EventQuery(limit=1)).items[0]["id"],
        "incident_id": ledger.incidents(limit=1).items[0]["id"],
        "delivery_id": ledger.deliveries(limit=1).items[0]["id"],
        "silence_id": quiet(ledger),
    }
    browser = Browser(web_app(ledger))
    before = contents(ledger)
    walked = []
    for rule in browser._client.application.url_map.iter_rules():
        if "GET" not in (rule.methods or set()) or rule.endpoint.endswith("static"):
            continue
        path = rule.rule
        for name in rule.arguments:
            path = re.sub(rf"<(\w+:)?{name}>", ids.get(name, "pd"), path)
        answer = browser.get(path)
        # this application has no rules, and the letter's page has no letter
        is_empty = answer.status_code == 404 and path.endswith(("/dry", "/test.zip", "/playground", ids["delivery_id"]))
        assert answer.status_code < 400 or path == "/readyz" or is_empty, (path, answer.text)
        walked.append(path)
    assert len(walked) > 15
    assert contents(ledger) == before


@pytest.mark.parametrize(
    "address",
    [
        *(f"/{kind}/x%00" for kind in ("events", "incidents", "dead")),
        *(f"/events/%00/{more}" for more in ("dry", "test.zip")),
        *(f"/incidents?{name}=x%00" for name in ("state", "account", "before")),
        *(f"/dead?account=a&{name}=%00" for name in ("account", "rule", "reason", "before")),
        *(f"/events?{name}=%00" for name in ("q", "before", "label")),
        *(
            "/playground?event=%00",
            "/quiet?event=%00",
            "/quiet?match=%00",
            "/audit?actor=a&actor=%00",
            "/rules?file=%00",
        ),
    ],
)
def test_a_page_asked_for_with_a_nul_is_refused_in_a_sentence(ledger: Ledger, address: str) -> None:
    answer = Browser(web_app(ledger)).get(address)
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "NUL" in answer.text


def test_a_form_with_a_nul_changes_nothing(ledger: Ledger) -> None:
    browser = Browser(web_app(ledger))
    for path, form in (
        ("/dead/x/discard", {"reason": "\x00"}),
        ("/dead/bulk", {"account": "\x00", "rule": "r", "reason": "x"}),
        ("/lanes/%00/pause", {}),
    ):
        assert browser.post(path, **form).status_code == 400, path
    assert ledger.audit(limit=1).items == ()


HTML = {"Accept": "text/html,*/*;q=0.8"}


def test_a_person_reads_of_a_refusal_on_a_page_and_a_program_in_json(ledger: Ledger) -> None:
    browser = Browser(web_app(ledger))
    token = browser.token()
    for path, form, status in (
        ("/nothing", None, 404),
        ("/rules/reload", None, 405),
        ("/incidents/x/note", {"csrf_token": token, "text": "x" * (1 << 20)}, 413),
    ):
        method = "GET" if form is None else "POST"
        page = browser._post(path, method=method, data=form, headers=HTML)
        assert (page.status_code, page.mimetype) == (status, "text/html"), path
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert 'href="/"' in page.text
        said = browser._post(path, method=method, data=form)
        assert (said.status_code, said.mimetype) == (status, "application/json"), path
        assert page.headers.get("Allow") == said.headers.get("Allow")
    assert browser._post("/api/v1/reload", method="GET", headers=HTML).mimetype == "application/json"


def test_a_page_that_fails_is_a_page_and_its_traceback_is_in_the_log(ledger: Ledger) -> None:
    app = web_app(ledger)

    def fails() -> str:
        raise ZeroDivisionError("of this test")

    app.view_functions["ui.audit"] = fails
    with structlog.testing.capture_logs() as logged:
        page = Browser(app).get("/audit", headers=HTML)
        said = Browser(app).get("/audit")
    assert (page.status_code, page.mimetype, "of this test" in page.text) == (500, "text/html", False)
    assert (said.status_code, said.mimetype) == (500, "application/json")
    assert [(one["event"], str(one["exc_info"])) for one in logged] == [("request_failed", "of this test")] * 2


def test_a_text_browser_on_this_machine_hears_why_it_is_taken_for_a_proxy(ledger: Ledger) -> None:
    """w3m and lynx speak HTTP/1.0, as nginx does before an upstream."""
    refused = Browser(web_app(ledger), SERVER_PROTOCOL="HTTP/1.0").get("/")
    assert refused.status_code == 403
    assert "HTTP_PROTOCOL:1.1 in lynx.cfg" in refused.text
    assert "set ui.auth, and both may" in refused.text
    assert Browser(web_app(ledger, users=USERS), SERVER_PROTOCOL="HTTP/1.0").get("/login").status_code == 200
