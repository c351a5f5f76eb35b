"""Tests of app.api.models."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.api.served import Served, serving

TOKEN = {"authorization": "Bearer password"}
DIGEST = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"


def test_the_live_bundle_is_told(service: Served) -> None:
    """Its manifest, without the list of files."""
    live = service.get("/models").json()["live"]
    assert (live["name"], live["horizons"], live["label_unit"]) == ("shop-1", [1, 7, 14], "visit")
    assert live["features"] > 0


def test_reloading_needs_the_admin_s_token(service: Served, sealed: Path) -> None:
    """Where none is configured, nobody has it."""
    assert service.post("/models/reload", headers=TOKEN).status_code == 401
    with serving(sealed, admin_token=DIGEST) as guarded:
        assert guarded.post("/models/reload").status_code == 401
        answer = guarded.post("/models/reload", headers=TOKEN)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "unchanged")


def test_a_refused_bundle_leaves_the_live_one(sealed: Path, tmp_path: Path) -> None:
    """409 with one line; names that lead elsewhere are not followed."""
    shutil.copytree(sealed, tmp_path / "shop-1")
    shutil.copytree(sealed, tmp_path / "bad")
    (tmp_path / "bad" / "base.so").write_bytes(b"not what was hashed")
    with serving(tmp_path / "shop-1", admin_token=DIGEST) as service:
        for name in ("bad", "absent"):
            answer = service.post("/models/reload", {"bundle": name}, headers=TOKEN)
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:pltv:problem:bundle-refused")
            assert "\n" not in answer.json()["detail"]
        bodies: list[Any] = [{"bundle": "../shop-1"}, {"bundle": 5}, {"bundle": ".."}, [], b"nonsense"]
        for body in bodies:
            assert service.post("/models/reload", body, headers=TOKEN).status_code == 400
        assert service.get("/models").json()["live"]["name"] == "shop-1"
        assert 'pltv_bundle_reloads_total{outcome="refused"} 2.0' in service.get("/metrics").text
