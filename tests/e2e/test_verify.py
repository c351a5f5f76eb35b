"""`pltv verify` refuses a bundle that is not what was sealed: one clear line and exit code 1, whatever is wrong."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.errors import PltvError
from app.inference import bundle
from app.inference.manifest import MANIFEST, Manifest
from tests.e2e.pltv import pltv, refusal
from tests.inference.tiny_bundle import edit_manifest
from tests.support.market import Market

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def copied(trained: Market, tmp_path: Path) -> Path:
    """A copy of the trained bundle, to spoil."""
    return Path(shutil.copytree(trained.bundle, tmp_path / "spoiled"))


def flip(path: Path, place: int) -> None:
    """Change one bit of one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def rewrite_manifest(path: Path, **changes: Any) -> None:
    """Change what the manifest says as somebody would who knows its form: with a digest that agrees."""
    manifest = {**json.loads((path / MANIFEST).read_text()), **changes}
    with contextlib.suppress(PltvError):  # a manifest of another form has no digest that this code knows
        manifest["digest"] = Manifest.from_json(manifest).digested()
    (path / MANIFEST).write_text(json.dumps(manifest))


def test_a_changed_byte_in_any_file_is_found(copied: Path, capfd: Captured) -> None:
    """First, middle and last byte of each file; the line names the file."""
    names = list(bundle.read_manifest(copied).files)
    kinds = {Path(name).suffix for name in names}
    assert kinds >= {".so", ".json", ".jsonl", ".npz", ".txt", ".md", ".png"}
    for name in names:
        file = copied / name
        sound = file.read_bytes()
        for place in (0, len(sound) // 2, len(sound) - 1):
            flip(file, place)
            assert f"{name}: expected " in refusal(capfd, 1, "verify", "--bundle", copied)
            file.write_bytes(sound)
    assert pltv(capfd, "verify", "--bundle", copied)[0] == 0


def test_a_missing_file_is_named(copied: Path, capfd: Captured) -> None:
    """Each of them, the manifest included."""
    for name in [*bundle.read_manifest(copied).files, MANIFEST]:
        aside = copied.parent / "aside"
        (copied / name).rename(aside)
        assert f"{name} is missing" in refusal(capfd, 1, "verify", "--bundle", copied)
        aside.rename(copied / name)


def test_a_truncated_file_is_named(copied: Path, capfd: Captured) -> None:
    """A copy that stopped half-way."""
    library = copied / "base.so"
    library.write_bytes(library.read_bytes()[:-1000])
    assert "base.so: expected bytes" in refusal(capfd, 1, "verify", "--bundle", copied)


@pytest.mark.parametrize("spoil", [lambda lines: lines[:-1], lambda lines: [*lines, lines[0]]])
def test_a_wrong_row_count_is_told_as_one(
    copied: Path, capfd: Captured, spoil: Callable[[list[str]], list[str]]
) -> None:
    """A golden row too few or too many."""
    golden = copied / bundle.GOLDEN
    lines = golden.read_text().splitlines(keepends=True)
    golden.write_text("".join(spoil(lines)))
    line = refusal(capfd, 1, "verify", "--bundle", copied)
    assert f"golden.jsonl: expected rows {len(lines)}, received {len(spoil(lines))}" in line


@pytest.mark.parametrize("which", ["declaration_fingerprint", "feature_fingerprint"])
def test_another_fingerprint_is_refused(copied: Path, capfd: Captured, which: str) -> None:
    """Of the declaration or of the features."""
    rewrite_manifest(copied, **{which: "0" * 64})
    assert f"expected fingerprint {'0' * 64}, received" in refusal(capfd, 1, "verify", "--bundle", copied)


@pytest.mark.parametrize("what", ["system", "machine", "libc"])
def test_another_platform_is_refused_with_the_remedy(copied: Path, capfd: Captured, what: str) -> None:
    """The line names both platforms and the command that recompiles."""
    platform = dict(bundle.read_manifest(copied).platform)
    rewrite_manifest(copied, platform={**platform, what: "elsewhere"})
    line = refusal(capfd, 1, "verify", "--bundle", copied)
    assert f"{what} elsewhere, this machine has {platform[what]}" in line
    assert f"pltv recompile --bundle {copied}" in line


def test_the_remedy_works(copied: Path, capfd: Captured) -> None:
    """A bundle of another machine, recompiled here, is sound and answers its golden rows as before."""
    golden = (copied / bundle.GOLDEN).read_bytes()
    rewrite_manifest(copied, platform={**bundle.read_manifest(copied).platform, "machine": "elsewhere"})
    assert pltv(capfd, "recompile", "--bundle", copied)[0] == 0
    code, out, _ = pltv(capfd, "verify", "--bundle", copied)
    assert (code, "sound" in out) == (0, True)
    assert (copied / bundle.GOLDEN).read_bytes() == golden


def test_golden_answers_that_disagree_are_found(copied: Path, capfd: Captured) -> None:
    """Every hash in order, and yet other numbers: the row and the field are named."""
    golden = copied / bundle.GOLDEN
    lines = [json.loads(line) for line in golden.read_text().splitlines()]
    lines[6]["expected"][0]["p_buyer"] *= 1.0 + 1e-15
    golden.write_text("".join(json.dumps(line) + "\n" for line in lines))
    edit_manifest(copied)
    assert "golden.jsonl: row 7, campaign 0, p_buyer: expected" in refusal(capfd, 1, "verify", "--bundle", copied)


def test_a_library_without_its_certificate_is_refused(copied: Path, capfd: Captured) -> None:
    """Another library under a manifest that was made anew for it."""
    flip(copied / "base.so", 100)
    edit_manifest(copied)
    line = refusal(capfd, 1, "verify", "--bundle", copied)
    assert line.startswith("certificate.json: base.so: expected sha256")


def test_a_library_that_nobody_sealed_is_refused(copied: Path, capfd: Captured) -> None:
    """A stray library could be loaded by name."""
    shutil.copy(copied / "base.so", copied / "models" / "stray.so")
    assert "models/stray.so" in refusal(capfd, 1, "verify", "--bundle", copied)


def test_an_older_format_is_refused(copied: Path, capfd: Captured) -> None:
    """By its schema version."""
    rewrite_manifest(copied, schema_version=0)
    assert "expected schema_version 2, received 0" in refusal(capfd, 1, "verify", "--bundle", copied)


def test_a_signature_holds_the_manifest_too(copied: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key configured: unsigned, signed by another, or changed after signing are all refused."""
    monkeypatch.setenv("PLTV_BUNDLE_KEY", "the key")
    assert "it has none" in refusal(capfd, 1, "verify", "--bundle", copied)
    edit_manifest(copied, key=b"another key")
    assert "signature" in refusal(capfd, 1, "verify", "--bundle", copied)
    edit_manifest(copied, key=b"the key")
    assert pltv(capfd, "verify", "--bundle", copied)[0] == 0
    rewrite_manifest(copied, name="renamed")
    assert "signature" in refusal(capfd, 1, "verify", "--bundle", copied)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema_version": 1}', "[" * 5000])
def test_a_manifest_that_is_none_is_one_line(copied: Path, capfd: Captured, content: str) -> None:
    """Empty, cut, of another type, without its entries, nested past any limit."""
    (copied / MANIFEST).write_text(content)
    assert MANIFEST in refusal(capfd, 1, "verify", "--bundle", copied)


@pytest.mark.parametrize("name", [bundle.ENSEMBLE, bundle.PRIOR, bundle.CERTIFICATE, bundle.DECLARATION, bundle.GOLDEN])
@pytest.mark.parametrize("content", ["", "{}", "[]", "7"])
def test_a_part_that_is_sealed_nonsense_is_one_line(copied: Path, capfd: Captured, name: str, content: str) -> None:
    """Hashes vouch for bytes only: what they say is checked too."""
    (copied / name).write_text(content)
    edit_manifest(copied)
    refusal(capfd, 1, "verify", "--bundle", copied)
