"""A challenger, the bundle in use and later rows enter; `models/current` moves if the challenger wins.

One that loses changes nothing; the link moves in one step, so that whoever follows it sees the one bundle or the other.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from app.errors import BundleError, InputError
from app.inference.manifest import MANIFEST
from app.inference.predictor import Predictor
from training.locking import exclusive
from training.progress import Stages
from training.releasing.duel import Terms, duel

CURRENT: Final = "current"
LOG: Final = "promotions.jsonl"
"""In the folder of bundles: every move of `current`, a line each."""


@dataclass(frozen=True)
class Outcome:
    """What became of it.

    Parameters
    ----------
    promoted : bool
        Whether the challenger is the bundle in use now.
    challenger : str
    champion : str or None
        The bundle in use before; None where there was none.
    why : str
        One line.
    """

    promoted: bool
    challenger: str
    champion: str | None
    why: str


def promote(
    bundle: Path,
    data: Path | None,
    models: Path,
    terms: Terms,
    stages: Stages,
    *,
    force: bool = False,
    key: bytes | None = None,
) -> Outcome:
    """Move `models/current` to a bundle that wins; to any sound one by `force`, or where nothing is in use yet.

    Parameters
    ----------
    bundle : Path
        A directory of `models`.
    data : Path or None
        Hourly partitions with labels; None where nothing is to be judged.
    models : Path
    terms : Terms
    stages : Stages
    force : bool
        Ask no question but whether the bundle is sound.
    key : bytes or None
        Bundles are signed with it.

    Raises
    ------
    BundleError
        Either bundle is not sound.
    DataError, InputError
        There is nothing to judge on, or the bundle lies elsewhere.
    """
    if bundle.resolve().parent != models.resolve():
        raise InputError(f"expected a bundle in {models}, received {bundle}", "bundle")
    name = bundle.resolve().name
    with exclusive(models / ".promotion.lock", "promote"):
        challenger = Predictor.load(bundle.resolve(), key=key)
        try:
            before = current(models)
            if before == name:
                return Outcome(True, name, name, f"{name} is in use already")
            outcome = _decided(challenger, name, before, data, models, terms, stages, force, key)
        finally:
            challenger.close()
        if outcome.promoted:
            _point(models, name)
            _log(models, outcome)
    return outcome


def current(models: Path) -> str | None:
    """Name of the bundle in use; None where there is none, or the link leads nowhere.

    Raises
    ------
    InputError
        When `current` is not a link to a bundle beside it.
    """
    link = models / CURRENT
    if not link.is_symlink():
        if link.exists():
            raise InputError("expected a symbolic link to a bundle beside it, received something else", str(link))
        return None
    if not (link / MANIFEST).exists():
        return None
    if link.resolve().parent != models.resolve():
        raise InputError(f"expected a link to a bundle beside it, received {link.readlink()}", str(link))
    return link.resolve().name


def _decided(
    challenger: Predictor,
    name: str,
    before: str | None,
    data: Path | None,
    models: Path,
    terms: Terms,
    stages: Stages,
    force: bool,
    key: bytes | None,
) -> Outcome:
    if before is None:
        return Outcome(True, name, None, f"{name} is in use now: there was none before")
    if force:
        return Outcome(True, name, before, f"{name} is in use now in place of {before}: forced, not judged")
    if data is None:
        raise InputError(f"expected rows to judge {name} against {before} on, or --force", "data")
    try:
        champion = Predictor.load(models / before, key=key)
    except BundleError as error:
        raise type(error)(f"the bundle in use can not be judged ({error}); --force moves on without") from error
    try:
        won, why = duel(challenger, champion, data, terms, stages)
    finally:
        champion.close()
    said = f"{name} is in use now in place of {before}" if won else f"{name} is not promoted, {before} stays in use"
    return Outcome(won, name, before, f"{said}: {why}")


def _point(models: Path, name: str) -> None:
    """Move the link in one step: whoever follows it sees the old bundle or the new one."""
    fresh = models / f".{CURRENT}-{os.getpid()}"
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(name, target_is_directory=True)
        fresh.replace(models / CURRENT)
    except OSError as error:
        raise InputError(f"can not be moved ({error.strerror})", str(models / CURRENT)) from error


def _log(models: Path, outcome: Outcome) -> None:
    line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **asdict(outcome)}
    with (models / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
