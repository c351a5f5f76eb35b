"""A training on rows that count by a column: the report tells what they are worth, and the column is no feature."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from app.errors import DeclarationError
from app.inference.predictor import Predictor
from tests.training.conftest import Tiny
from training.config import TrainingConfig, load
from training.pipeline import train

CLIP = 5.0


@pytest.fixture(scope="module")
def weighted(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny market with a column of weights, the same in every file of as many rows."""
    data = tmp_path_factory.mktemp("weighted") / "day"
    shutil.copytree(tiny.data, data)
    for file in data.glob("*/*.parquet"):
        table = pq.read_table(file, partitioning=None)
        weights = np.random.default_rng(table.num_rows).gamma(0.5, 2.0, table.num_rows)
        pq.write_table(table.append_column("won_inverse", pa.array(weights)), file)
    return data


def section(tiny: Tiny, **sample_weight: Any) -> dict[str, Any]:
    """The tiny configuration's training, weighted."""
    raw: dict[str, Any] = yaml.safe_load(tiny.config.read_text(encoding="utf-8"))["training"]
    return {**raw, "sample_weight": sample_weight}


def test_a_weighted_training_tells_what_its_rows_are_worth(tiny: Tiny, weighted: Path, tmp_path: Path) -> None:
    """Effective rows as the files say, other models than without weights, a sound bundle that knows no such column."""
    config = TrainingConfig.from_dict(section(tiny, column="won_inverse", clip=CLIP), tiny.declaration)
    trained = train(tiny.declaration, config, weighted, tmp_path / "weighted")
    window = trained.manifest.data_window
    parts = {}
    for part in ("train", "validation"):
        hours = [p for p in sorted(weighted.iterdir()) if window[part]["first"] <= p.name <= window[part]["last"]]
        files = [
            pq.read_table(f, columns=["won_inverse"], partitioning=None) for h in hours for f in h.glob("*.parquet")
        ]
        w = np.minimum(np.concatenate([f["won_inverse"].to_numpy() for f in files]), CLIP)
        parts[part] = float(w.sum() ** 2 / (w**2).sum())
    assert trained.evaluation["effective_training_rows"] == pytest.approx(parts["train"])
    assert trained.evaluation["effective_rows"] == pytest.approx(parts["validation"])
    report = (trained.bundle / "report.md").read_text(encoding="utf-8")
    assert f"`won_inverse`, clipped at 5; effective rows, (Σw)²/Σw²: training {parts['train']:,.0f} of" in report
    gate = "models/base.gate.txt"
    assert trained.manifest.files[gate].sha256 != tiny.trained.manifest.files[gate].sha256
    predictor = Predictor.load(trained.bundle)
    assert not any("won_inverse" in name for name in predictor.plan.names)
    predictor.close()


@pytest.mark.parametrize("column", ["wifi_ratio", "iap_revenue_d7", "retention_d1", "row_id"])
def test_a_feature_or_a_target_is_no_weight(tiny: Tiny, column: str) -> None:
    """One line names the key; a weight that is a feature too would leak how a row was drawn."""
    with pytest.raises(DeclarationError, match=rf"^training\.sample_weight\.column: expected .*, received '{column}'$"):
        TrainingConfig.from_dict(section(tiny, column=column), tiny.declaration)


def test_the_shipped_configuration_weighs_nothing(tiny: Tiny) -> None:
    """Nothing is read beside what is declared."""
    assert load(tiny.config)[1].weighting is None
