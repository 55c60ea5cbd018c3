"""gunicorn's log: what a request holds, which may be a secret, is not in it."""

import logging

import pytest
from gunicorn.config import Config
from gunicorn.http import errors

from bridge.entrypoints.web.server import Log

SECRET = "wrong-secret-123456"
WITH_ONE = [
    errors.InvalidRequestLine(f"GET /?key={SECRET}"),
    errors.InvalidRequestMethod(SECRET),
    errors.InvalidHTTPVersion(SECRET),
    errors.InvalidHeader(f"Authorization: Bearer {SECRET}"),
    errors.InvalidHeaderName(f"Authorization Bearer {SECRET}"),
    errors.InvalidHeader(f'it\'s "{SECRET}"'),
    errors.ObsoleteFolding(f" {SECRET}"),
    errors.UnsupportedTransferCoding(SECRET),
    errors.InvalidChunkSize(SECRET.encode()),
    errors.InvalidChunkExtension(SECRET),
    errors.ExpectationFailed(SECRET),
]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.WARNING)
    return Log(Config())


@pytest.mark.parametrize("error", WITH_ONE, ids=lambda error: type(error).__name__)
def test_a_request_that_cannot_be_read_is_told_by_its_kind(
    error: Exception, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    assert SECRET in str(error)
    log.warning(f"Invalid request from ip=10.0.0.7: {error}")  # as gunicorn's worker says it
    (said,) = caplog.messages
    assert SECRET not in said
    assert said.startswith(f"Invalid request from ip=10.0.0.7: {str(error)[:12]}")


def test_a_request_that_failed_is_told_without_its_query(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise OSError(5, "Input/output error")
    except OSError:
        log.exception("Error handling request %s %s", "POST", f"/webhooks/zendesk?token={SECRET}")
    assert caplog.messages == ["Error handling request POST /webhooks/zendesk"]


def test_other_lines_stay_as_they_are(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    log.warning("Worker (pid:%s) was sent %s: 'why'", 7, "SIGKILL")
    assert caplog.messages == ["Worker (pid:7) was sent SIGKILL: 'why'"]
