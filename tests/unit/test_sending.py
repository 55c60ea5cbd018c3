"""`incident-bridge send`: every shipped sample of every source, proven as its sender proves it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
import pytest

from bridge.entrypoints.cli.sending import media_type_of, proof_of, sample_bytes, sample_names
from bridge.sources import SOURCES
from bridge.sources.base import BasicAuth, BearerAuth, HeaderAuth, QueryAuth, SignatureAuth
from tests.receiving import Desk

SECRET = "whsec_YSBzZWNyZXQgb2YgdHdlbnR5LWZvdXIu"
SIGNED = {kind: min(made.signature_keys) for kind, made in SOURCES.items() if made.signature_keys}


def entry(kind: str) -> dict[str, Any]:
    """A source of this type with the vendor's signature, else with a bearer token."""
    return {"type": kind, "auth": {SIGNED.get(kind, "bearer"): ["${SEND_SECRET}"]}}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SEND_SECRET", SECRET)
        names = {kind: kind.replace("_", "-") for kind in SOURCES}
        with Desk(tmp_path_factory.mktemp("desk"), {names[kind]: entry(kind) for kind in SOURCES}) as opened:
            yield opened


@pytest.mark.parametrize(("kind", "sample"), [(kind, one) for kind in SOURCES for one in sample_names(kind)])
def test_a_shipped_sample_is_accepted_with_the_proof_of_its_sender(kind: str, sample: str, desk: Desk) -> None:
    name = kind.replace("_", "-")
    body = sample_bytes(kind, sample)
    proof = proof_of(kind, desk.settings.sources[name].auth, body, datetime.now(UTC))
    headers = {"Content-Type": media_type_of(f"{sample}.json")}
    assert desk.post(name, body, headers).status_code == 401
    answer = desk.post(name, body, {**headers, **proof.headers}, proof.query)
    assert answer.status_code == 202, answer.get_data(as_text=True)
    event = desk.event(answer)
    assert SECRET not in str(event)
    assert any(alert["status"] for alert in event["alerts"]) != sample.startswith("comment")


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


def test_nobody_signs_for_amazon() -> None:
    with pytest.raises(click.UsageError, match="nobody but the sender can sign for aws_sns"):
        proof_of("aws_sns", SignatureAuth(kind="sns_signature", secrets=()), b"{}", datetime.now(UTC))
