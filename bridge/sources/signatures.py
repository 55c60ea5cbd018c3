"""Who sent a request: the checks every source shares. Constant time; an empty secret never matches.

In: an Auth and a Webhook. Out: nothing, or SignatureError naming the failed check for the log.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, assert_never

from bridge.domain.alert import Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.base import Auth, BasicAuth, BearerAuth, HeaderAuth, NoAuth, Proof, QueryAuth, SignatureAuth

SIGNATURES_MAX = 20  # looked at in one header


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSecret:
    """What the source of a sender has that signs nothing and gives its deliveries no id."""

    signature_keys: ClassVar[frozenset[str]] = frozenset()
    name: str
    auth: Auth

    def verify(self, webhook: Webhook) -> None:
        """Check the shared secret. Raises SignatureError."""
        verify_shared(self.auth, webhook)

    def delivery_id(self, webhook: Webhook) -> str | None:  # noqa: ARG002 - the protocol's parameter
        """None: nothing tells a repeated delivery from a new one."""
        return None


def verify_shared(auth: Auth, webhook: Webhook) -> None:
    """Check every kind of authentication that is not a vendor's own. Raises SignatureError."""
    match auth:
        case NoAuth():
            return
        case BearerAuth(secrets=secrets):
            _check("bearer token", _credentials(webhook, "bearer"), secrets)
        case HeaderAuth(header=header, secrets=secrets):
            _check(f"header {header}", webhook.headers.get(header.lower()), secrets)
        case BasicAuth():
            _check_basic(auth, _credentials(webhook, "basic"))
        case QueryAuth(parameter=parameter, secrets=secrets):
            # People paste a secret into an address as it is, and a plus that is not escaped arrives as a space.
            spaced = [secret.replace("+", " ") for secret in secrets]
            _check(f"query parameter {parameter}", webhook.query.get(parameter), (*secrets, *spaced))
        case SignatureAuth(kind=kind):
            raise SignatureError(f"this source knows no {kind}")
        case _:
            assert_never(auth)


def verify_hex_hmac(auth: SignatureAuth, webhook: Webhook, header: str, *, prefix: str = "") -> None:
    """Check a header of `prefix` and the hex HMAC-SHA256 of the raw body, under any secret. Raises SignatureError."""
    given = webhook.headers.get(header)
    if given is None:
        raise SignatureError(f"{header} missing")
    method, digest = given.strip()[: len(prefix)], given.strip()[len(prefix) :]
    if method.lower() != prefix:
        raise SignatureError(f"{header} does not begin with {prefix}")
    digests = _hex_hmacs(auth, webhook.body)
    if not is_one_of(digest.lower(), digests):
        raise SignatureError(f"{header} wrong")


def verify_any_hex_hmac(auth: SignatureAuth, webhook: Webhook, header: str, *, prefix: str) -> None:
    """As `verify_hex_hmac`, for a header with several of them between commas: one is enough. Raises SignatureError."""
    given = webhook.headers.get(header)
    if given is None:
        raise SignatureError(f"{header} missing")
    digests = _hex_hmacs(auth, webhook.body)
    found = False
    for one in given.split(",")[:SIGNATURES_MAX]:
        is_kind = one.strip().startswith(prefix)
        found = (is_one_of(one.strip().removeprefix(prefix).lower(), digests) and is_kind) or found
    if not found:
        raise SignatureError(f"{header} wrong")


def hex_hmac_proof(auth: SignatureAuth, body: bytes, header: str, *, prefix: str = "") -> Proof:
    """What `verify_hex_hmac` accepts, under the first secret."""
    digest = hmac.digest(_bytes(auth.secrets[0]), body, "sha256").hex()
    return Proof(headers={header: prefix + digest})


def is_one_of(given: str, secrets: Iterable[str]) -> bool:
    """Whether a text equals one of the secrets; every one is compared, so that time tells nothing."""
    matched = False
    for secret in secrets:
        same = hmac.compare_digest(_bytes(given), _bytes(secret))
        matched = matched or (same and bool(secret))
    return matched


def _check(what: str, given: str | None, secrets: Iterable[str]) -> None:
    if given is None:
        raise SignatureError(f"{what} missing")
    if not is_one_of(given, secrets):
        raise SignatureError(f"{what} wrong")


def _credentials(webhook: Webhook, scheme: str) -> str | None:
    given, _, credentials = webhook.headers.get("authorization", "").strip().partition(" ")
    return credentials.strip() if given.lower() == scheme else None


def _check_basic(auth: BasicAuth, credentials: str | None) -> None:
    if credentials is None:
        raise SignatureError("basic credentials missing")
    try:
        username, _, password = base64.b64decode(credentials, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError) as error:
        raise SignatureError("basic credentials unreadable") from error
    known = is_one_of(username, (auth.username,))
    if not is_one_of(password, auth.passwords) or not known:
        raise SignatureError("basic credentials wrong")


def _hex_hmacs(auth: SignatureAuth, body: bytes) -> list[str]:
    """The HMAC-SHA256 of a body under each secret; an empty one is none."""
    return [hmac.digest(_bytes(secret), body, "sha256").hex() for secret in auth.secrets if secret]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
