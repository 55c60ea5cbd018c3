"""bridge.yaml: everything wrong is told at once, at its place; secrets never stand in it or show."""

from datetime import timedelta
from pathlib import Path

import pytest

from bridge.config.accounts import lanes_of
from bridge.config.loader import load_settings, sandbox_refusal
from bridge.config.models import Settings
from bridge.config.units import duration, rate, size
from bridge.destinations import DESTINATIONS
from bridge.domain.errors import ConfigError
from bridge.sources import SOURCES
from bridge.sources.base import BasicAuth, BearerAuth, HeaderAuth, NoAuth, QueryAuth, SignatureAuth
from bridge.wiring import destinations

GOLDEN = Path(__file__).parent.parent / "golden" / "config"
ACCOUNT = "accounts:\n  pd: {type: pagerduty, token: '${TOKEN}', from: bot@example.com}\n"
SOURCE = "sources:\n  lab: {type: generic, auth: none}\n"
ENVIRON = {"TOKEN": "t0ken-1", "OTHER": "t0ken-2", "S": "s3cret-1", "S2": "s3cret-2"}
ODD = {"SPACED": "s3cret 3", "UNSENDABLE": "s3cr\u00e9t-4"}


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    file = folder / "bridge.yaml"
    file.write_text(text)
    return load_settings(file, ENVIRON if environ is None else environ, sources=SOURCES, destinations=DESTINATIONS)


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    return str(caught.value)


def test_the_shipped_file_needs_no_environment(tmp_path: Path) -> None:
    shipped = (Path(__file__).parent.parent.parent / "bridge.yaml").read_text()
    settings = load(tmp_path, shipped, {})
    assert settings.ledger == f"sqlite:///{tmp_path}/var/bridge.db"
    assert settings.redis == "embedded"
    assert {name: one.sandbox for name, one in settings.accounts.items()} == {
        "pagerduty-prod": True,
        "incident-io": True,
    }
    assert [str(one.place) for one in settings.warnings] == ["bridge.yaml:28:67", "bridge.yaml:29:51"]


@pytest.mark.parametrize("case", sorted(file.stem for file in GOLDEN.glob("*.yaml")))
def test_problems_are_told_all_at_once_in_file_order(case: str, tmp_path: Path, update_golden: bool) -> None:
    said = problems(tmp_path, (GOLDEN / f"{case}.yaml").read_text(), ENVIRON | ODD)
    said = said.replace(str(tmp_path), "FOLDER").replace("\0", "NUL") + "\n"
    expected = GOLDEN / f"{case}.txt"
    if update_golden:
        expected.write_text(said)
    assert said == expected.read_text()


@pytest.mark.parametrize("case", sorted(file.stem for file in GOLDEN.glob("*.yaml")))
def test_no_problem_shows_what_a_variable_holds(case: str, tmp_path: Path) -> None:
    said = problems(tmp_path, (GOLDEN / f"{case}.yaml").read_text(), ENVIRON | ODD)
    assert not any(held in said for held in (ENVIRON | ODD).values())


def test_a_number_may_come_from_a_variable(tmp_path: Path) -> None:
    text = ACCOUNT.replace("}\n", ", burst: '${BURST:-7}', reserve: '${RESERVE}', max_wait: '${WAIT:-3m}'}\n")
    account = load(tmp_path, SOURCE + text, ENVIRON | {"RESERVE": "2"}).accounts["pd"]
    assert (account.burst, account.reserve, account.max_wait) == (7, 2, timedelta(minutes=3))


@pytest.mark.parametrize("line", ["ledger: postgresql://u:hunter2@h/n", "redis: redis://:hunter2@h/0"])
def test_a_password_in_an_address_is_warned_of_and_not_shown(line: str, tmp_path: Path) -> None:
    warnings = load(tmp_path, f"{line}\n" + SOURCE + ACCOUNT).warnings
    assert [one.message for one in warnings] == ["the address holds a password"]
    assert load(tmp_path, line.replace("hunter2", "${S}") + "\n" + SOURCE + ACCOUNT).warnings == ()


def test_a_list_of_secrets_without_its_empty_ones_is_kept(tmp_path: Path) -> None:
    text = "sources:\n  b: {type: generic, auth: {bearer: ['${S}', '${GONE:-}']}}\n" + ACCOUNT
    settings = load(tmp_path, text)
    assert settings.sources["b"].auth == BearerAuth(secrets=("s3cret-1",))
    assert settings.warnings == ()


def test_every_kind_of_auth_is_read(tmp_path: Path) -> None:
    text = """sources:
  a: {type: generic, auth: none}
  b: {type: generic, auth: {bearer: "${S}"}}
  c: {type: generic, auth: {header: X-Token, secret: ["${S}", "${S2}"]}}
  d: {type: generic, auth: {basic: {username: u, password: "${S}"}}}
  e: {type: generic, auth: {query: key, secret: "${S}"}}
  f: {type: zendesk, auth: {signing_secret: "${S}", tolerance: 10m}}
"""
    auths = {name: one.auth for name, one in load(tmp_path, text + ACCOUNT).sources.items()}
    assert auths == {
        "a": NoAuth(),
        "b": BearerAuth(secrets=("s3cret-1",)),
        "c": HeaderAuth(header="x-token", secrets=("s3cret-1", "s3cret-2")),
        "d": BasicAuth(username="u", passwords=("s3cret-1",)),
        "e": QueryAuth(parameter="key", secrets=("s3cret-1",)),
        "f": SignatureAuth(kind="signing_secret", secrets=("s3cret-1",), tolerance=timedelta(minutes=10)),
    }


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    settings = load(tmp_path, SOURCE + "accounts:\n  pd: {type: pagerduty, token: {file: key}, from: b@example.com}\n")
    assert settings.accounts["pd"].token == "from-a-file"


@pytest.mark.parametrize("odd", ["b@example.com\n", "b@example.com\r\nX-Other: 1", "b\u00fc@example.com", "On call"])
def test_a_from_that_no_header_carries_is_refused_at_the_start(odd: str, tmp_path: Path) -> None:
    said = problems(tmp_path, SOURCE + ACCOUNT.replace("bot@example.com", "'${FROM}'"), ENVIRON | {"FROM": odd})
    assert "the 'from' is no e-mail address that an HTTP header can carry" in said


def test_a_blank_behind_a_from_is_left_out_on_its_way_and_stops_no_start(tmp_path: Path) -> None:
    text = SOURCE + ACCOUNT.replace("bot@example.com", "'${FROM}'")
    assert "pd" in load(tmp_path, text, ENVIRON | {"FROM": "bot@example.com "}).accounts


def test_no_secret_shows_in_a_repr(tmp_path: Path) -> None:
    text = (
        "sources:\n  z: {type: zendesk, auth: {signing_secret: '${S}'}}\n" + ACCOUNT + "ui: {tokens: {ci: '${S2}'}}\n"
    )
    shown = repr(load(tmp_path, text))
    assert not any(secret in shown for secret in ENVIRON.values())


def test_an_empty_secret_warns_and_refuses_everybody(tmp_path: Path) -> None:
    settings = load(tmp_path, "sources:\n  b: {type: generic, auth: {bearer: '${GONE:-}'}}\n" + ACCOUNT)
    assert settings.sources["b"].auth == BearerAuth(secrets=())
    assert "refuses everybody" in str(settings.warnings[0])


@pytest.mark.parametrize("auth", ["{bearer: '${S}'}", "{header: X-Token, secret: ['${S2}', '${S}']}"])
@pytest.mark.parametrize("pasted", ["s3cret ", " s3cret"])
def test_a_secret_with_a_space_around_it_warns_for_no_header_can_say_it(pasted: str, auth: str, tmp_path: Path) -> None:
    text = f"sources:\n  b: {{type: generic, auth: {auth}}}\n" + ACCOUNT
    (warning,) = load(tmp_path, text, ENVIRON | {"S": pasted}).warnings
    assert warning.message == "source 'b' has a secret that begins or ends with a space"
    assert "a header loses such a space on its way" in warning.hint


def test_a_token_of_the_api_with_a_space_around_it_warns_as_well(tmp_path: Path) -> None:
    text = SOURCE + ACCOUNT + "ui: {tokens: {ci: '${S}'}}\n"
    (warning,) = load(tmp_path, text, ENVIRON | {"S": " s3cret"}).warnings
    assert warning.message == "token 'ci' begins or ends with a space"
    assert "a header loses such a space on its way" in warning.hint


def test_a_secret_that_signs_is_never_sent_and_a_space_around_it_may_be_meant(tmp_path: Path) -> None:
    text = "sources:\n  b: {type: github, auth: {signing_secret: '${S}'}}\n" + ACCOUNT
    (warning,) = load(tmp_path, text, ENVIRON | {"S": "s3cret "}).warnings
    assert warning.message == "source 'b' has a secret that begins or ends with a space"
    assert warning.hint == "set it without, unless what the sender signs with has that space, too"


@pytest.mark.parametrize("auth", ["{basic: {username: u, password: '${S}'}}", "{query: token, secret: '${S}'}"])
def test_a_space_that_arrives_is_not_warned_of(auth: str, tmp_path: Path) -> None:
    text = f"sources:\n  b: {{type: generic, auth: {auth}}}\n" + ACCOUNT
    assert load(tmp_path, text, ENVIRON | {"S": "s3cret "}).warnings == ()


def test_accounts_with_one_token_share_a_lane_and_sandboxes_never_do(tmp_path: Path) -> None:
    text = """accounts:
  b: {type: pagerduty, token: "${TOKEN}", from: x@example.com}
  a: {type: pagerduty, token: "${TOKEN}", from: x@example.com}
  c: {type: pagerduty, token: "${OTHER}", from: x@example.com}
  d: {type: incident_io, api_key: "${TOKEN}"}
  e: {type: pagerduty, token: sandbox, from: x@example.com}
  f: {type: pagerduty, token: sandbox, from: x@example.com}
"""
    lanes = lanes_of(load(tmp_path, SOURCE + text).accounts)
    assert lanes == {"a": "a", "b": "a", "c": "c", "d": "d", "e": "e", "f": "f"}


@pytest.mark.parametrize(
    ("environ", "public_url", "says"),
    [
        ({}, "http://127.0.0.1:8080", "BRIDGE_SANDBOX=1"),
        ({"BRIDGE_SANDBOX": "1"}, "http://127.0.0.1:8080", None),
        ({"BRIDGE_SANDBOX": "1"}, "https://bridge.example.com", "public address"),
    ],
)
def test_the_sandbox_never_stands_in_unasked(
    environ: dict[str, str], public_url: str, says: str | None, tmp_path: Path
) -> None:
    account = "accounts:\n  pd: {type: pagerduty, token: sandbox, from: b@example.com}\n"
    settings = load(tmp_path, f"server: {{public_url: '{public_url}'}}\n" + SOURCE + account)
    refusal = sandbox_refusal(settings, environ)
    assert refusal is None if says is None else says in (refusal or "")


@pytest.mark.parametrize(
    ("ledger", "url"),
    [
        ("postgres://u@h/n", "postgresql+psycopg://u@h/n"),
        ("postgresql://u@h/n", "postgresql+psycopg://u@h/n"),
        ("postgresql+psycopg://u@h/n", "postgresql+psycopg://u@h/n"),
        ("sqlite:////abs/x.db", "sqlite:////abs/x.db"),
    ],
)
def test_the_ledgers_address_is_understood(ledger: str, url: str, tmp_path: Path) -> None:
    assert load(tmp_path, f"ledger: {ledger}\n" + SOURCE + ACCOUNT).ledger == url


@pytest.mark.parametrize(
    ("ledger", "says"),
    [
        (
            "postgresql://u:p@one:5432,two:5433/n",
            "name several servers as postgresql+psycopg://user@/name?host=one:5432&",
        ),
        ("postgresql://u:p,w@one:five/n", "write it as sqlite:///var/bridge.db or postgresql+psycopg://user@host/name"),
    ],
)
def test_an_address_of_several_servers_that_cannot_be_is_told_as_it_can(ledger: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f"ledger: {ledger}\n" + SOURCE + ACCOUNT)
    (problem,) = (one for one in raised.value.problems if "address cannot be read" in one.message)
    assert (problem.hint or "").startswith(says)


def test_units() -> None:
    assert [duration(text).total_seconds() for text in ("0s", "90s", "2m", "1.5h", "7d")] == [0, 90, 120, 5400, 604800]
    assert [size(text) for text in ("8MiB", "64KiB", "1000")] == [8388608, 65536, 1000]
    per_s = {text: rate(text).interval.total_seconds() for text in ("12/min", "10/s", "100/h", "10/10s")}
    assert per_s == {"12/min": 5, "10/s": 0.1, "100/h": 36, "10/10s": 1}


def test_a_rate_is_never_rounded_up() -> None:
    assert rate("7/s").interval * 7 >= timedelta(seconds=1)
    assert rate("9999999999/s").interval > timedelta(0)
    assert rate("10 per 10s").interval == timedelta(seconds=1)


@pytest.mark.parametrize(
    "text",
    [
        "99999999999999999d",
        "1/99999999999d",
        "",
        "5",
        "5 parsecs",
        "-1s",
        "1e9999s",
        "0/min",
        "1/0s",
        "0B",
        "9" * 30 + "s",
    ],
)
def test_what_is_no_unit_is_refused(text: str) -> None:
    for reader in (duration, rate):
        with pytest.raises(ValueError, match="such as"):
            reader(text)


@pytest.mark.parametrize(
    ("written", "url", "scheme"),
    [
        ("", "https://api.pagerduty.com/services", "Token token=t0ken-1"),
        ("region: us", "https://api.pagerduty.com/services", "Token token=t0ken-1"),
        ("region: eu", "https://api.eu.pagerduty.com/services", "Token token=t0ken-1"),
        ("region: eu, token_type: oauth", "https://api.eu.pagerduty.com/services", "Bearer t0ken-1"),
        ("token_type: api_key", "https://api.pagerduty.com/services", "Token token=t0ken-1"),
        ("base_url: 'http://127.0.0.1:9/pd/'", "http://127.0.0.1:9/pd/services", "Token token=t0ken-1"),
        ("base_url: 'https://proxy.example.com'", "https://proxy.example.com/services", "Token token=t0ken-1"),
    ],
)
def test_an_account_goes_to_its_region_or_address_with_its_kind_of_token(
    written: str, url: str, scheme: str, tmp_path: Path
) -> None:
    account = ACCOUNT.replace("from: bot@example.com", f"from: bot@example.com, {written}")
    made = destinations(load(tmp_path, SOURCE + account))["pd"]
    request = made.names_request("service")
    assert request.url.partition("?")[0] == url
    assert request.headers["Authorization"] == scheme


def test_a_kind_of_token_is_pagerdutys_alone_and_one_of_two(tmp_path: Path) -> None:
    other = ACCOUNT.replace("from: bot@example.com", "from: b@example.com, token_type: jwt")
    assert "'token_type' wants 'api_key' or 'oauth', found 'jwt'" in problems(tmp_path, SOURCE + other)
    foreign = "accounts:\n  io: {type: incident_io, api_key: '${TOKEN}', token_type: oauth}\n"
    assert "has no 'token_type'" in problems(tmp_path, SOURCE + foreign)


KEYS = ENVIRON | {f"TOKEN_{name}": f"key-of-{name}" for name in "abcd"}


def plan_b(**plans: str) -> str:
    """Accounts with a default service, each with its plan B, and each with a key of its own."""
    plain = "type: pagerduty, from: bot@example.com, defaults: {service: S}"
    entries = [f"  {name}: {{{plain}, token: '${{TOKEN_{name}}}', plan_b: {plans[name]}}}" for name in plans]
    return SOURCE + "accounts:\n" + "\n".join(entries) + f"\n  last: {{{plain}, token: '${{OTHER}}'}}\n"


def test_plan_b_that_goes_round_in_a_circle_is_refused_once_with_its_place(tmp_path: Path) -> None:
    said = problems(tmp_path, plan_b(a="b", b="c", c="b", d="a"), KEYS)
    assert said.count("plan B goes round in a circle") == 1
    assert "plan B goes round in a circle: b -> c -> b" in said
    assert "plan B goes round in a circle: a -> b -> a" in problems(tmp_path, plan_b(a="b", b="a"), KEYS)


def test_plan_b_may_have_a_plan_b_of_its_own(tmp_path: Path) -> None:
    made = load(tmp_path, plan_b(a="b", b="last"), KEYS)
    assert (made.accounts["a"].plan_b, made.warnings) == ("b", ())


def test_an_account_that_could_not_take_a_create_cannot_be_plan_b(tmp_path: Path) -> None:
    text = plan_b(a="last").replace(", defaults: {service: S}, token: '${OTHER}'", ", token: '${OTHER}'")
    assert "account 'last' cannot be plan B: a create there needs a service, and it has no default" in problems(
        tmp_path, text, KEYS
    )


def test_plan_b_needs_a_key_of_its_own(tmp_path: Path) -> None:
    text = plan_b(a="last").replace("${TOKEN_a}", "${OTHER}")
    assert "account 'last' has the same key as 'a', so it stands still when that one does" in problems(
        tmp_path, text, KEYS
    )


def test_another_address_says_nothing_to_the_built_in_sandbox(tmp_path: Path) -> None:
    made = load(tmp_path, SOURCE + ACCOUNT.replace("'${TOKEN}'", "sandbox, base_url: 'http://127.0.0.1:9/x'"))
    assert [one.message for one in made.warnings if one.place.file == "bridge.yaml"] == [
        "'base_url' has no effect with token 'sandbox', which means the built-in stand-in"
    ]


def test_how_long_to_wait_for_plan_b_says_nothing_without_one(tmp_path: Path) -> None:
    made = load(tmp_path, SOURCE + ACCOUNT.replace("from: bot@example.com", "from: b@example.com, plan_b_after: 1m"))
    assert [one.message for one in made.warnings] == ["'plan_b_after' has no effect without 'plan_b'"]


@pytest.mark.parametrize(
    ("server", "warns"),
    [
        ("listen: 127.0.0.1:9000", True),
        ('listen: 127.0.0.1:9000, public_url: "http://localhost:8080"', True),
        ('listen: 127.0.0.1:9000, public_url: "http://127.0.0.1:9000"', False),
        ('listen: 0.0.0.0:9000, public_url: "https://bridge.example.com"', False),
        ('listen: 127.0.0.1:9000, public_url: "http://localhost"', False),
    ],
)
def test_a_listen_that_was_moved_alone_is_warned_of(server: str, warns: bool, tmp_path: Path) -> None:
    found = [str(one) for one in load(tmp_path, f"server: {{{server}}}\n" + SOURCE + ACCOUNT).warnings]
    assert any("but nothing listens at its port\n    write http://127.0.0.1:9000" in one for one in found) == warns


@pytest.mark.parametrize(
    ("url", "token", "warns"),
    [
        ("https://bridge.example.com", "sandbox", True),
        ("http://127.0.0.1:8080", "sandbox", False),
        ("https://bridge.example.com", "${TOKEN}", False),
    ],
)
def test_a_trial_at_a_public_address_is_warned_of_before_its_start_refuses(
    url: str, token: str, warns: bool, tmp_path: Path
) -> None:
    account = f"accounts: {{pd: {{type: pagerduty, token: '{token}', from: bot@example.com}}}}\n"
    made = load(tmp_path, f'server: {{public_url: "{url}"}}\n' + SOURCE + account)
    assert any("at a public address nothing starts with it" in one.message for one in made.warnings) == warns
    assert (sandbox_refusal(made, {"BRIDGE_SANDBOX": "1"}) is not None) == warns
