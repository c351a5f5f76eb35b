"""Tests of training.releasing.retraining and reloading, by `pltv retrain` on the tiny market."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from app.inference.predictor import Predictor
from tests.training.conftest import Tiny
from tests.training.test_cli import mistake, run, service
from training import pipeline
from training.releasing.promotion import current


@pytest.fixture(autouse=True)
def without_report(monkeypatch: pytest.MonkeyPatch, tiny: Tiny) -> None:
    """The report of a training takes longest and is not what is tested."""

    def judged(*_: Any) -> dict[str, Any]:
        return tiny.trained.evaluation

    monkeypatch.setattr(pipeline, "judge", judged)


def copying(source: Path, target: Path) -> str:
    """A refresh that brings rows."""
    return f'{sys.executable} -c "import shutil; shutil.copytree({str(source)!r}, {str(target)!r})"'


def bundles(models: Path) -> list[str]:
    """Names of the bundles there."""
    return sorted(path.parent.name for path in models.glob("*/manifest.json") if not path.parent.is_symlink())


def test_one_command_from_data_to_the_service(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny: Tiny, tmp_path: Path
) -> None:
    """Rows are brought, a bundle is trained, sound and in use, and the service is told with its token; old ones go.

    A second run finds nothing new.
    """
    monkeypatch.setenv("PLTV_TOKEN", "secret")
    data, models = tmp_path / "data", tmp_path / "models"
    for old in ("retrained-20240101T000000", "retrained-20240102T000000", "mine"):
        shutil.copytree(tiny.trained.bundle, models / old)
    args: tuple[object, ...] = ("retrain", "--config", tiny.config, "--data", data, "--models", models, "--keep", 2)
    args = (*args, "--processed", tmp_path / "processed")
    with service(200, {"bundle": "x", "workers": 2}) as (url, calls):
        code, out, _ = run(capfd, *args, "--refresh", copying(tiny.data, data), "--service", url)
    assert code == 0
    name = current(models)
    assert name is not None
    assert calls == [{"path": "/models/reload", "token": "Bearer secret", "bundle": name}]
    assert out.splitlines() == [
        f"trained: {models / name}",
        f"{name} is in use now: there was none before",
        f"reloaded: {url}, 2 workers",
        f"dropped: {models / 'retrained-20240101T000000'}",
    ]
    assert bundles(models) == ["mine", "retrained-20240102T000000", name]
    assert len(list((tmp_path / "processed").glob("*/models-*.pickle"))) == 1
    Predictor.load(models / name).close()
    code, out, _ = run(capfd, *args)
    assert code == 0
    assert out.startswith("nothing new: the data end with datetime=")
    assert len(bundles(models)) == 3


def test_a_loser_stays_out_and_is_no_failure(
    capfd: pytest.CaptureFixture[str], tiny: Tiny, stump: Path, later: Path, tmp_path: Path
) -> None:
    """New hours came, but what was trained knows less than the bundle in use: exit code 0, nobody is told."""
    data, models = tmp_path / "data", tmp_path / "models"
    shutil.copytree(tiny.data, data)
    shutil.copytree(tiny.trained.bundle, models / "good")
    (models / "current").symlink_to("good")
    for hour in sorted(later.iterdir())[:3]:
        shutil.copytree(hour, data / hour.name)
    args: tuple[object, ...] = ("retrain", "--config", stump.parent / "stump.yaml", "--data", data, "--models", models)
    args = (*args, "--processed", tmp_path / "processed")
    with service(200, {"workers": 1}) as (url, calls):
        code, out, _ = run(capfd, *args, "--metric", "log_loss", "--replicates", 60, "--service", url)
    assert code == 0
    assert "is not promoted, good stays in use: log_loss of p_buyer is worse by" in out
    assert current(models) == "good"
    assert calls == []


def test_a_step_that_fails_is_one_line_and_changes_nothing(
    capfd: pytest.CaptureFixture[str], tiny: Tiny, tmp_path: Path
) -> None:
    """A refresh that fails, or is not there; data without labels of the future."""
    models = tmp_path / "models"
    args: tuple[object, ...] = ("retrain", "--config", tiny.config, "--data", tiny.data, "--models", models)
    args = (*args, "--processed", tmp_path / "processed")
    failing = f"{sys.executable} -c \"import sys; sys.exit('the bucket is gone')\""
    assert "to end with 0, received 1: the bucket is gone" in mistake(run(capfd, *args, "--refresh", failing))
    assert "refresh: can not be run" in mistake(run(capfd, *args, "--refresh", "no-such-program --now"))
    assert "refresh: can not be run" in mistake(run(capfd, *args, "--refresh", ""))
    assert bundles(models) == []
    assert current(models) is None


def test_a_service_that_fails_is_told_of_after_all_were_asked(
    capfd: pytest.CaptureFixture[str], tiny: Tiny, tmp_path: Path
) -> None:
    """The bundle stays promoted; the line names who does not answer from it, the others do."""
    models = tmp_path / "models"
    args: tuple[object, ...] = ("retrain", "--config", tiny.config, "--data", tiny.data, "--models", models)
    args = (*args, "--processed", tmp_path / "processed")
    with (
        service(401, {"detail": "a token is missing"}) as (closed, _),
        service(200, {"workers": 1}) as (open_, calls),
    ):
        result = run(capfd, *args, "--service", closed, "--service", open_)
    said = mistake(result)
    assert "is promoted, but not everywhere in use" in said
    assert "answered 401: a token is missing" in said
    assert len(calls) == 1
    assert current(models) is not None
