"""`ui:` of bridge.yaml: who may use pages and API, as settings and as sentences."""

from pathlib import Path

import pytest

from bridge.config.loader import load_settings
from bridge.config.models import Settings
from bridge.destinations import DESTINATIONS
from bridge.domain.access import Role
from bridge.domain.errors import ConfigError
from bridge.sources import SOURCES

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"
ENVIRONMENT = {"HASH": HASH, "SECRET": "a-secret", "WORD": "no hash"}
REST = """
sources: {lab: {type: generic, auth: none}}
accounts: {pd: {type: pagerduty, token: sandbox, from: bot@example.com, defaults: {service: S}}}
"""


def loaded(folder: Path, ui: str, server: str = "server: {trusted_proxies: 2}") -> Settings:
    path = folder / "bridge.yaml"
    path.write_text(f"{server}\nui:\n  {ui}\n{REST}", encoding="utf-8")
    return load_settings(path, ENVIRONMENT, sources=SOURCES, destinations=DESTINATIONS)


def test_the_one_login_and_plain_tokens_are_admins(tmp_path: Path) -> None:
    ui = loaded(tmp_path, 'auth: {username: ops, password_hash: "${HASH}"}\n  tokens: {ci: "${SECRET}"}').ui
    assert {name: user.role for name, user in ui.users.items()} == {"ops": Role.ADMIN}
    assert {name: token.role for name, token in ui.tokens.items()} == {"ci": Role.ADMIN}
    assert "argon2" not in repr(ui)
    assert "a-secret" not in repr(ui)


def test_users_and_tokens_have_the_role_they_are_given_and_view_without_one(tmp_path: Path) -> None:
    ui = loaded(
        tmp_path,
        'users: {a: {password_hash: "${HASH}", role: operate}, b: {password_hash: "${HASH}"}}\n'
        '  tokens: {c: {secret: "${SECRET}", role: admin}, d: {secret: "${SECRET}"}, off: {secret: "${NONE:-}"}}',
    ).ui
    assert {name: user.role for name, user in ui.users.items()} == {"a": Role.OPERATE, "b": Role.VIEW}
    assert {name: token.role for name, token in ui.tokens.items()} == {"c": Role.ADMIN, "d": Role.VIEW}


def test_a_proxy_is_believed_as_many_hops_as_the_server_trusts(tmp_path: Path) -> None:
    proxy = loaded(tmp_path, "proxy: {header: X-Forwarded-User, role: view, peers: [10.0.0.5]}").ui.proxy
    assert proxy is not None
    assert (proxy.header, proxy.role, proxy.hops, str(proxy.peers[0])) == (
        ("X-Forwarded-User", Role.VIEW, 2, "10.0.0.5/32")
    )
    assert loaded(tmp_path, 'auth: {password_hash: "${NONE:-}"}').ui.proxy is None


@pytest.mark.parametrize(
    ("ui", "said"),
    [
        ('users: {a: {password_hash: "${WORD}"}}', "this is not an argon2 hash"),
        ("users: {a: {role: view}}", "user 'a' has no 'password_hash'"),
        (f"users: {{a: {{password_hash: '{HASH}'}}}}", "a secret stands in the file itself"),
        (
            'users: {a: {password_hash: "${HASH}", role: root}}',
            "'role' wants 'view', 'operate' or 'admin', found 'root'",
        ),
        ('auth: {password_hash: "${HASH}"}\n  users: {admin: {password_hash: "${HASH}"}}', "is in 'ui.auth' already"),
        ('tokens: {a: {secret: "${SECRET}", role: write}}', "'role' wants one of its words, found 'write'"),
        ('tokens: {a: {secret: "${SECRET}", rolle: view}}', "unknown key 'rolle'"),
        ("tokens: {a: {role: view}}", "token 'a' has no 'secret'"),
        ("proxy: {header: X-User}", "the proxy's users have no role"),
        ("proxy: {header: X_User, role: view}", "'header' is no header's name"),
        ("proxy: {header: X-User, role: view, roles_header: X-Roles}", "'role' and 'roles_header' exclude each other"),
        ("proxy: {header: X-User, role: view, hops: 3}", "'ui.proxy' believes 3 proxies, 'server.trusted_proxies' 2"),
        ("proxy: {header: X-User, role: view, peers: [inside]}", "'inside' is no network's address"),
    ],
)
def test_a_mistake_is_said_at_its_place(tmp_path: Path, ui: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, ui)
    (problem,) = raised.value.problems
    assert said in problem.message
    assert problem.hint or "role" in ui
    assert problem.place.line > 2


def test_a_proxy_without_trusted_hops_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"believes 0 proxies, 'server.trusted_proxies' 0"):
        loaded(tmp_path, "proxy: {header: X-User, role: view}", server="server: {}")
