"""Bundles of the tiny market as the dashboard loads them, their answers, and folders to choose from."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.market import second_bundle
from tests.training.conftest import Tiny
from training.dashboard.rows import Rows, read_rows
from training.dashboard.scoring import Answered, Loaded, answer, load
from training.data.dataset import Dataset


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """Streamlit puts its script into `__main__`'s place, and a process that a later test spawns would run that."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@dataclass(frozen=True)
class Place:
    """A folder of bundles, `first` and `second`, to which `current` points, and a folder of data sets."""

    models: Path
    data: Path


@pytest.fixture(scope="session")
def place(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two bundles that price alike, the second made later, and the market's rows under the name `day`."""
    root = tmp_path_factory.mktemp("place")
    shutil.copytree(tiny.trained.bundle, root / "models" / "first")
    second_bundle(tiny.trained.bundle, root / "models" / "second")
    (root / "models" / "current").symlink_to("first")
    (root / "data").mkdir()
    (root / "data" / "day").symlink_to(tiny.data)
    shutil.copy(tiny.data.with_name(tiny.data.name + ".oracle.parquet"), root / "data" / "day.oracle.parquet")
    return Place(root / "models", root / "data")


@pytest.fixture(scope="session")
def loaded(place: Place) -> Iterator[Loaded]:
    """The first bundle."""
    found = load(place.models / "first")
    yield found
    found.predictor.close()


@pytest.fixture(scope="session")
def rows(place: Place, loaded: Loaded) -> Rows:
    """700 of the rows of the last four hours."""
    dataset = Dataset(place.data / "day", loaded.predictor.declaration)
    return read_rows(dataset, dataset.partitions[-4].name, dataset.partitions[-1].name, 700)


@pytest.fixture(scope="session")
def answered(loaded: Loaded, rows: Rows) -> Answered:
    """The first bundle's answers to them."""
    return answer(loaded, rows)


@pytest.fixture(scope="session")
def doubled(answered: Answered, loaded: Loaded) -> Answered:
    """The same with every price doubled, as of a bundle named `double`."""
    predictions = dataclasses.replace(answered.predictions, ltv=2.0 * answered.predictions.ltv)
    bundle = dataclasses.replace(loaded, path=Path("double"))
    return dataclasses.replace(answered, bundle=bundle, predictions=predictions)
