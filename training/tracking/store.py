"""MLflow: trained bundles enter; runs, and versions of a registered model with their stage, leave.

By default all lies in `mlruns/` of the working directory, an SQLite file beside a folder of artefacts; with
`MLFLOW_TRACKING_URI` it goes where that points. A version of the registered model is a bundle. Its stage is both the
tag `stage` and an alias of the model, which names one version at a time: `challenger` the last trained, `champion` the
one in use, `previous` the one in use before.
"""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.errors import PltvError
from app.inference.manifest import Manifest, read_manifest
from training.tracking.figures import figures, parameters
from training.tracking.options import TrackingConfig

FOLDER: Final = Path("mlruns")
CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"
PREVIOUS: Final = "previous"
_BATCH: Final = 100  # parameters a call; MLflow's own limit


class TrackingError(PltvError):
    """The tracking store can not be used; what was to be told of is not affected."""


@dataclass(frozen=True)
class Tracked:
    """Where a training is kept: the run's identity, and the version of the registered model, None where none is."""

    run_id: str
    version: str | None


class Tracker:
    """An open tracking store.

    Parameters
    ----------
    config : TrackingConfig
    uri : str, optional
        Of the store; `MLFLOW_TRACKING_URI`, else SQLite in `mlruns/`.

    Attributes
    ----------
    uri, place : str
        Where it is; `place` is to be shown, without a password.

    Raises
    ------
    TrackingError
        MLflow is not installed, or the store can not be opened.
    """

    def __init__(self, config: TrackingConfig, uri: str | None = None) -> None:
        # Whoever trains did not ask for usage reports to be sent anywhere.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._config = config
        given = uri or os.environ.get("MLFLOW_TRACKING_URI") or None
        self.uri = given or f"sqlite:///{FOLDER.resolve() / 'mlflow.db'}"
        self.place = _without_password(self.uri)
        with _telling(self.uri):
            try:
                from mlflow.tracking import MlflowClient
            except ImportError:
                lacking = "MLflow is not installed: scripts/setup.sh mlflow, or pip install '.[mlflow]'"
                raise TrackingError(lacking) from None
            if given is None:
                FOLDER.mkdir(exist_ok=True)
            self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            self._experiment = self._open_experiment(None if given else (FOLDER / "artifacts").resolve().as_uri())

    def trained(self, bundle: Path, config: Path, training: Mapping[str, Any]) -> Tracked:
        """Keep a training: parameters, metrics with intervals, the configuration, plots, and the bundle as a version.

        Parameters
        ----------
        bundle : Path
            A sealed bundle.
        config : Path
            The file it was trained with.
        training : mapping
            Its section `training:`, with every default.

        Raises
        ------
        TrackingError
        """
        manifest = read_manifest(bundle)
        with _telling(self.uri):
            run_id, artifacts = self._keep_run(manifest, config, training)
            try:
                self._keep_files(run_id, bundle, config)
            except BaseException:
                self._client.set_terminated(run_id, "FAILED")
                raise
            version = self._register(manifest, run_id, artifacts) if self._config.register_bundles else None
            self._client.set_terminated(run_id, "FINISHED")
        return Tracked(run_id, version)

    def promoted(self, bundle: Path) -> str | None:
        """Make a bundle's version the champion, and the champion before it the previous one.

        Returns
        -------
        str or None
            The version; None where this bundle was never registered.

        Raises
        ------
        TrackingError
        """
        digest = read_manifest(bundle).digest
        with _telling(self.uri):
            model = self._config.model
            query = f"name = '{model}' and tags.digest = '{digest}'"
            found = self._client.search_model_versions(query)
            if not found:
                return None
            version = str(max(int(one.version) for one in found))
            before = self._holder(CHAMPION)
            if before is not None and before != version:
                self._stage(before, PREVIOUS)
            self._stage(version, CHAMPION)
            return version

    def _open_experiment(self, artifacts: str | None) -> str:
        name = self._config.experiment
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=artifacts))

    def _keep_run(self, manifest: Manifest, config: Path, training: Mapping[str, Any]) -> tuple[str, str]:
        from mlflow.entities import Metric, Param

        window = {part: f"{one['first']} to {one['last']}" for part, one in manifest.data_window.items()}
        tags = {"digest": manifest.digest, "bundle": manifest.name, "config": config.name} | window
        run = self._client.create_run(self._experiment, run_name=manifest.name, tags=tags)
        identity, now = str(run.info.run_id), int(time.time() * 1000)
        rows = {f"rows.{part}": float(one["rows"]) for part, one in manifest.data_window.items()}
        named = rows | {"features": float(len(manifest.feature_names))} | figures(manifest.metrics)
        metrics = [Metric(name, value, now, 0) for name, value in named.items()]
        params = [Param(name, value) for name, value in parameters(training).items()]
        for i in range(0, max(len(metrics), len(params)), _BATCH):
            self._client.log_batch(identity, metrics[i : i + _BATCH], params[i : i + _BATCH])
        return identity, str(run.info.artifact_uri)

    def _keep_files(self, run_id: str, bundle: Path, config: Path) -> None:
        self._client.log_artifact(run_id, str(config), "config")
        self._client.log_artifacts(run_id, str(bundle), "bundle")
        if (bundle / "plots").is_dir():
            self._client.log_artifacts(run_id, str(bundle / "plots"), "plots")

    def _register(self, manifest: Manifest, run_id: str, artifacts: str) -> str:
        model = self._config.model
        if not self._client.search_registered_models(f"name = '{model}'"):
            self._client.create_registered_model(model, description="Bundles of pltv; a version is a bundle.")
        tags = {"digest": manifest.digest, "bundle": manifest.name}
        kept = self._client.create_model_version(model, f"{artifacts}/bundle", run_id, tags=tags)
        version = str(kept.version)
        self._stage(version, CHALLENGER)
        return version

    def _stage(self, version: str, stage: str) -> None:
        """Give a version a stage; whoever held it, and what the version held, is no longer so."""
        model = self._config.model
        holder = self._holder(stage)
        if holder is not None and holder != version:
            self._client.delete_model_version_tag(model, holder, "stage")
        for alias in self._client.get_model_version(model, version).aliases:
            if alias in (CHALLENGER, CHAMPION, PREVIOUS) and alias != stage:
                self._client.delete_registered_model_alias(model, alias)
        self._client.set_registered_model_alias(model, stage, version)
        self._client.set_model_version_tag(model, version, "stage", stage)

    def _holder(self, stage: str) -> str | None:
        held = self._client.get_registered_model(self._config.model).aliases.get(stage)
        return None if held is None else str(held)


@contextmanager
def _telling(uri: str) -> Iterator[None]:
    """Turns what MLflow and its store raise into one line, and keeps their deprecations and their log to themselves."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except PltvError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TrackingError(_without_password(f"{uri}: MLflow refused ({reason[0]})")) from None


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)
