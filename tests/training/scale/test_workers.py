"""Workers: answers in the order of the pieces, faults as they were raised; two processes of a cluster give the same."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest

from app.errors import DataError, InputError
from app.inference.manifest import read_manifest
from tests.training.conftest import Tiny
from training.cli import app
from training.data.dataset import Dataset
from training.scale.finished import Finished
from training.scale.loading import Loader
from training.scale.workers import LocalWorkers, Workers, workers

LocalCluster: Any = distributed.LocalCluster


def late_square(piece: int, shared: int) -> tuple[int, int]:
    """The later pieces are done first."""
    time.sleep(0.02 * (5 - piece))
    return piece**2 + shared, os.getpid()


def refuse(piece: int, shared: str) -> int:
    """Fails in the way of a reader."""
    if piece == 3:
        raise DataError(f"{shared}: expected a sound parquet file")
    return piece


def end(piece: int, shared: int) -> int:
    """Takes the worker with it."""
    os._exit(1)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with two workers, each a process."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
    with LocalCluster(processes=True, silence_logs=50, **options) as cluster:
        yield str(cluster.scheduler_address)


@pytest.fixture(params=["threads", "cluster"])
def some(request: pytest.FixtureRequest) -> Iterator[Workers]:
    scheduler = request.getfixturevalue("address") if request.param == "cluster" else None
    with workers(scheduler, 3) as working:
        yield working


def test_answers_come_in_the_order_of_the_pieces(some: Workers) -> None:
    """Whoever is done first, and each piece is told of once."""
    told: list[int] = []
    answers = some.map(late_square, range(6), 100, told.append)
    assert [value for value, _ in answers] == [100 + i**2 for i in range(6)]
    assert sorted(told) == list(range(6))


def test_a_fault_arrives_as_it_was_raised(some: Workers) -> None:
    """The line that names the file crosses the wire."""
    with pytest.raises(DataError, match=r"^part-0\.parquet: expected a sound parquet file$"):
        some.map(refuse, range(6), "part-0.parquet")


def test_nothing_to_do_is_no_fault(some: Workers) -> None:
    """All features may be there already."""
    assert some.map(late_square, [], 0) == []


def test_a_cluster_works_in_both_of_its_processes(address: str) -> None:
    """Neither is this one."""
    with workers(address, 1) as working:
        at_work = {pid for _, pid in working.map(late_square, [0] * 12, 0)}
    assert len(at_work) == 2
    assert os.getpid() not in at_work


def test_a_scheduler_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong address, and one that nobody listens at."""
    monkeypatch.setattr("training.scale.workers.CONNECT_S", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        for wrong in ("nowhere://x", "nowhere", f"tcp://127.0.0.1:{free.getsockname()[1]}"):
            with pytest.raises(InputError, match=r"^scheduler: expected a Dask scheduler") as fault, workers(wrong, 1):
                pass
            assert "\n" not in str(fault.value)


def test_features_of_two_workers_are_those_of_one_machine(address: str, tiny: Tiny, tmp_path: Path) -> None:
    """Fitted state, rows that are kept, and X in every bit; the workers write what this process reads."""
    dataset = Dataset(tiny.data, tiny.declaration)
    found = []
    for name, scheduler in (("here", None), ("there", address)):
        with workers(scheduler, 1) as working:
            loader = Loader(dataset, tiny.training, working, Finished(tmp_path / name))
            rows = loader.training(dataset.partitions, None, lambda _: None)
            found.append((rows, loader.features(rows, None, lambda _: None)))
    (here, X), (there, Y) = found
    assert here.plans.plan.fingerprint == there.plans.plan.fingerprint
    assert np.asarray(X.X).tobytes() == np.asarray(Y.X).tobytes()
    assert here.kept.columns.values.tobytes() == there.kept.columns.values.tobytes()


def test_train_with_a_scheduler_gives_the_same_models(
    address: str, tiny: Tiny, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`pltv train --scheduler` changes who works, and nothing of what comes out."""
    options = {"config": tiny.config, "data": tiny.data, "out": tmp_path / "tiny", "processed": tmp_path / "processed"}
    args = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    with pytest.raises(SystemExit) as ended:
        app(["train", *args, "--scheduler", address])
    assert ended.value.code == 0, capfd.readouterr().err
    files = read_manifest(tmp_path / "tiny").files
    models = [name for name in files if name.startswith("models/")]
    assert len(models) > 3
    for name in (*models, "encoders.json", "ensemble.json", "golden.jsonl"):
        assert files[name].sha256 == tiny.trained.manifest.files[name].sha256
    assert len(list((tmp_path / "processed").glob("*/features-*/*.f32"))) > 3


def test_workers_that_die_are_one_line() -> None:
    """A piece that kills every worker it meets ends the run."""
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
    with (
        LocalCluster(processes=True, silence_logs=50, **options) as cluster,
        workers(str(cluster.scheduler_address), 1) as working,
        pytest.raises(DataError, match="scheduler: expected workers that live on"),
    ):
        working.map(end, [1], 0)


def test_this_machine_works_on_several_threads() -> None:
    """As many as it is told, in one process."""
    answers = LocalWorkers(2).map(late_square, range(4), 0)
    assert {pid for _, pid in answers} == {os.getpid()}
