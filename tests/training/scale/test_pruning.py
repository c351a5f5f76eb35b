"""Room on disk: the longest unused runs go, the last one, those in use and what is no run stay."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from app.errors import DataError
from tests.training.test_cli import run
from training.scale.finished import Finished
from training.scale.pruning import hold, prune

SIZE = 1000


@pytest.fixture
def processed(tmp_path: Path) -> Path:
    """Runs a, b and c of about `SIZE` bytes, c used longest ago."""
    for age, name in enumerate("abc"):
        made = Finished(tmp_path, name)
        made.stage("models", lambda: b"x" * SIZE)
        os.utime(made.directory, (1e9 - age, 1e9 - age))
    del made
    gc.collect()
    return tmp_path


def named(processed: Path, name: str) -> str:
    """The folder of a run."""
    return Finished(processed, name, keeps=False).directory.name


def left(processed: Path) -> set[str]:
    """Folders there."""
    return {path.name for path in processed.iterdir()}


def test_the_run_unused_for_longest_goes_first(processed: Path) -> None:
    """As many as it takes, and their sizes are told."""
    before = sorted(processed.iterdir(), key=lambda path: path.stat().st_mtime)
    removed = prune(processed, 2 * SIZE + SIZE // 2)
    assert [one.name for one in removed] == [before[0].name]
    assert SIZE < removed[0].size < 2 * SIZE
    assert left(processed) == {path.name for path in before[1:]}


def test_the_last_run_stays_however_large(processed: Path) -> None:
    """It may have been interrupted, and is gone on with."""
    last = max(processed.iterdir(), key=lambda path: path.stat().st_mtime).name
    assert len(prune(processed, 0)) == 2
    assert left(processed) == {last}


def test_a_run_that_is_used_counts_as_used_now(processed: Path) -> None:
    """To read a stage is to use it."""
    oldest = min(processed.iterdir(), key=lambda path: path.stat().st_mtime).name
    assert Finished(processed, "c").stage("models", lambda: b"") == b"x" * SIZE
    gc.collect()
    assert oldest not in {one.name for one in prune(processed, 0)}


def test_a_run_in_use_stays(processed: Path) -> None:
    """Whoever holds it, for as long as it is held: then it goes as any other."""
    using = Finished(processed, "a")
    os.utime(using.directory, (1.0, 1.0))
    assert using.directory.name not in {one.name for one in prune(processed, 0)}
    assert using.stage("models", lambda: b"") == b"x" * SIZE
    os.utime(using.directory, (1.0, 1.0))
    name = using.directory.name
    del using
    gc.collect()
    assert [one.name for one in prune(processed, 0)] == [name]


def hold_it(run: Path, told: Any) -> None:
    """Use a run for a minute."""
    hold(run)
    told.set()
    time.sleep(60)


def test_a_run_in_use_by_another_process_stays(processed: Path) -> None:
    """Until that ends, be it by a signal that nothing catches."""
    context = multiprocessing.get_context("spawn")
    told, oldest = context.Event(), processed / named(processed, "a")
    gc.collect()
    other = context.Process(target=hold_it, args=(oldest, told))
    other.start()
    assert told.wait(60)
    os.utime(oldest, (1.0, 1.0))
    assert oldest.name not in {one.name for one in prune(processed, 0)}
    other.kill()
    other.join()
    os.utime(oldest, (1.0, 1.0))
    assert [one.name for one in prune(processed, 0)] == [oldest.name]


def test_a_run_that_went_is_made_anew(processed: Path) -> None:
    """Its stages are computed again, and kept again; where there was no folder of runs nothing goes."""
    oldest = min(processed.iterdir(), key=lambda path: path.stat().st_mtime).name
    assert prune(processed, 2 * SIZE)[0].name == oldest == named(processed, "c")
    assert Finished(processed, "c").stage("models", lambda: b"new") == b"new"
    assert Finished(processed, "c").stage("models", lambda: b"newer") == b"new"
    assert prune(processed / "none", 0) == []


def test_what_is_no_run_stays(processed: Path) -> None:
    """A folder that is pruned by mistake loses nothing; what an interrupted removal left goes."""
    (processed / "mine").mkdir()
    (processed / "file").write_text("mine")
    (processed / ("." + "0" * 24 + ".17.gone")).mkdir()
    prune(processed, 0)
    assert {"mine", "file"} < left(processed)
    assert len(left(processed)) == 3


def test_a_folder_that_everybody_may_write_is_refused(processed: Path) -> None:
    """What lies there is run: one line says so, and the folder is named."""
    directory = processed / named(processed, "a")
    gc.collect()
    directory.chmod(0o777)
    with pytest.raises(DataError, match=rf"^{directory}: expected a folder that not everybody may write.*mode 777$"):
        Finished(processed, "a")


def test_so_is_a_run_in_a_folder_that_everybody_may_write(processed: Path) -> None:
    """Whoever may write there puts another in the run's place, before it is made or after."""
    processed.chmod(0o1777)
    for name in ("a", "new"):
        with pytest.raises(DataError, match=rf"^{processed}: expected a folder that not everybody.*mode 1777$"):
            Finished(processed, name).hold()


def test_a_folder_without_locks_is_one_line(processed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems know none: the run is named, and no descriptor stays open."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(DataError, match=rf"^{processed}/\w+: can not be locked \(No locks available\)$"):
        Finished(processed, "a")
    with pytest.raises(DataError, match=rf"^{processed}/\w+: can not be removed \(No locks available\)$"):
        prune(processed, 0)
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_no_folder_is_made_that_everybody_may_write(tmp_path: Path) -> None:
    """Whatever the umask says."""
    before = os.umask(0)
    try:
        made = Finished(tmp_path / "processed", "a")
        made.hold()
    finally:
        os.umask(before)
    for folder in (made.directory, made.directory.parent):
        assert not folder.stat().st_mode & stat.S_IWOTH


def test_the_command_names_what_went(capfd: pytest.CaptureFixture[str], processed: Path) -> None:
    """A line a run; where nothing has to go, as without a bound, it says so."""
    code, out, _ = run(capfd, "prune", "--processed", processed, "--keep-gb", "inf")
    assert (code, out) == (0, f"{processed}: nothing to remove\n")
    code, out, _ = run(capfd, "prune", "--processed", processed, "--keep-gb", 0)
    assert code == 0
    assert [line.startswith(f"removed: {processed}") for line in out.splitlines()] == [True, True]
    code, out, _ = run(capfd, "prune", "--processed", processed, "--keep-gb", 0)
    assert (code, out) == (0, f"{processed}: nothing to remove\n")
