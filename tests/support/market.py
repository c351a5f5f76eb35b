"""A small market carried through the real command line: rows of a day, a trained bundle, a later day to predict."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.inference import bundle
from app.inference.golden import golden_line, write_golden
from app.inference.predictor import Predictor

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "smadex.yaml"
ROWS, HOURS = 12_000, 12
LATER_ROWS, LATER_HOURS = 2_400, 3

Json = dict[str, Any]


@dataclass(frozen=True)
class Market:
    """What was generated and trained.

    Parameters
    ----------
    root : Path
        Everything lies below it.
    config : Path
        The shipped declaration with models that train in seconds.
    data : Path
        Rows that the bundle learned from.
    bundle : Path
    later : Path
        Rows of a later day, drawn by another seed.
    requests : Path
        The same rows as `/predict` bodies, one a line.
    """

    root: Path
    config: Path
    data: Path
    bundle: Path
    later: Path
    requests: Path

    def bodies(self) -> list[bytes]:
        """The later day's requests, in the order of its rows."""
        return self.requests.read_bytes().splitlines()

    def requests_parsed(self) -> list[Json]:
        """The same, as objects."""
        return [json.loads(body) for body in self.bodies()]


def command_line(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `pltv` as its users do, in a process of its own."""
    command = [sys.executable, "-m", "training.cli", *map(str, arguments)]
    return subprocess.run(command, env=clean_environment(**environment), cwd=ROOT, capture_output=True, text=True)


def clean_environment(**environment: str) -> dict[str, str]:
    """This process's environment without settings of the service."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PLTV_", "PROMETHEUS_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment}


def build_market(root: Path) -> Market:
    """Generate both days and train the bundle; every step must succeed."""
    market = Market(
        root=root,
        config=root / "small.yaml",
        data=root / "data",
        bundle=root / "models" / "first",
        later=root / "later",
        requests=root / "later.jsonl",
    )
    market.config.write_text(yaml.safe_dump(_small(yaml.safe_load(CONFIG.read_text())), sort_keys=False))
    _succeed("generate", "--rows", ROWS, "--hours", HOURS, "--seed", 1, "--out", market.data)
    later = ("--rows", LATER_ROWS, "--hours", LATER_HOURS, "--seed", 2, "--start", "2025-10-08")
    _succeed("generate", *later, "--out", market.later, "--requests", market.requests)
    _succeed("train", "--config", market.config, "--data", market.data, "--out", market.bundle)
    return market


def second_bundle(first: Path, second: Path, **changes: Any) -> Path:
    """A sound bundle of another name with half the multiplier's exponent: its answers can be told apart."""
    shutil.copytree(first, second)
    ensemble = json.loads((second / bundle.ENSEMBLE).read_text())
    ensemble["multiplier"]["alpha"] /= 2.0
    (second / bundle.ENSEMBLE).write_text(json.dumps(ensemble))
    bundle.seal(second, dataclasses.replace(bundle.read_manifest(first), name=second.name, **changes))
    _renew_golden(second)
    bundle.seal(second, bundle.read_manifest(second))
    return second


def _renew_golden(path: Path) -> None:
    """Write what the bundle answers now in the place of what it answered before it was changed."""
    predictor = Predictor.load(path, golden=False)
    try:
        requests = [json.loads(line)["input"] for line in (path / bundle.GOLDEN).read_text().splitlines()]
        write_golden(path / bundle.GOLDEN, [golden_line(one, predictor.answer(one)) for one in requests])
    finally:
        predictor.close()


def _succeed(*arguments: object) -> None:
    done = command_line(*arguments)
    if done.returncode != 0:
        raise RuntimeError(f"pltv {arguments[0]} exited with {done.returncode}: {done.stderr[-2000:]}")


def _small(declared: Json) -> Json:
    """The same problem with few trees, folds and replicates."""
    training = declared["training"]
    training.update(threads=1, folds=2, split={"calibration": 0.25, "validation": 0.25})
    for part, rounds in (("classifier", 25), ("regressors", 20), ("log_mean", 20), ("meta", 10)):
        training[part].update(rounds=rounds, min_leaf=20)
    training["regressors"]["ratio_rounds"] = 5
    training["meta"]["ship"] = "always"  # so that both libraries are on the path
    training["report"].update(replicates=10, baseline_rounds=5)
    return declared
