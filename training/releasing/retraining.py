"""One run of what a schedule repeats: refresh the data, train, verify, promote, reload, and drop what is old.

Each step begins only when the one before is done; a failure leaves `models/current`, and the service, as they were.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from app.errors import InputError
from app.inference.manifest import MANIFEST, read_manifest
from app.inference.predictor import Predictor
from training.config import load
from training.data.dataset import Dataset
from training.locking import exclusive
from training.pipeline import train
from training.progress import Stages
from training.releasing.duel import Terms
from training.releasing.promotion import Outcome, current, promote
from training.releasing.reloading import reload_service
from training.tracking.store import Tracker

_LAST_WORDS: Final = 300  # characters of a failed refresh that are shown


@dataclass(frozen=True)
class Recipe:
    """What to retrain.

    Parameters
    ----------
    config, data, models : Path
        Configuration, hourly partitions, folder of bundles.
    prefix : str
        Bundles are called PREFIX-YYYYMMDDTHHMMSS, of the time they were begun, UTC.
    refresh : str or None
        A command line that brings new partitions into `data`; run without a shell.
    services : tuple of str
        URLs to reload.
    keep : int
        Bundles of the prefix that stay, the newest ones; the one in use stays in any case.
    force : bool
        Train and promote whatever the data and the figures say.
    processed : Path or None
        As of `training.pipeline.train`.
    """

    config: Path
    data: Path
    models: Path
    prefix: str
    refresh: str | None
    services: tuple[str, ...]
    keep: int
    force: bool
    processed: Path | None = None


def retrain(
    recipe: Recipe,
    terms: Terms,
    stages: Stages,
    tell: Callable[[str], None],
    *,
    key: bytes | None = None,
    token: str | None = None,
    tracker: Tracker | None = None,
) -> Outcome | None:
    """Run once.

    Parameters
    ----------
    recipe : Recipe
    terms : Terms
    stages : Stages
    tell : callable
        Given a line on each step.
    key : bytes or None
        Signs the bundle.
    token : str or None
        The services' admin token.
    tracker : Tracker or None

    Returns
    -------
    Outcome or None
        Of the promotion; None where there was nothing new to learn from.

    Raises
    ------
    PltvError
        One line: the step that failed, and why.
    """
    with exclusive(recipe.models / ".retraining.lock", "retrain"):
        if recipe.refresh is not None:
            with stages.stage("refresh the data"):
                _refresh(recipe.refresh)
        declaration, config = load(recipe.config)
        newest = Dataset(recipe.data, declaration).partitions[-1].name
        if not recipe.force and (seen := _seen(recipe.models)) is not None and newest <= seen:
            tell(f"nothing new: the data end with {newest}, which the bundle in use has seen")
            return None
        bundle = recipe.models / f"{recipe.prefix}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        train(declaration, config, recipe.data, bundle, stages=stages, key=key, processed=recipe.processed)
        tell(f"trained: {bundle}")
        with stages.stage("verify"):
            Predictor.load(bundle, key=key).close()
        if tracker is not None:
            tracker.trained(bundle, recipe.config, config.model_dump(mode="json"))
        outcome = promote(bundle, recipe.data, recipe.models, terms, stages, force=recipe.force, key=key)
        tell(outcome.why)
        if outcome.promoted:
            if tracker is not None:
                tracker.promoted(bundle)
            _reload(recipe.services, bundle.name, token, tell)
        for name in _dropped(recipe, outcome):
            shutil.rmtree(recipe.models / name)
            tell(f"dropped: {recipe.models / name}")
        return outcome


def _refresh(command: str) -> None:
    try:
        words = shlex.split(command)
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"can not be run ({error})", "refresh") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip())[-_LAST_WORDS:]
        raise InputError(f"expected {words[0]} to end with 0, received {done.returncode}: {last}", "refresh")


def _seen(models: Path) -> str | None:
    """The last hour that the bundle in use was trained or judged on; None where nothing is in use."""
    name = current(models)
    return None if name is None else str(read_manifest(models / name).data_window["validation"]["last"])


def _reload(services: Sequence[str], bundle: str, token: str | None, tell: Callable[[str], None]) -> None:
    """Ask every service, also after one that fails: those that can go on should."""
    failed = []
    for url in services:
        try:
            tell(f"reloaded: {url}{_workers(reload_service(url, bundle, token))}")
        except InputError as error:
            failed.append(str(error))
    if failed:
        raise InputError(f"{bundle} is promoted, but not everywhere in use: {'; '.join(failed)}")


def _workers(answer: dict[str, Any]) -> str:
    return f", {answer['workers']} workers" if "workers" in answer else ""


def _dropped(recipe: Recipe, outcome: Outcome) -> list[str]:
    """Bundles of the prefix beyond the newest `keep`, but for the one in use and the one before it."""
    needed = {current(recipe.models), outcome.champion}
    ours = sorted(path.parent.name for path in recipe.models.glob(f"{recipe.prefix}-????????T??????/{MANIFEST}"))
    return [name for name in ours[: -recipe.keep] if name not in needed]
