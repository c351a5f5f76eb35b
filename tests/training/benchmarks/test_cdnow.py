"""Tests of training.benchmarks.cdnow and its commands: the same customers for all, and who learns from whom."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.inference.predictor import Predictor
from tests.training.benchmarks.conftest import CONFIG, Shop
from tests.training.test_cli import mistake, run
from training.benchmarks import cdnow, tables
from training.config import load
from training.data.cdnow import prepare
from training.data.dataset import Dataset
from training.evaluation import metrics
from training.evaluation.ranking import Floats
from training.evaluation.report import evaluate
from training.progress import Silent
from training.samples import read_sample

PEERS = ["bgnbd_gg", "bgnbd_gg_scaled", "tweedie", "ziln", "constant"]


@pytest.fixture(scope="module")
def predictor(shop: Shop) -> Iterator[Predictor]:
    """The shop's bundle."""
    loaded = Predictor.load(shop.bundle)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def comparison(shop: Shop, predictor: Predictor) -> dict[str, Any]:
    """Of the shop's bundle, on its own data."""
    dataset = Dataset(shop.data, predictor.declaration)
    return cdnow.compare(predictor, dataset, replicates=20, seed=3, threads=1, stages=Silent())


def labels(shop: Shop, predictor: Predictor, part: str) -> Floats:
    """Revenue (n, 3) of the rows of one part of the bundle's split, read from the files."""
    window = predictor.manifest.data_window[part]
    dataset = Dataset(shop.data, predictor.declaration)
    hours = [p for p in dataset.partitions if window["first"] <= p.name <= window["last"]]
    batches = [batch.targets for batch in dataset.read(hours, targets=True)]
    return np.concatenate(
        [np.column_stack([t[f"revenue_d{h}"] for h in (30, 90, 270)]) for t in batches if t is not None]
    )


def test_all_are_judged_on_the_customers_who_taught_nobody(
    shop: Shop, predictor: Predictor, comparison: dict[str, Any]
) -> None:
    """Half of the customers, by name all six predictors; the bundle's errors are those of its own predictions."""
    y = labels(shop, predictor, "validation")
    assert list(comparison["amounts"]) == ["pltv", *PEERS]
    assert comparison["protocol"]["customers_judging"] == len(y)
    assert comparison["protocol"]["customers_learning"] == 1200 - len(y)
    report = json.loads((shop.bundle / "report.json").read_text())
    for day, column in (("d30", 0), ("d90", 1), ("d270", 2)):
        assert comparison["protocol"]["payers_judging"][day] == (y[:, column] > 0).sum()
        for name in cdnow.METRICS:
            ours = comparison["amounts"]["pltv"][day][name]["value"]
            assert ours == pytest.approx(report["amounts"]["pltv"][day][name]["value"])
    assert comparison["order_violations"]["pltv"] == 0


def test_the_constant_is_the_mean_of_those_who_teach(
    shop: Shop, predictor: Predictor, comparison: dict[str, Any]
) -> None:
    """Its errors by the plain formulae; it has no order."""
    taught = np.concatenate([labels(shop, predictor, part) for part in ("train", "calibration")])
    y = labels(shop, predictor, "validation")
    for day, column in (("d30", 0), ("d90", 1), ("d270", 2)):
        figures, mean = comparison["amounts"]["constant"][day], np.full(len(y), taught[:, column].mean())
        assert figures["mae"]["value"] == pytest.approx(metrics.mae(y[:, column], mean))
        assert figures["rmse"]["value"] == pytest.approx(metrics.rmse(y[:, column], mean))
        assert figures["spearman"]["value"] is None


def test_scaling_moves_the_level_and_not_the_order(comparison: dict[str, Any]) -> None:
    """The scaled model's bias is the plain one's times its number; Gini and Spearman are the same."""
    for day, scale in comparison["models"]["scale"].items():
        plain, scaled = (comparison["amounts"][name][day] for name in PEERS[:2])
        assert scaled["bias_realised"]["value"] == pytest.approx(plain["bias_realised"]["value"] * scale)
        for name in ("normalised_gini", "spearman"):
            assert scaled[name]["value"] == pytest.approx(plain[name]["value"])


def test_who_judges_teaches_nobody_a_label(
    shop: Shop, predictor: Predictor, comparison: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the judges' labels lost, every peer answers as before."""
    seen: list[Any] = []

    def keep(rows: Any, scored: Any, *args: Any, **options: Any) -> Any:
        seen.append(scored)
        return evaluate(rows, scored, *args, **options)

    monkeypatch.setattr(cdnow, "evaluate", keep)
    dataset = Dataset(shop.data, predictor.declaration)
    options = {"replicates": 10, "seed": 3, "threads": 1, "stages": Silent()}
    cdnow.compare(predictor, dataset, **options)  # type: ignore[arg-type]
    judging = predictor.manifest.data_window["validation"]["first"]

    def forget(dataset: Dataset, partitions: Any, *args: Any) -> Any:
        sample = read_sample(dataset, partitions, *args)
        if partitions[0].name == judging:
            sample.labels.revenue[:] = np.arange(len(sample))[:, None] % 7
        return sample

    monkeypatch.setattr(cdnow, "read_sample", forget)
    cdnow.compare(predictor, dataset, **options)  # type: ignore[arg-type]
    for before, after in zip(*seen, strict=True):
        np.testing.assert_array_equal(before.ltv, after.ltv)


def test_the_tables_say_what_the_figures_are(comparison: dict[str, Any]) -> None:
    """A table a horizon with a line a predictor, in Markdown and aligned for a terminal; a verdict a peer."""
    page, screen = tables.markdown(comparison), tables.text(comparison)
    for day in ("30", "90", "270"):
        assert f"## {day} days (" in page
        assert f"{day} days" in screen
    assert all(page.count(f"| {name} |") >= 3 for name in ["pltv", *PEERS])
    figure = comparison["amounts"]["ziln"]["d90"]["rmse"]["value"]
    assert f"{figure:.4g} [" in page
    assert f"{figure:.4g} [" in screen
    verdicts = [line for line in page.splitlines() if line.startswith("| bgnbd_gg_scaled |") and "[" not in line]
    assert len(verdicts) == 1
    assert all(name in verdicts[0] for name in ("MAE", "RMSE", "Gini", "Spearman", "decile MAPE", "bias"))


def test_three_commands_from_the_file_to_the_table(
    capfd: pytest.CaptureFixture[str], shop: Shop, tmp_path: Path
) -> None:
    """`cdnow` prepares the same rows again, `benchmark-cdnow` prints the table and writes it twice."""
    code, out, _ = run(capfd, "cdnow", "--raw", shop.raw, "--out", tmp_path / "data")
    assert code == 0
    assert "1200 customers in 24 partitions" in out
    args = ("--bundle", shop.bundle, "--data", tmp_path / "data", "--out", tmp_path / "out", "--replicates", 10)
    code, out, _ = run(capfd, "benchmark-cdnow", *args)
    assert code == 0
    assert "bgnbd_gg_scaled" in out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cdnow.json", "cdnow.md"]
    found = json.loads((tmp_path / "out" / "cdnow.json").read_text())
    assert list(found["amounts"]) == ["pltv", *PEERS]


def test_mistakes_are_one_line(capfd: pytest.CaptureFixture[str], shop: Shop, tmp_path: Path) -> None:
    """A bad file, customers of another split, a bundle of another problem's shape of data, a place that is a file."""
    bad = tmp_path / "bad.txt"
    bad.write_text("00001 19970101 1\n")
    assert "line 1" in mistake(run(capfd, "cdnow", "--raw", bad, "--out", tmp_path / "x"))
    prepare(shop.raw, tmp_path / "other", seed=9)
    args = ("benchmark-cdnow", "--bundle", shop.bundle, "--replicates", 10)
    other = mistake(run(capfd, *args, "--data", tmp_path / "other", "--out", tmp_path / "y"))
    assert "expected the customers that the bundle was trained on" in other
    shutil.copy(bad, tmp_path / "z")
    place = mistake(run(capfd, *args, "--data", shop.data, "--out", tmp_path / "z"))
    assert "expected a folder to write to, received a file" in place


def test_the_shipped_declaration_needs_no_code() -> None:
    """`config/cdnow.yaml` loads: nested histories, three horizons, half of the hours to judge."""
    declaration, config = load(CONFIG)
    assert declaration.targets.horizons == (30, 90, 270)
    assert {f.kind for f in declaration.scope("user")} == {"timestamps", "histogram"}
    assert config.split.validation == 0.5
