"""A link that is moved to a bundle which can not be used: refused by every worker, and led back to the live one."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.inference import bundle
from tests.api.served import bid
from tests.inference.tiny_bundle import edit_manifest
from tests.support.market import second_bundle
from tests.support.service_process import STOP_SECONDS, ServiceProcess, samples, serving_process

KEY = "the key of the tests"


def golden(path: Path) -> None:
    """Every hash in order, and yet other answers."""
    lines = [json.loads(line) for line in (path / bundle.GOLDEN).read_text().splitlines()]
    lines[3]["expected"][0]["p_buyer"] *= 1.001
    (path / bundle.GOLDEN).write_text("".join(json.dumps(line) + "\n" for line in lines))
    edit_manifest(path, KEY.encode())


def truncated(path: Path) -> None:
    """A copy that stopped half-way."""
    library = path / "base.so"
    library.write_bytes(library.read_bytes()[:-1000])


def older(path: Path) -> None:
    """Of a format that is no more."""
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 0}))


def unsigned(path: Path) -> None:
    """Sound, and nobody's."""
    edit_manifest(path)


def until(so: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + STOP_SECONDS
    while not so():
        if time.monotonic() > deadline:
            pytest.fail(what)
        time.sleep(0.02)


def point(models: Path, name: str) -> None:
    """Move `current` in one step."""
    (models / "aside").symlink_to(name)
    (models / "aside").replace(models / "current")


def reloads(service: ServiceProcess, outcome: str) -> float:
    """How often that was the outcome."""
    return samples(service.metrics(), "pltv_bundle_reloads_total").get(f'{{outcome="{outcome}"}}', 0.0)


@pytest.mark.parametrize("spoil", [golden, truncated, older, unsigned])
def test_the_link_is_led_back(shop: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """The live bundle answers on, a restart would start with it, and a sound one is then taken."""
    first = Path(shutil.copytree(shop, tmp_path / "shop-1"))
    for path in (first, second_bundle(first, tmp_path / "shop-2"), second_bundle(first, tmp_path / "bad")):
        edit_manifest(path, KEY.encode())
    spoil(tmp_path / "bad")
    (tmp_path / "current").symlink_to("shop-1")
    with serving_process(tmp_path / "current", PLTV_BUNDLE_POLL_S="0.05", PLTV_BUNDLE_KEY=KEY) as service:
        point(tmp_path, "bad")
        until(lambda: reloads(service, "rolled_back") == 1.0, "it is rolled back")
        assert reloads(service, "refused") == 1.0
        assert (tmp_path / "current").resolve() == first.resolve()
        assert service.predict(bid())["bundle"] == "shop-1"
        point(tmp_path, "shop-2")
        until(lambda: service.predict(bid())["bundle"] == "shop-2", "the sound one is taken")
        assert service.stop() == 0
        assert "Traceback" not in service.output
