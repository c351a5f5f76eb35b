"""The section `training:`: what is unknown, missing or impossible is one line that names it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.errors import DeclarationError
from training.config import load

SMADEX = Path(__file__).parents[2] / "config" / "smadex.yaml"


@pytest.fixture
def raw() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(SMADEX.read_text(encoding="utf-8"))
    return parsed


def refusal(tmp_path: Path, raw: Any) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(DeclarationError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_the_shipped_declaration_is_valid() -> None:
    """`config/smadex.yaml` loads, and its split is by shares."""
    declaration, config = load(SMADEX)
    assert declaration.name == "smadex"
    assert set(config.split.options()) == {"calibration", "validation"}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("classifer",), {}, "training.classifer: no such key"),
        (("classifier", "round"), 3, "training.classifier.round: no such key"),
        (("classifier", "rounds"), 0, "training.classifier.rounds"),
        (("folds",), "five", "training.folds"),
        (("regressors", "objective"), "poisson", "training.regressors.objective"),
        (("split",), {"calibration": 0.6, "validation": 0.6}, "leave nothing to train on"),
        (("split",), {"train_until": "2025-10-03"}, "go together"),
        (("multiplier", "lo"), 20.0, "lo must be below hi"),
        (("multiplier", "horizon"), 28, "training.multiplier.horizon: expected one of [1, 7, 14], received 28"),
        (("multiplier", "by"), "advertiser", "training.multiplier.by"),
        (("prior", "levels"), [["planet"]], "training.prior.levels"),
        (("report", "cohorts"), ["bcat"], "training.report.cohorts"),
        (("log_mean",), None, "E[log1p y]"),
    ],
)
def test_a_wrong_entry_is_named(
    tmp_path: Path, raw: dict[str, Any], path: tuple[str, ...], value: Any, expected: str
) -> None:
    """The line holds the key's path or the rule that it breaks."""
    changed = copy.deepcopy(raw)
    section = changed["training"]
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    assert expected in refusal(tmp_path, changed)


def test_a_missing_section_or_model_is_named(tmp_path: Path, raw: dict[str, Any]) -> None:
    """`training` itself, and each model it must have."""
    without = {k: v for k, v in raw.items() if k != "training"}
    assert "training: expected a mapping" in refusal(tmp_path, without)
    del raw["training"]["classifier"]
    assert "training.classifier: is missing" in refusal(tmp_path, raw)


@pytest.mark.parametrize("text", ["a: [1", "\tb: 1", "- 1\n- 2", ""])
def test_what_is_not_yaml_or_no_mapping_is_one_line(tmp_path: Path, text: str) -> None:
    """Broken YAML names the line, other documents their type."""
    refusal(tmp_path, text)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """It names the file."""
    with pytest.raises(DeclarationError, match=r"nowhere\.yaml: can not be read"):
        load(tmp_path / "nowhere.yaml")


def test_dates_split_by_date(tmp_path: Path, raw: dict[str, Any]) -> None:
    """Given dates replace the shares."""
    raw["training"]["split"] = {"train_until": "2025-10-04", "calibration_until": "2025-10-05"}
    path = tmp_path / "dated.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    assert set(load(path)[1].split.options()) == {"train_until", "calibration_until"}


def test_sampling_is_set_by_the_section_or_in_its_place(tmp_path: Path, raw: dict[str, Any]) -> None:
    """What is not given stays as configured; what is impossible names the key, as in the section."""
    raw["training"]["sampling"] = {"max_partitions": 24, "heldout_rows": 1000}
    path = tmp_path / "sampled.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    config = load(path)[1]
    assert config.sampled().sampling == config.sampling
    sampling = config.sampled(train_frac=0.25, max_partitions=None).sampling
    assert (sampling.train_frac, sampling.max_partitions, sampling.heldout_rows) == (0.25, 24, 1000)
    for key, value in (("train_frac", 0.0), ("train_frac", 1.5), ("max_partitions", 2)):
        with pytest.raises(DeclarationError, match=rf"^training\.sampling\.{key}: .*, received {value}$"):
            config.sampled(**{key: value})
