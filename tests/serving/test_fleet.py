"""Tests of app/serving/fleet.py and shared_fleet.py: stores of several workers that answer from one bundle."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.errors import BundleCorrupt, BundleError
from app.serving.fleet import Ballot, Busy, Fleet
from app.serving.links import stamp_of
from app.serving.shared_fleet import SharedFleet
from app.serving.store import BundleStore
from tests.serving.observed import LAYOUT, Recorder, until

Scenario = Callable[[list[BundleStore]], Awaitable[None]]


class Loads:
    """What was loaded and closed; may be told to refuse the n-th load of a name, or to wait in it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.open: list[str] = []
        self.refuse: tuple[str, int] | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._guard = threading.Lock()

    def load(self, path: Path, *, key: bytes | None = None, golden: bool = True) -> SimpleNamespace:
        """As `Predictor.load`."""
        name = json.loads((path / "manifest.json").read_text())["name"]
        with self._guard:
            self.names.append(name)
            nth = self.names.count(name)
        if nth > 1:
            assert self.gate.wait(30.0)
        if self.refuse == (name, nth):
            raise BundleCorrupt(f"{name}: a byte was changed")
        self.open.append(name)
        return SimpleNamespace(
            manifest=SimpleNamespace(name=name, to_json=lambda: {"name": name}),
            declaration=SimpleNamespace(fingerprint="one"),
            layout=LAYOUT,
            close=lambda: self.open.remove(name),
        )


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """Stands in for the loading of bundles."""
    found = Loads()
    monkeypatch.setattr("app.serving.seat.Predictor.load", found.load)
    return found


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Bundles `a` and `b`, and `current`, a link to `a`."""
    folder = tmp_path / "models"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "manifest.json").write_text(json.dumps({"name": name}))
    (folder / "current").symlink_to("a")
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The workers' directory."""
    (tmp_path / "fleet").mkdir()
    return tmp_path / "fleet"


def store_of(path: Path, shared: Path, poll_s: float = 60.0, patience_s: float = 30.0) -> BundleStore:
    """One worker's."""
    fleet = SharedFleet(shared, patience_s=patience_s)
    return BundleStore(path, key=None, poll_s=poll_s, telemetry=Recorder(), fleet=fleet)


def names(stores: list[BundleStore]) -> list[str]:
    """What each answers from."""
    return [store.live.name for store in stores]


def run(stores: list[BundleStore], scenario: Scenario) -> None:
    """Open them, play, close them."""

    async def play() -> None:
        for store in stores:
            await store.open()
        try:
            await scenario(stores)
        finally:
            for store in stores:
                await store.close()

    asyncio.run(play())


def test_a_reload_by_name_moves_every_worker(loads: Loads, models: Path, shared: Path) -> None:
    """Without any link, all at once; the next look at the path does not undo it, and nothing old stays loaded."""

    async def scenario(stores: list[BundleStore]) -> None:
        for target, previous in (("b", "a"), ("a", "b"), ("b", "a")):
            told = await stores[1].reload(models / target)
            expected = {"outcome": "swapped", "bundle": target, "previous": previous, "workers": 3, "pending": 0}
            assert told == expected
            assert names(stores) == [target] * 3
            assert loads.open == [target] * 3
        await asyncio.sleep(0.1)
        assert names(stores) == ["b"] * 3
        told = await stores[0].reload()
        assert (told["outcome"], told["workers"]) == ("unchanged", 3)

    run([store_of(models / "a", shared, poll_s=0.01) for _ in range(3)], scenario)
    assert loads.open == []


def test_nobody_swaps_before_all_are_ready(loads: Loads, models: Path, shared: Path) -> None:
    """While one still loads, the others answer from what they had."""

    async def scenario(stores: list[BundleStore]) -> None:
        loads.gate.clear()  # the first load of `b` passes, the others wait
        under_way = asyncio.create_task(stores[0].reload(models / "b"))
        await until(lambda: loads.names.count("b") == 3, "the others load")
        await asyncio.sleep(0.2)
        assert names(stores) == ["a"] * 3
        assert not under_way.done()
        loads.gate.set()
        assert (await under_way)["workers"] == 3
        assert names(stores) == ["b"] * 3

    run([store_of(models / "a", shared) for _ in range(3)], scenario)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_what_one_worker_refuses_nobody_takes(loads: Loads, models: Path, shared: Path, nth: int) -> None:
    """Whoever it is, the one in charge too; what the others had loaded is closed."""

    async def scenario(stores: list[BundleStore]) -> None:
        loads.refuse = ("b", nth)
        with pytest.raises(BundleError, match="a byte was changed"):
            await stores[0].reload(models / "b")
        assert names(stores) == ["a"] * 3
        await until(lambda: loads.open == ["a"] * 3, "what was ready is closed")
        loads.refuse = None
        assert (await stores[2].reload(models / "b"))["workers"] == 3

    run([store_of(models / "a", shared) for _ in range(3)], scenario)


def test_a_link_that_moves_moves_all_by_one_of_them(loads: Loads, models: Path, shared: Path) -> None:
    """Whoever sees it first leads; nobody loads twice, and a reload by name moves the link."""

    async def scenario(stores: list[BundleStore]) -> None:
        (models / "aside").symlink_to("b")
        (models / "aside").replace(models / "current")
        await until(lambda: names(stores) == ["b"] * 3, "all follow")
        await asyncio.sleep(0.1)
        assert loads.names == ["a"] * 3 + ["b"] * 3
        await stores[0].reload(models / "a")
        assert names(stores) == ["a"] * 3
        assert (models / "current").resolve().name == "a"

    run([store_of(models / "current", shared, poll_s=0.01) for _ in range(3)], scenario)


def test_a_link_to_what_one_refuses_is_led_back(loads: Loads, models: Path, shared: Path) -> None:
    """By the one in charge, though it had found nothing wrong itself."""

    async def scenario(stores: list[BundleStore]) -> None:
        loads.refuse = ("b", 2)
        (models / "aside").symlink_to("b")
        (models / "aside").replace(models / "current")
        await until(lambda: (models / "current").resolve().name == "a", "it is led back")
        await asyncio.sleep(0.1)
        assert names(stores) == ["a"] * 2
        assert loads.names.count("b") == 2

    run([store_of(models / "current", shared, poll_s=0.01) for _ in range(2)], scenario)


def test_a_worker_that_starts_later_takes_what_was_agreed(loads: Loads, models: Path, shared: Path) -> None:
    """Whatever the path that it was started with; where that is gone, it starts with the path."""

    async def scenario(stores: list[BundleStore]) -> None:
        await stores[0].reload(models / "b")
        late = store_of(models / "a", shared)
        await late.open()
        assert late.live.name == "b"
        assert (await stores[0].reload(models / "a"))["workers"] == 2
        assert late.live.name == "a"
        await stores[0].reload(models / "b")
        await late.close()
        (models / "b" / "manifest.json").unlink()
        later = store_of(models / "a", shared)
        await later.open()
        assert later.live.name == "a"
        await later.close()

    run([store_of(models / "a", shared)], scenario)


def test_a_worker_that_says_nothing_is_not_waited_for_without_end(loads: Loads, models: Path, shared: Path) -> None:
    """It is named, and nothing has moved; one that has died is not waited for at all."""

    async def scenario(stores: list[BundleStore]) -> None:
        silent = SharedFleet(shared)
        silent.join()
        with pytest.raises(BundleError, match=rf"worker {os.getpid()} has not loaded it within 0\.3 s"):
            await stores[0].reload(models / "b")
        assert names(stores) == ["a"]
        assert loads.open == ["a"]
        assert silent._held is not None
        os.close(silent._held)  # as the system does when a process ends
        assert (await stores[0].reload(models / "b"))["workers"] == 1
        assert not list(shared.glob(f"{silent._name}*"))

    run([store_of(models / "a", shared, patience_s=0.3)], scenario)


def test_a_motion_whose_mover_died_falls(loads: Loads, models: Path, shared: Path) -> None:
    """What was loaded for it is closed, and the next motion is carried."""

    async def scenario(stores: list[BundleStore]) -> None:
        mover = SharedFleet(shared)
        async with mover.charge():
            await mover.agree(models / "b", stamp_of(models / "b"))
            assert sorted(loads.open) == ["a", "a", "b", "b"]
        await until(lambda: loads.open == ["a", "a"], "what was loaded is closed")
        assert names(stores) == ["a", "a"]
        assert (await stores[0].reload(models / "b"))["workers"] == 2

    run([store_of(models / "a", shared) for _ in range(2)], scenario)


def test_what_is_replaced_meanwhile_is_refused(loads: Loads, models: Path, shared: Path) -> None:
    """The others must load what the one in charge has loaded, and no other bundle under its name."""

    async def scenario(stores: list[BundleStore]) -> None:
        mover = SharedFleet(shared)
        real, inode, changed, size = stamp_of(models / "b")
        async with mover.charge():
            with pytest.raises(BundleError, match="was replaced while it was loaded"):
                await mover.agree(models / "b", (real, inode + 1, changed, size))
            mover.withdraw()
        assert names(stores) == ["a"]

    run([store_of(models / "a", shared)], scenario)


def test_reloads_are_made_one_after_the_other(loads: Loads, models: Path, shared: Path) -> None:
    """Of many at once each is carried in every worker; who will not wait is told that another is under way."""

    async def scenario(stores: list[BundleStore]) -> None:
        targets = [models / "ab"[n % 2] for n in range(8)]
        told = await asyncio.gather(*(stores[n % 3].reload(target) for n, target in enumerate(targets)))
        assert [one["workers"] for one in told] == [3] * 8
        assert len(set(names(stores))) == 1
        assert loads.open == names(stores)
        async with SharedFleet(shared).charge():
            with pytest.raises(Busy, match="another reload is under way"):
                await stores[0].reload(models / "a", wait_s=0.0)

    run([store_of(models / "a", shared) for _ in range(3)], scenario)


def test_one_alone_asks_nobody() -> None:
    """A fleet of one agrees at once and keeps nothing."""

    async def scenario() -> None:
        fleet = Fleet()
        fleet.join()
        async with fleet.charge():
            await fleet.agree(Path("a"), (Path("a"), 1, 1, 1))
            fleet.carry()
        fleet.vote(Ballot(1, "live"))
        assert fleet.unanimous((Path("b"), 1, 1, 1))
        assert fleet.motion().generation == 0
        assert await fleet.settle() == (1, 0)
        fleet.leave()

    asyncio.run(scenario())
