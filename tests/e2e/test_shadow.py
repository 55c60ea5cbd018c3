"""Shadow rules on a running bridge: what they would have done, by API, command and page."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.processes import ANSWER_WITHIN_S, CLI, Bridge, alert

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    made = Bridge(tmp_path_factory.mktemp("shadow"), start=("web",))
    rules = Path(made.folder / "rules" / "rules.yaml")
    book = json.loads(rules.read_text())
    trial = {**book["rules"][0], "id": "trial", "mode": "shadow", "continue": True, "match": {"labels.trial": "yes"}}
    rules.write_text(json.dumps({**book, "rules": [trial, *book["rules"]]}))
    with made as running:
        for fingerprint in ("one", "two \u202e turned"):
            running.deliver(alert(fingerprint, labels={"trial": "yes"}))
        running.deliver(alert("one", labels={"trial": "yes"}, status="resolved"))
        yield running


def test_the_api_tells_what_a_shadow_rule_would_have_done_beside_what_happened(bridge: Bridge) -> None:
    (found,) = bridge.get("rules/shadow")["items"]
    told = {name: found[name] for name in ("rule", "accounts", "alerts", "opened", "joined", "resolved", "really")}
    assert told == {
        "rule": "trial", "accounts": ["pd"], "alerts": 2, "opened": 2, "joined": 0, "resolved": 1,
        "really": {"opened": 2},
    }  # fmt: skip
    assert [one["title"] for one in found["samples"]] == ["one", "two \u202e turned"]
    refused = requests.get(f"{bridge.url}/api/v1/rules/shadow?since=soon", timeout=ANSWER_WITHIN_S)
    assert refused.status_code == 400


def test_the_command_and_the_page_tell_the_same(bridge: Bridge) -> None:
    said = subprocess.run(
        [*CLI, "shadow", "--since", "1h", "--config", str(bridge.config)],
        env=bridge.env(), cwd=bridge.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    for part in ("trial", "2 opened", "trial would have opened: one"):
        assert part in said.stdout
    assert "two \\u202e turned" in said.stdout
    assert "\u202e" not in said.stdout
    page = requests.get(f"{bridge.url}/rules", timeout=ANSWER_WITHIN_S).text
    for part in ("What shadow rules would have done in 7 days", ">trial</a>", "2 opened"):
        assert part in page
