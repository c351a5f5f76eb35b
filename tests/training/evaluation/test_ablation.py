"""Tests of training.evaluation.ablation and of its table, by three bundles of the tiny market."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from app.inference.bundle import read_manifest
from tests.training.conftest import Tiny
from training.evaluation.ablation import Plan, ablate
from training.evaluation.ablation_table import conclusions, deciding, outcomes, winner, write
from training.evaluation.latency import Cost
from training.evaluation.variants import Ablations, Variant, changed, read_yaml
from training.progress import Silent

VARIANTS = (
    Variant("same", "nothing", "off", {"training": {"history_mask": 0.15}}),
    Variant("stump", "all trees but one", "off", {"training": {"classifier": {"rounds": 1}}}),
    Variant("deployable", "mature labels only", "other", {"training": {"maturity": {"embargo": True}}}),
)


@pytest.fixture(scope="module")
def plan(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The tiny configuration, itself again, one of a stump, and one that has no mature label to learn from.

    The first two are there already, as an interrupted run would have left them.
    """
    out = tmp_path_factory.mktemp("ablation")
    (out / "configs").mkdir()
    for name, change in (("default", {}), (VARIANTS[0].name, VARIANTS[0].change)):
        shutil.copytree(tiny.trained.bundle, out / "models" / name)
        text = yaml.safe_dump(changed(read_yaml(tiny.config), change), sort_keys=False, allow_unicode=True)
        (out / "configs" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return Plan(tiny.config, tiny.data, out, Ablations(VARIANTS, None), 30, 5)


@pytest.fixture(scope="module")
def found(plan: Plan) -> dict[str, Any]:
    """What came of it."""
    return ablate(plan, Silent())


def test_variants_stand_beside_the_default(found: dict[str, Any], tiny: Tiny) -> None:
    """The default's figures are those of its own training; the same configuration differs from it in nothing."""
    evaluation = found["evaluation"]
    assert evaluation["predictors"] == ["default", "same", "stump", "oracle"]
    ours = tiny.trained.evaluation["log_mean"]["pltv"]["msle"]["value"]
    assert evaluation["log_mean"]["default"]["msle"]["value"] == ours
    assert outcomes(found) == {"same": "no difference", "stump": "worse", "deployable": "failed"}
    same = [v["improvement"] for v in evaluation["verdicts"] if v["baseline"] == "same"]
    assert all(one == {"value": 0.0, "low": 0.0, "high": 0.0} for one in same)


def test_costs_are_of_each_bundle(found: dict[str, Any]) -> None:
    """Every bundle has its microseconds, with nothing of the default's on top of itself."""
    assert list(found["cost"]) == ["default", "same", "stump"]
    assert found["cost"]["default"]["added_us"] == pytest.approx({"value": 0.0, "low": 0.0, "high": 0.0}, abs=1e-9)
    for one in found["cost"].values():
        assert one["total_us"]["value"] > one["models_us"]["value"] > 0.0
        assert one["features_us"]["low"] <= one["features_us"]["value"] <= one["features_us"]["high"]


def test_the_report_says_what_did_not_help(found: dict[str, Any]) -> None:
    """A method that is not missed did not help, one that is missed earns its place, a failure is told."""
    lines = conclusions(found)
    assert lines[0].startswith("**Did not help:** nothing. Without it (`same`): no difference")
    assert lines[1].startswith("**Earns its place:** all trees but one. Without it (`stump`): worse")
    assert "could not be trained" in lines[2]
    assert "mature buyer" in lines[2]
    assert lines[3].endswith("wins is `default`.**")


def test_a_cheaper_budget_or_a_better_variant_changes_the_winner(found: dict[str, Any]) -> None:
    """Where a variant is better it wins while the budget holds it; a failed one never does."""
    turned = json.loads(json.dumps(found))
    for one in turned["evaluation"]["verdicts"]:
        one["verdict"] = {"better": "worse", "worse": "better"}.get(one["verdict"], one["verdict"])
    assert outcomes(turned)["stump"] == "better"
    assert winner({**turned, "budget_us": 1e9})[0] == "stump"
    assert winner({**turned, "budget_us": 1e-9})[0] == "default"


def test_the_table_is_written(found: dict[str, Any], tmp_path: Path) -> None:
    """JSON, Markdown, a page and a picture; every variant is a line of the table."""
    paths = write(tmp_path, found)
    assert [path.name for path in paths] == ["ablation.json", "ablation.md", "ablation.html", "ablation.png"]
    assert json.loads(paths[0].read_text()) == found
    lines = paths[1].read_text().splitlines()
    for variant in VARIANTS:
        assert any(line.startswith(f"| {variant.name} | {variant.what} |") for line in lines)
    header = next(line for line in lines if line.startswith("| variant | what"))
    assert all(f"{metric} {where}" in header for where, metric in deciding(found))


def test_trained_bundles_are_used_again(plan: Plan, found: dict[str, Any]) -> None:
    """A second run trains nothing anew and finds the same errors; a changed variant is trained again."""
    created = {path.name: read_manifest(path).digest for path in (plan.out / "models").iterdir()}
    again = ablate(plan, Silent())
    assert again["evaluation"] == found["evaluation"]
    assert {path.name: read_manifest(path).digest for path in (plan.out / "models").iterdir()} == created
    other = Variant("stump", "another", "off", {"training": {"classifier": {"rounds": 2}}})
    ablate(Plan(plan.config, plan.data, plan.out, Ablations((other,), None), 10, 5), Silent())
    assert read_manifest(plan.out / "models" / "stump").digest != created["stump"]
    assert read_manifest(plan.out / "models" / "default").digest == created["default"]


def test_added_cost_is_paired() -> None:
    """A drift of the machine that both share does not widen the interval of the difference."""
    drift = np.linspace(10.0, 40.0, 40)
    default, variant = Cost(drift, drift), Cost(drift + 1.0, drift + 2.0)
    found = variant.to_json(default, seed=0)
    assert found["added_us"] == pytest.approx({"value": 3.0, "low": 3.0, "high": 3.0})
    assert found["total_us"]["high"] - found["total_us"]["low"] > 3.0
