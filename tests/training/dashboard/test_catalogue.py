"""Tests of training.dashboard.catalogue."""

from __future__ import annotations

import os
from pathlib import Path

from tests.training.dashboard.conftest import Place
from training.dashboard.catalogue import bundles, current, datasets


def _bundle(path: Path, age_s: int) -> None:
    path.mkdir(parents=True)
    manifest = path / "manifest.json"
    manifest.write_text("{}")
    os.utime(manifest, (1_000_000 - age_s, 1_000_000 - age_s))


def test_bundles_are_found_newest_first_and_links_to_them_once(tmp_path: Path) -> None:
    """A folder with a manifest is a bundle; `current`, a link to one of them, is not another."""
    models = tmp_path / "models"
    _bundle(models / "old", 90)
    _bundle(models / "new", 10)
    (models / "half-made").mkdir()
    (models / "current").symlink_to("old")
    found = bundles(models)
    assert [*found.items()] == [("new", models / "new"), ("old", models / "old")]
    assert current(models, found) == "old"


def test_a_link_to_a_bundle_elsewhere_is_one(tmp_path: Path) -> None:
    """What lies outside of the folder can be reached by a link only."""
    _bundle(tmp_path / "store" / "far", 0)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "linked").symlink_to(tmp_path / "store" / "far")
    assert [*bundles(tmp_path / "models")] == ["linked"]
    assert current(tmp_path / "models", bundles(tmp_path / "models")) is None


def test_data_sets_are_folders_with_hours(place: Place, tmp_path: Path) -> None:
    """A folder without hourly partitions is none, nor is a file beside them; no folder holds none."""
    assert datasets(place.data) == {"day": place.data / "day"}
    (tmp_path / "other" / "datetime=yesterday").mkdir(parents=True)
    assert datasets(tmp_path) == {}
    assert datasets(tmp_path / "missing") == {}
