"""/metrics, and what is built on it: the dashboard and the alert rules name only what is there."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.adapters.ledger import Ledger
from bridge.config.yaml_reader import read_tree
from bridge.domain.delivery import PermanentFailure, Reason
from bridge.entrypoints.web.metrics import Tally
from tests.ledgers import claim, delivered, fires, heartbeat, open_ledger, record, settle, sqlite_url
from tests.web_apps import Browser, web_app

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
RULES = DEPLOY / "prometheus" / "incident-bridge.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "incident-bridge.json"
LABELS = {
    *("source", "state", "what", "outcome", "rule", "account", "action", "reason", "severity", "kind", "version", "le"),
}


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    opened = open_ledger(sqlite_url(tmp_path))
    yield opened
    opened.close()


def scraped(ledger: Ledger) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    answer = Browser(web_app(ledger)).get("/metrics")
    assert answer.status_code == 200
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        found.setdefault(family.name + ("_total" if family.type == "counter" else ""), {})
    return found


def busy(ledger: Ledger) -> None:
    settle(ledger, fires("a"), fires("b"), fires("c"))
    record(ledger, claim(ledger), delivered("P1"))
    record(ledger, claim(ledger), PermanentFailure(reason=Reason.FORBIDDEN, detail="no"))
    for kind in ("web", "worker"):
        ledger.heartbeat(heartbeat(kind))


def test_a_scrape_says_what_came_in_and_what_became_of_it(ledger: Ledger) -> None:
    busy(ledger)
    found = scraped(ledger)
    assert found["incident_bridge_received_total"] == {(("source", "s"), ("state", "accepted")): 1}
    assert found["incident_bridge_alerts_total"] == {(("outcome", "opened"), ("source", "s")): 3}
    assert found["incident_bridge_rule_hits_total"] == {(("rule", "r"),): 3}
    tried = {dict(labels)["reason"]: n for labels, n in found["incident_bridge_attempts_total"].items()}
    assert tried == {"ok": 1, "forbidden": 1}
    assert found["incident_bridge_dead_letters"] == {(("account", "pd"),): 1}
    assert sum(found["incident_bridge_lane_waiting"].values()) == 1
    assert found["incident_bridge_oldest_unfinished_seconds"][()] >= 0
    assert found["incident_bridge_lane_wait_seconds_count"] == {(("account", "pd"),): 2}
    kinds = {dict(labels)["kind"]: n for labels, n in found["incident_bridge_processes"].items()}
    assert kinds == {"clock": 0, "web": 1, "worker": 1}


def test_the_waits_add_up_to_seconds(ledger: Ledger) -> None:
    busy(ledger)
    with ledger.database.writing() as transaction:
        moved = "UPDATE deliveries SET created_at = first_attempt_at - 90500000 WHERE attempts > 0"
        transaction.connection.exec_driver_sql(moved)
    found = scraped(ledger)
    assert found["incident_bridge_lane_wait_seconds_sum"] == {(("account", "pd"),): 181}


def test_two_processes_say_the_same_and_a_restart_changes_nothing(ledger: Ledger) -> None:
    busy(ledger)
    first = scraped(ledger)
    second = scraped(ledger)
    for name in first:
        if name.endswith("_total"):
            assert first[name] == second[name], name


def test_what_a_process_refused_is_counted_for_all(ledger: Ledger) -> None:
    for _ in range(2):
        tally = Tally()
        tally.count("lab", "unauthorized")
        tally.count("lab", "unauthorized")
        tally.flush(ledger)
        tally.flush(ledger)
    refused = scraped(ledger)["incident_bridge_refused_total"]
    assert refused == {(("source", "lab"), ("what", "unauthorized")): 4}


def test_every_label_is_one_of_a_bounded_number(ledger: Ledger) -> None:
    busy(ledger)
    for name, samples in scraped(ledger).items():
        assert {label for labels in samples for label, _ in labels} <= LABELS, name


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\bincident_bridge_[a-z_]+", expression))


def expressions() -> list[tuple[str, str]]:
    tree = read_tree(RULES.read_text(encoding="utf-8"), RULES.name)
    assert tree.problems == ()
    rules: list[Any] = [rule for group in tree.value["groups"] for rule in group["rules"]]
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    asked = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    return [*((rule["alert"], rule["expr"]) for rule in rules), *asked]


@pytest.mark.parametrize(("name", "expression"), expressions(), ids=[name for name, _ in expressions()])
def test_what_a_rule_or_a_panel_asks_for_is_there(name: str, expression: str, ledger: Ledger) -> None:
    busy(ledger)
    found = scraped(ledger)
    assert metrics_in(expression) <= found.keys()
    for metric, labels in re.findall(r"(incident_bridge_\w+)\{([^}]*)\}", expression):
        wanted = set(re.findall(r"(\w+)\s*[!=]", labels))
        known = {label for sample in found[metric] for label, _ in sample}
        assert wanted <= known or not found[metric], metric


def test_every_metric_is_looked_at_by_a_rule_or_a_panel(ledger: Ledger) -> None:
    busy(ledger)
    asked = {metric for _, expression in expressions() for metric in metrics_in(expression)}
    families = {
        re.sub("_(bucket|count|sum|created)$", "", name)
        for name in scraped(ledger)
        if name.startswith("incident_bridge_")
    }
    assert families - {re.sub("_bucket$", "", metric) for metric in asked} == set()


def test_every_alert_says_what_is_wrong_and_what_it_means() -> None:
    tree = read_tree(RULES.read_text(encoding="utf-8"), RULES.name)
    for rule in [rule for group in tree.value["groups"] for rule in group["rules"]]:
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_the_job_that_the_rules_ask_for_is_the_documented_one_and_its_absence_is_told() -> None:
    document = (DEPLOY / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- scrape -->\n```yml\n(.*?)```\n<!-- /scrape -->", document, re.DOTALL)
    (job,) = [job["job_name"] for text in shown for job in read_tree(text, "README.md").value["scrape_configs"]]
    asked = [expression for _, expression in expressions() if "job=" in expression]
    assert asked == [f'up{{job="{job}"}} == 0 or absent(up{{job="{job}"}})']


def test_promtool_finds_no_mistake_in_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus); the names are checked above")
    checked = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_first_of_its_kind_alerts_as_well_and_not_for_ever(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    counted = {  # alert -> the metric whose first sample it tells, its labels, and how long
        "IncidentBridgeRefusesSender": ("refused", {"source": "lab", "what": "unauthorized"}, 15),
        "IncidentBridgeUnreadable": ("received", {"source": "lab", "state": "rejected"}, 15),
        "IncidentBridgeUnmatched": ("alerts", {"source": "lab", "outcome": "unmatched"}, 60),
    }
    first_m = 5
    series = [
        {"series": f"incident_bridge_{name}_total{selector(labels)}", "values": f"_x{first_m} 11x100"}
        for name, labels, _ in counted.values()
    ]
    mended_m = 25  # dead letters are a gauge: they alert until they are replayed or discarded
    series.append(
        {
            "series": 'incident_bridge_dead_letters{account="pd"}',
            "values": f"_x{first_m} 1x{mended_m - first_m - 2} 0x9",
        }
    )
    moments = [
        (alert, minute, fires)
        for alert, (_, _, lasts_m) in counted.items()
        for minute, fires in ((first_m - 1, False), (first_m + 1, True), (first_m + lasts_m + 2, False))
    ]
    moments += [
        ("IncidentBridgeDeadLetters", at, fires) for at, fires in ((4, False), (6, True), (mended_m + 1, False))
    ]
    asked = [
        {
            "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
        }
        for alert, minute, fires in moments
    ]
    story = {"interval": "1m", "input_series": series, "promql_expr_test": asked}
    file = tmp_path / "story.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [story]}))
    checked = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def selector(labels: dict[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def test_promtool_finds_no_mistake_in_the_metrics(ledger: Ledger) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    busy(ledger)
    text = Browser(web_app(ledger)).get("/metrics").text
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=30
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboard_is_one_and_its_panels_do_not_overlap() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
