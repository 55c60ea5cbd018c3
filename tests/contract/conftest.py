"""Scenes of ledger tests that several modules play on, each on both databases."""

from collections.abc import Iterator

import pytest

from tests.contract.test_ledger_corners import FoldingPair
from tests.contract.test_ledger_folding import Lane
from tests.contract.test_ledger_plan_b import Pair
from tests.contract.test_ledger_truth import Moved


@pytest.fixture
def moved(ledger_url: str) -> Iterator[Moved]:
    """A ledger whose clock a test moves."""
    made = Moved(ledger_url)
    yield made
    made.ledger.close()


@pytest.fixture
def pair(ledger_url: str) -> Iterator[Pair]:
    """Two accounts, one of which is the other's plan B."""
    made = Pair(ledger_url)
    yield made
    made.ledger.close()


@pytest.fixture
def folding_pair(ledger_url: str) -> Iterator[FoldingPair]:
    """The same, where a storm folds."""
    made = FoldingPair(ledger_url)
    yield made
    made.ledger.close()


@pytest.fixture
def lane(ledger_url: str) -> Iterator[Lane]:
    """One slow account, where a storm folds."""
    made = Lane(ledger_url)
    yield made
    made.ledger.close()
