"""Options that several commands take, and how a bundle on the command line is opened."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.errors import InputError
from training.places import made, unmade

if TYPE_CHECKING:
    from training.tracking.options import TrackingConfig
    from training.tracking.store import Tracker

Bundle = Annotated[Path, typer.Option(help="Directory of the bundle, models/NAME.")]
Data = Annotated[Path, typer.Option(help="Folder of hourly parquet partitions.")]

Processed = Annotated[
    Path, typer.Option(help="Folder of features and finished stages, which an interrupted run resumes from.")
]
ProcessedGb = Annotated[
    float,
    typer.Option(
        min=0.0, help="GB that earlier runs there may take when this one begins; what is unused longest goes."
    ),
]

Track = Annotated[bool, typer.Option("--track", help="Tell MLflow: at MLFLOW_TRACKING_URI, else in mlruns/ here.")]


def open_tracker(wanted: bool, config: TrackingConfig | None) -> Tracker | None:
    """The tracking store, opened before anything long begins; None where neither option nor configuration asks for it.

    Raises
    ------
    TrackingError
    """
    if not wanted and config is None:
        return None
    from training.tracking.options import TrackingConfig
    from training.tracking.store import Tracker

    return Tracker(config or TrackingConfig())


def make_room(processed: Path, gigabytes: float) -> None:
    """Remove the runs unused for longest beyond a bound, and say so.

    Raises
    ------
    InputError, DataError
        Where nothing can be kept there, which would be found out after rows were read; or everybody may write there.
    """
    from training.scale.pruning import check_trusted, prune

    writable(processed)
    if not processed.is_dir():
        return
    check_trusted(processed)
    removed = prune(processed, gigabytes * 1e9)
    if removed:
        freed = sum(one.size for one in removed) / 1e9
        typer.echo(f"{processed}: removed {len(removed)} of the runs unused for longest, {freed:.1f} GB")


def writable(folder: Path) -> Path:
    """Try a folder that results go to, before anything long begins; one that is not there yet is not there afterwards.

    Raises
    ------
    InputError
        Where a file is in its place, or nothing can be written there.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError("expected a folder to write to, received a file", str(folder))
    try:
        missing = made(folder)
        try:
            with tempfile.TemporaryFile(dir=folder):
                return folder
        finally:
            unmade(missing)
    except OSError as error:
        raise InputError(f"can not be written ({error.strerror})", str(folder)) from None


def load_bundle(bundle: Path) -> Any:
    """A verified bundle, ready to predict.

    Raises
    ------
    BundleError
    """
    from app.inference.predictor import Predictor

    return Predictor.load(bundle, key=signing_key())


def signing_key() -> bytes | None:
    """The key that bundles are signed with, as the service's: PLTV_BUNDLE_KEY."""
    key = os.environ.get("PLTV_BUNDLE_KEY")
    return key.encode() if key else None
