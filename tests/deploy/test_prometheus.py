"""Tests of deploy/prometheus: the alerts themselves, and that each is tested and has its section."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from tests.deploy.files import PROMETHEUS, ROOT, documents, program, rules

ALERTS = rules("alerts.rules.yml")
CASES = sorted((PROMETHEUS / "tests").glob("*.yml"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def expectations() -> list[dict[str, Any]]:
    """What the rule tests expect of expressions."""
    tests = [test for path in CASES for test in documents(path)[0]["tests"]]
    return [expectation for test in tests for expectation in test["promql_expr_test"]]


def test_configuration_and_rules_are_valid() -> None:
    """promtool takes the configuration, and with it every rule file."""
    promtool = program("promtool", "prometheus")
    subprocess.run([promtool, "check", "config", str(PROMETHEUS / "prometheus.yml")], check=True, capture_output=True)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_rules(path: Any) -> None:
    """promtool plays the series of the file to the rules: each alert fires when it should, and no sooner."""
    command = [program("promtool", "prometheus"), "test", "rules", str(path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_every_alert_is_seen_firing_and_not_firing(alert: str) -> None:
    """The rule tests hold a time at which it fires, and one at which nothing does."""
    told = [e for e in expectations() if "ALERTS" in e["expr"] and re.search(_matched(e["expr"]), alert)]
    assert any(f'alertname="{alert}"' in sample["labels"] for e in told for sample in e["exp_samples"])
    assert any(not e["exp_samples"] for e in told)


def _matched(expression: str) -> str:
    found = re.search(r'alertname=~?"([^"]+)"', expression)
    return f"^({found.group(1)})$" if found else ".*"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """It has a severity, a summary, a first step, and a section of docs/operations.md that its link leads to."""
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    step, _, link = rule["annotations"]["runbook"].rpartition(" ")
    assert step
    assert link == f"docs/operations.md#{rule['alert'].lower()}"
    assert f"\n### {rule['alert']}\n" in OPERATIONS


def test_the_runbook_speaks_of_no_other_alert() -> None:
    """Every section belongs to an alert that exists."""
    assert set(re.findall(r"^### (Pltv\w+)$", OPERATIONS, re.MULTILINE)) == {rule["alert"] for rule in ALERTS}
