"""Tests of app/serving/store.py: what is swapped, refused and watched. Loading itself is tests/inference's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.errors import BundleCorrupt, BundleError, BundleIncompatible, NotReady
from app.serving.store import BundleStore
from tests.serving.observed import LAYOUT, Recorder, until


class Loaded:
    """A predictor as far as the store looks at it."""

    def __init__(self, content: dict[str, str]) -> None:
        self.manifest = SimpleNamespace(name=content["name"], to_json=lambda: content)
        self.declaration = SimpleNamespace(fingerprint=content["declaration"])
        self.layout = LAYOUT
        self.closed = False

    def close(self) -> None:
        """Remembered."""
        self.closed = True


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Loaded]:
    """Everything that was loaded, in order; a manifest may ask to be refused or to break."""
    loaded: list[Loaded] = []

    def load(path: Path, *, key: bytes | None = None, golden: bool = True) -> Loaded:
        content = json.loads((path / "manifest.json").read_text())
        assert golden
        if content.get("fault") == "refused":
            raise BundleCorrupt(f"{content['name']}: a byte was changed")
        if content.get("fault") == "broken":
            raise KeyError("encoders")
        loaded.append(Loaded(content))
        return loaded[-1]

    monkeypatch.setattr("app.serving.seat.Predictor.load", load)
    return loaded


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bundle of that name."""

    def write(name: str, declaration: str = "one", fault: str = "") -> Path:
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        aside = path / "manifest.new"
        aside.write_text(json.dumps({"name": name, "declaration": declaration, "fault": fault}))
        aside.replace(path / "manifest.json")
        return path

    return write


def store_of(path: Path, poll_s: float = 60.0) -> tuple[BundleStore, Recorder]:
    """A store and what it tells."""
    recorder = Recorder()
    return BundleStore(path, key=None, poll_s=poll_s, telemetry=recorder), recorder


def test_opens_and_closes(loads: list[Loaded], bundle: Callable[..., Path]) -> None:
    """Not ready before, live after, closed at the end."""

    async def scenario() -> None:
        store, recorder = store_of(bundle("a"))
        with pytest.raises(NotReady):
            _ = store.live
        await store.open()
        assert (store.live.name, recorder.live) == ("a", ["a"])
        await store.close()
        assert loads[0].closed
        with pytest.raises(NotReady):
            _ = store.live

    asyncio.run(scenario())


def test_nothing_there_is_one_line(tmp_path: Path) -> None:
    """A path without a bundle is refused in words, at start too."""

    async def scenario() -> None:
        with pytest.raises(BundleError, match=r"no bundle, manifest\.json can not be read"):
            await store_of(tmp_path / "missing")[0].open()

    asyncio.run(scenario())


def test_the_same_bundle_is_not_loaded_again(loads: list[Loaded], bundle: Callable[..., Path]) -> None:
    """A reload of what is live changes nothing."""

    async def scenario() -> None:
        store, recorder = store_of(bundle("a"))
        await store.open()
        report = await store.reload()
        assert (report["outcome"], report["bundle"], len(loads)) == ("unchanged", "a", 1)
        assert recorder.told["reload", "unchanged"] == 1
        await store.close()

    asyncio.run(scenario())


def test_every_worker_follows_the_link(loads: list[Loaded], bundle: Callable[..., Path], tmp_path: Path) -> None:
    """A link that moves moves every store that polls it; the old bundle is closed once."""

    async def scenario() -> None:
        link = tmp_path / "current"
        link.symlink_to(bundle("a"))
        stores = [store_of(link, poll_s=0.01)[0] for _ in range(3)]
        for store in stores:
            await store.open()
        report = await stores[0].reload(bundle("b"))
        assert report == {"outcome": "swapped", "bundle": "b", "previous": "a", "workers": 1, "pending": 0}
        assert link.resolve() == (tmp_path / "b").resolve()
        await until(lambda: all(s.live.name == "b" for s in stores), "all stores follow")
        assert [p.manifest.name for p in loads if p.closed] == ["a"] * 3
        for store in stores:
            await store.close()

    asyncio.run(scenario())


def test_a_bundle_replaced_in_place_is_seen(loads: list[Loaded], bundle: Callable[..., Path]) -> None:
    """Another manifest under the same name is another bundle."""

    async def scenario() -> None:
        store, recorder = store_of(bundle("a"), poll_s=0.01)
        await store.open()
        bundle("a")
        await until(lambda: len(loads) == 2, "the new bundle is loaded")
        await until(lambda: recorder.live == ["a", "a"], "the new bundle is live")
        assert (loads[0].closed, loads[1].closed) == (True, False)
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("fault", "declaration", "error", "line"),
    [
        ("refused", "one", BundleCorrupt, "a byte was changed"),
        ("broken", "one", BundleCorrupt, r"can not be loaded \(KeyError"),
        ("", "two", BundleIncompatible, "another declaration needs a restart"),
    ],
)
def test_a_refused_bundle_changes_nothing(
    loads: list[Loaded],
    bundle: Callable[..., Path],
    tmp_path: Path,
    fault: str,
    declaration: str,
    error: type[BundleError],
    line: str,
) -> None:
    """The live bundle stays, the link stays, and nothing of the refused one stays loaded."""

    async def scenario() -> None:
        link = tmp_path / "current"
        link.symlink_to(bundle("a"))
        store, recorder = store_of(link)
        await store.open()
        with pytest.raises(error, match=line):
            await store.reload(bundle("b", declaration, fault))
        assert (store.live.name, loads[0].closed, link.resolve().name) == ("a", False, "a")
        assert all(p.closed for p in loads[1:])
        assert (recorder.told["reload", "refused"], recorder.live) == (1, ["a"])
        await store.close()

    asyncio.run(scenario())


def test_polling_survives_what_it_refuses(loads: list[Loaded], bundle: Callable[..., Path], tmp_path: Path) -> None:
    """A bad bundle is tried once, not at every poll; a dangling link is waited out; a good one is then taken."""

    async def scenario() -> None:
        link = tmp_path / "current"
        link.symlink_to(bundle("a"))
        store, recorder = store_of(link, poll_s=0.01)
        await store.open()
        _move(link, bundle("bad", fault="refused"))
        await until(lambda: recorder.told["reload", "refused"], "the bad bundle is refused")
        _move(link, tmp_path / "nothing")
        await asyncio.sleep(0.05)
        assert store.live.name == "a"
        _move(link, bundle("c"))
        await until(lambda: store.live.name == "c", "the good bundle is taken")
        assert recorder.told["reload", "refused"] == 1
        await store.close()

    asyncio.run(scenario())


def test_a_link_that_can_not_move_is_refused(
    loads: list[Loaded], bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a read-only file system a restart would undo a reload by path: it is refused instead."""

    async def scenario() -> None:
        link = tmp_path / "current"
        link.symlink_to(bundle("a"))
        store, _ = store_of(link)
        await store.open()

        def read_only(*_: Any) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Path, "symlink_to", read_only)
        with pytest.raises(BundleError, match="the link can not be moved"):
            await store.reload(bundle("b"))
        assert (store.live.name, loads[1].closed) == ("a", True)
        await store.close()

    asyncio.run(scenario())


def test_without_a_link_this_process_follows(loads: list[Loaded], bundle: Callable[..., Path]) -> None:
    """Where the path is a plain directory a reload by path is not undone by the next look at it."""

    async def scenario() -> None:
        store, _ = store_of(bundle("a"), poll_s=0.01)
        await store.open()
        report = await store.reload(bundle("b"))
        assert (report["outcome"], report["workers"]) == ("swapped", 1)
        await asyncio.sleep(0.05)
        assert store.live.name == "b"
        assert len(loads) == 2
        await store.close()

    asyncio.run(scenario())


def _move(link: Path, target: Path) -> None:
    aside = link.with_name("aside")
    aside.symlink_to(target)
    aside.replace(link)
