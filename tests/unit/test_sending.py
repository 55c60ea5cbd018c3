"""`incident-bridge send`: every shipped sample of every source, proven as its sender proves it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import click
import pytest

from bridge.domain.alert import Webhook
from bridge.domain.errors import SignatureError
from bridge.entrypoints.cli.sending import post, proof_of, sample_bytes, sample_names
from bridge.sources import SOURCES
from bridge.sources.base import Auth, BasicAuth, BearerAuth, HeaderAuth, NoAuth, Proof, QueryAuth, SignatureAuth
from tests.receiving import Desk

SECRET = "whsec_YSBzZWNyZXQgb2YgdHdlbnR5LWZvdXIu"
OLDER = "whsec_dGhlIHNlY3JldCBiZWZvcmUgdGhhdCBvbmUu"
OTHER = "whsec_bm9ib2R5IGVsc2Uga25vd3MgdGhpcyBvbmUu"
SECRETS = (SECRET, OLDER)  # the newest first, as after a rotation
NOW = datetime(2026, 1, 5, 10, 0, 0, 250_000, tzinfo=UTC)
BOTH = {
    "pagerduty": {"type": "pagerduty", "token": "sandbox", "from": "incident-bridge@example.com"},
    "incident-io": {"type": "incident_io", "api_key": "sandbox"},
}
SIGNED = {kind: min(made.signature_keys) for kind, made in SOURCES.items() if made.signature_keys}


def entry(kind: str) -> dict[str, Any]:
    """A source of this type with the vendor's signature, else with a bearer token."""
    watches = getattr(SOURCES[kind], "watches", None)
    account = {} if watches is None else {"account": watches.replace("_", "-")}
    return {"type": kind, "auth": {SIGNED.get(kind, "bearer"): ["${SEND_SECRET}"]}, **account}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SEND_SECRET", SECRET)
        names = {kind: kind.replace("_", "-") for kind in SOURCES}
        wanted = {names[kind]: entry(kind) for kind in SOURCES}
        with Desk(tmp_path_factory.mktemp("desk"), wanted, accounts=BOTH) as opened:
            yield opened


@pytest.mark.parametrize(("kind", "sample"), [(kind, one) for kind in SOURCES for one in sample_names(kind)])
def test_a_shipped_sample_is_accepted_with_the_proof_of_its_sender(kind: str, sample: str, desk: Desk) -> None:
    name = kind.replace("_", "-")
    body = sample_bytes(kind, sample)
    proof = proof_of(kind, desk.settings.sources[name].auth, body, datetime.now(UTC))
    headers = {"Content-Type": "application/json"}
    assert desk.post(name, body, headers).status_code == 401
    answer = desk.post(name, body, {**headers, **proof.headers}, proof.query)
    assert answer.status_code == 202, answer.get_data(as_text=True)
    event = desk.event(answer)
    assert SECRET not in str(event)
    reports_no_problem = sample.startswith("comment") or hasattr(SOURCES[kind], "watches")
    assert any(alert["status"] for alert in event["alerts"]) != reports_no_problem


def shared(*secrets: str) -> list[Auth]:
    """Every kind of auth that any source takes, and that checks a secret."""
    return [
        BearerAuth(secrets=secrets),
        HeaderAuth(header="x-bridge-token", secrets=secrets),
        BasicAuth(username="a sender", passwords=secrets),
        QueryAuth(parameter="key", secrets=secrets),
    ]


def auths(kind: str, *secrets: str) -> list[Auth]:
    """Every kind of auth with a secret that a source type takes, the vendor's signatures last."""
    return [
        *shared(*secrets),
        *(SignatureAuth(kind=key, secrets=secrets) for key in sorted(SOURCES[kind].signature_keys)),
    ]


def posted(proof: Proof, body: bytes) -> Webhook:
    """A webhook as the receiver makes it of a request with this proof."""
    headers = {name.lower(): value for name, value in proof.headers.items()}
    return Webhook(source="one", headers=headers, query=proof.query, body=body, received_at=NOW)


def test_no_kind_of_auth_is_left_out_here() -> None:
    assert {type(auth) for auth in shared(SECRET)} | {NoAuth, SignatureAuth} == set(get_args(Auth))


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_auth_a_source_takes_accepts_what_is_sent_under_its_first_secret(kind: str) -> None:
    made = SOURCES[kind]
    for sample in sample_names(kind):
        body = sample_bytes(kind, sample)
        made(name="one", auth=NoAuth()).verify(posted(proof_of(kind, NoAuth(), body, NOW), body))
        for auth, first in zip(auths(kind, *SECRETS), auths(kind, SECRET), strict=True):
            webhook = posted(proof_of(kind, auth, body, NOW), body)
            made(name="one", auth=auth).verify(webhook)
            made(name="one", auth=first).verify(webhook)


@pytest.mark.parametrize("kind", SOURCES)
def test_no_kind_of_auth_a_source_takes_accepts_another_secret_or_none(kind: str) -> None:
    body = sample_bytes(kind, sample_names(kind)[0])
    for auth, other in zip(auths(kind, *SECRETS), auths(kind, OTHER), strict=True):
        source = SOURCES[kind](name="one", auth=auth)
        for proof in (proof_of(kind, other, body, NOW), Proof()):
            with pytest.raises(SignatureError):
                source.verify(posted(proof, body))


@pytest.mark.parametrize("kind", SOURCES)
def test_a_password_proves_nothing_under_another_user_name(kind: str) -> None:
    body = sample_bytes(kind, sample_names(kind)[0])
    own, other = (BasicAuth(username=name, passwords=SECRETS) for name in ("a sender", "another"))
    with pytest.raises(SignatureError, match="basic credentials wrong"):
        SOURCES[kind](name="one", auth=own).verify(posted(proof_of(kind, other, body, NOW), body))


@pytest.mark.parametrize(
    "auth",
    [
        BearerAuth(secrets=()),
        HeaderAuth(header="x-token", secrets=("",)),
        BasicAuth(username="u", passwords=()),
        QueryAuth(parameter="token", secrets=()),
        SignatureAuth(kind="signing_secret", secrets=()),
    ],
    ids=lambda auth: type(auth).__name__,
)
def test_without_a_secret_there_is_no_proof_and_a_person_is_told_why(auth: Any) -> None:
    with pytest.raises(click.UsageError, match="set the variable its `auth` names"):
        proof_of("zendesk", auth, b"{}", datetime.now(UTC))


@pytest.mark.parametrize(
    ("kind", "word"),
    [(kind, word) for kind, made in SOURCES.items() for word in sorted(getattr(made, "signature_words", ()))],
)
def test_for_whom_only_the_sender_can_sign_a_person_is_told_to_use_another_auth(kind: str, word: str) -> None:
    with pytest.raises(click.UsageError, match=f"nobody but the sender can sign for {kind}: .* another auth"):
        proof_of(kind, SignatureAuth(kind=word, secrets=()), b"{}", datetime.now(UTC))


@pytest.mark.parametrize("value", ["two\nlines", "1 €"])
def test_a_header_that_http_cannot_carry_is_said_to_be_one(value: str) -> None:
    status, answer = post("http://127.0.0.1:9", "lab", b"{}", {"x-token": value})
    assert (status, "a header cannot be sent" in answer["error"]) == (0, True)
