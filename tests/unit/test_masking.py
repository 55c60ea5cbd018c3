"""An upstream that echoes our credential, in whatever way: nobody sees it."""

import base64
import html
import json
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.destinations import wire
from bridge.destinations.base import Destination
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.pagerduty import PagerDuty
from bridge.domain.delivery import HttpResponse, NoAnswer, Reason

SECRET = 'u+S3cret/Of"Tests&9x'
ACCOUNTS: tuple[Destination, ...] = (
    PagerDuty(account="pd", token=SECRET, from_="bot@example.com"),
    IncidentIo(account="io", token=SECRET),
)
ECHOES = {
    "as it is": SECRET,
    "in capitals": SECRET.upper(),
    "in JSON": json.dumps(SECRET)[1:-1],
    "in JSON with its slashes escaped": json.dumps(SECRET)[1:-1].replace("/", r"\/"),
    "in HTML": html.escape(SECRET),
    "in a URL": quote(SECRET, safe=""),
    "in a URL, in small letters": quote(SECRET, safe="").lower(),
    "in a path": quote(SECRET),
}


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.type)
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_no_echo_is_left_in_an_answer(account: Destination, echo: str) -> None:
    said = f"the header was 'Token token={echo}', or Bearer {echo}"
    answer = account.masked(HttpResponse(status=400, headers={"x-request-id": said, echo: "x"}, body=said.encode()))
    assert isinstance(answer, HttpResponse)
    masked = "the header was 'Token token=***', or Bearer ***"
    assert (answer.body, dict(answer.headers)) == (masked.encode(), {"x-request-id": masked, "***": "x"})
    assert account.masked_text(said) == masked
    silence = account.masked(NoAnswer(reason=Reason.TIMEOUT, sent=True, detail=said))
    assert isinstance(silence, NoAnswer)
    assert silence.detail == masked


@pytest.mark.parametrize("around", [("", ""), ("user:", ""), ("", ":"), ("me@example.com:", "\n"), ("é", "é")])
def test_basic_credentials_are_masked_whatever_stands_beside_the_secret(around: tuple[str, str]) -> None:
    text = around[0] + SECRET + around[1]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert "***" in wire.masked(f"Basic {encode(text.encode()).decode()}", SECRET)


@given(before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_base64_of_anything_around_the_secret_is_masked(before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + SECRET.encode() + after).decode()
    left = wire.masked(encoded, SECRET)
    assert "***" in left
    assert len(left) <= len(encoded) - len(SECRET)


@given(text=st.text(alphabet='abcXYZ019 {}":,\n\ud800é', max_size=200))
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert wire.masked(text, SECRET) == text


@pytest.mark.parametrize("secret", ["", wire.SHIPPED_TOKEN])
def test_the_word_for_the_stand_in_is_no_secret(secret: str) -> None:
    answer = HttpResponse(status=200, headers={"x": "sandbox"}, body=b"sandbox")
    assert replace(ACCOUNTS[0], token=secret).masked(answer) == answer  # type: ignore[type-var]
