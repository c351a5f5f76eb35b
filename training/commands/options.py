"""Options that several commands take, and how a bundle on the command line is opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

Bundle = Annotated[Path, typer.Option(help="Directory of the bundle, models/NAME.")]
Data = Annotated[Path, typer.Option(help="Folder of hourly parquet partitions.")]


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
