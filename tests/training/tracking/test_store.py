"""Tests of training.tracking.store, against MLflow's own SQLite store in a folder."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest

from app.inference.bundle import read_manifest, seal
from app.inference.predictor import Predictor
from tests.support.market import Market
from tests.training.conftest import Tiny
from tests.training.test_cli import run
from training import pipeline
from training.tracking.options import TrackingConfig
from training.tracking.store import Tracker, TrackingError

pytest.importorskip("mlflow", reason="MLflow is not installed: scripts/setup.sh mlflow")

# Of MLflow's own use of SQLAlchemy, pydantic and of stages; what of it is ours to know is asserted below.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory that several tests share: to make the store's tables takes seconds."""
    return tmp_path_factory.mktemp("tracking")


@pytest.fixture(autouse=True)
def there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's store but the one in that directory."""
    monkeypatch.chdir(home)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_training_is_kept_with_all_that_it_was(tiny: Tiny, home: Path, tmp_path: Path) -> None:
    """Parameters, metrics with their intervals, configuration, and a bundle that still proves itself."""
    tracker = Tracker(TrackingConfig())
    kept = tracker.trained(tiny.trained.bundle, tiny.config, tiny.training.model_dump(mode="json"))
    assert kept.version == "1"
    assert (home / "mlruns" / "mlflow.db").exists()

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    run = client.get_run(kept.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["classifier.rounds"] == "8"
    assert run.data.params["split.validation"] == "0.2"
    msle = tiny.trained.manifest.metrics["log_mean"]["msle"]
    assert run.data.metrics["log_mean.msle"] == msle["value"]
    assert run.data.metrics["log_mean.msle.low"] == msle["low"]
    assert run.data.metrics["rows.train"] == tiny.trained.manifest.data_window["train"]["rows"]
    assert run.data.tags["digest"] == tiny.trained.manifest.digest
    folder = Path(client.download_artifacts(run_id=kept.run_id, path="", dst_path=str(tmp_path)))
    assert (folder / "config" / tiny.config.name).read_bytes() == tiny.config.read_bytes()
    Predictor.load(folder / "bundle").close()


def test_pictures_are_kept(trained: Market, home: Path, tmp_path: Path) -> None:
    """Where the report was drawn."""
    kept = Tracker(TrackingConfig()).trained(trained.bundle, trained.config, {})

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    folder = Path(client.download_artifacts(run_id=kept.run_id, path="plots", dst_path=str(tmp_path)))
    assert {path.name for path in folder.glob("*.png")} == {path.name for path in (trained.bundle / "plots").iterdir()}


def test_a_version_of_the_model_is_a_bundle_with_a_stage(tiny: Tiny, home: Path, tmp_path: Path) -> None:
    """The last trained is the challenger; the promoted is the champion and the one before it the previous."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    tracker = Tracker(TrackingConfig(model="stages", experiment="stages"))
    bundles = []
    for name in ("one", "two", "three"):
        bundles.append(tmp_path / name)
        shutil.copytree(tiny.trained.bundle, bundles[-1])
        seal(bundles[-1], dataclasses.replace(read_manifest(bundles[-1]), name=name))

    def stages() -> dict[str, str | None]:
        versions = client.search_model_versions("name = 'stages'")
        aliases = client.get_registered_model("stages").aliases
        by_tag = {str(one.tags["stage"]): str(one.version) for one in versions if "stage" in one.tags}
        assert {stage: str(version) for stage, version in aliases.items()} == by_tag
        return {str(client.get_model_version("stages", v).tags["bundle"]): stage for stage, v in by_tag.items()}

    training = tiny.training.model_dump(mode="json")
    for bundle in bundles[:2]:
        tracker.trained(bundle, tiny.config, training)
    assert stages() == {"two": "challenger"}
    assert tracker.promoted(bundles[0]) == "1"
    assert stages() == {"two": "challenger", "one": "champion"}
    assert tracker.promoted(bundles[1]) == "2"
    assert stages() == {"two": "champion", "one": "previous"}
    assert tracker.promoted(bundles[1]) == "2"
    assert stages() == {"two": "champion", "one": "previous"}
    assert tracker.promoted(bundles[2]) is None
    assert tracker.promoted(bundles[0]) == "1"
    assert stages() == {"one": "champion", "two": "previous"}


def test_commands_tell_where_they_are_asked_to(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tiny: Tiny, home: Path
) -> None:
    """`train --track` keeps a challenger, `promote --track` makes it the champion."""
    from mlflow.tracking import MlflowClient

    monkeypatch.setattr(pipeline, "judge", lambda *_: tiny.trained.evaluation)
    bundle = home / "models" / "told"
    code, out, _ = run(capfd, "train", "--config", tiny.config, "--data", tiny.data, "--out", bundle, "--track")
    assert code == 0
    version = out.rstrip().rsplit(" ", 1)[1]
    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    assert str(client.get_model_version_by_alias("pltv", "challenger").version) == version
    assert run(capfd, "promote", "--bundle", bundle, "--models", bundle.parent, "--track")[0] == 0
    assert str(client.get_model_version_by_alias("pltv", "champion").version) == version
    assert read_manifest(bundle).digest == client.get_model_version("pltv", version).tags["digest"]


def test_nothing_is_registered_where_none_is_asked_for(tiny: Tiny) -> None:
    """The run is there, a version is not."""
    tracker = Tracker(TrackingConfig(experiment="quiet", model="quiet", register_bundles=False))
    assert tracker.trained(tiny.trained.bundle, tiny.config, {}).version is None
    assert tracker.promoted(tiny.trained.bundle) is None


def test_the_environment_names_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`MLFLOW_TRACKING_URI` wins, and nothing is written here then."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    assert Tracker(TrackingConfig()).uri.endswith("elsewhere.db")
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere.db"]


def test_what_is_wrong_is_one_line_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of no known kind; no MLflow at all."""
    with pytest.raises(TrackingError, match="refused") as caught:
        Tracker(TrackingConfig(), "nosuch://user:secret@host/db")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(TrackingError, match="not installed"):
        Tracker(TrackingConfig())
