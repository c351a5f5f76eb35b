"""Store and batcher with a real bundle: compiled trees, golden rows, hashes."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from app.errors import BundleCorrupt
from app.features.parsing import RawRequest, request_from_json
from app.inference import bundle
from app.serving.batching import Answer, Batcher
from app.serving.store import BundleStore
from tests.inference.tiny_bundle import build_bundle, make_requests
from tests.serving.observed import Recorder, asked, soon, until


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle."""
    root = tmp_path_factory.mktemp("bundles")
    manifest = build_bundle(root / "staging")
    bundle.write(root / "staging", root / "shop-1", manifest)
    return root / "shop-1"


def renamed(sealed: Path, path: Path) -> Path:
    """The same bundle under another name."""
    shutil.copytree(sealed, path)
    manifest = dataclasses.replace(bundle.read_manifest(path), name=path.name)
    bundle.seal(path, manifest)
    return path


def opened(path: Path, poll_s: float = 60.0) -> tuple[BundleStore, Batcher, Recorder]:
    """A store, its batcher, and what they tell."""
    recorder = Recorder()
    store = BundleStore(path, key=None, poll_s=poll_s, telemetry=recorder)
    return store, Batcher(store, recorder), recorder


def raw(store: BundleStore, n: int, seed: int = 5) -> list[RawRequest]:
    """Requests of users that training did not see."""
    return [request_from_json(store.live.layout, r) for r in make_requests(n, seed)]


def test_joined_answers_are_those_of_the_predictor_alone(sealed: Path) -> None:
    """Whatever rides along, every number is the predictor's for that request alone, to the last bit."""

    async def scenario() -> None:
        store, batcher, _ = opened(sealed)
        await store.open()
        requests = raw(store, 100)
        answers = await asyncio.gather(*(asked(batcher, r, soon()) for r in requests))
        for request, answer in zip(make_requests(100, 5), answers, strict=True):
            alone = store.live.predictor.answer(request)
            columns = (alone.p_buyer, *alone.ltv.T, alone.log_mean)
            assert [row[:-1] for row in answer.rows] == np.column_stack(columns).tolist()
            assert all(0.25 <= row[-1] <= 4.0 for row in answer.rows)
        assert answers == batcher.predict_now(requests)
        late = await asked(batcher, requests[0], soon(-1.0))
        assert ([row[:4] for row in late.rows], late.degraded) == ([[0.1, 1.0, 2.0, 3.0]], ("deadline",))
        await store.close()

    asyncio.run(scenario())


def test_twenty_swaps_under_load(sealed: Path, tmp_path: Path) -> None:
    """While two bundles take turns, no request fails, and every answer names the bundle that made it."""

    async def scenario() -> None:
        link = tmp_path / "current"
        link.symlink_to(sealed)
        store, batcher, recorder = opened(link, poll_s=0.01)
        await store.open()
        names = [sealed, renamed(sealed, tmp_path / "shop-2")]
        requests, answers = raw(store, 8), list[Answer]()
        expected = batcher.predict_now(requests)

        async def load() -> None:
            while True:
                answers.extend(await asyncio.gather(*(asked(batcher, r, soon()) for r in requests)))
                await asyncio.sleep(0)

        task = asyncio.create_task(load())
        for i in range(20):
            report = await store.reload(names[(i + 1) % 2])
            assert report["outcome"] == "swapped"
        await until(lambda: answers[-1].bundle == sealed.name, "the last bundle answers")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert {a.bundle for a in answers} == {"shop-1", "shop-2"}
        for i, answer in enumerate(answers):
            assert dataclasses.replace(answer, bundle="shop-1") == expected[i % 8]
        assert recorder.live == ["shop-1", *["shop-2", "shop-1"] * 10]
        await store.close()

    asyncio.run(scenario())


def test_a_changed_byte_is_refused(sealed: Path, tmp_path: Path) -> None:
    """A library that is not the manifest's is never loaded, and the live bundle answers on."""

    async def scenario() -> None:
        store, batcher, recorder = opened(sealed)
        await store.open()
        bad = renamed(sealed, tmp_path / "bad")
        library = bytearray((bad / "base.so").read_bytes())
        library[len(library) // 2] ^= 1
        (bad / "base.so").write_bytes(library)
        with pytest.raises(BundleCorrupt, match=r"base\.so: expected sha256"):
            await store.reload(bad)
        assert (await asked(batcher, raw(store, 1)[0], soon())).bundle == "shop-1"
        assert recorder.told["reload", "refused"] == 1
        await store.close()

    asyncio.run(scenario())
