"""A bundle is moved into place whole, and one that was changed is refused in one clear line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import BundleCorrupt, BundleError, BundleIncompatible
from app.inference import bundle
from app.inference.manifest import FileEntry, Manifest, read_manifest
from tests.inference.tiny_bundle import DECLARATION, edit_manifest, elsewhere

KEY = b"a key of thirty-two bytes, or so"


def test_a_sound_bundle_passes(published: Path) -> None:
    """Checked, it gives its manifest, which knows every file."""
    manifest = bundle.check(published)
    assert manifest.name == "shop-1"
    assert manifest.files["golden.jsonl"].rows == 12
    on_disk = {p.relative_to(published).as_posix() for p in published.rglob("*") if p.is_file()}
    assert on_disk == {*manifest.files, "manifest.json"}


def test_a_manifest_survives_the_disk(published: Path) -> None:
    """Read again, it is equal in every entry."""
    manifest = read_manifest(published)
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


def _flip_a_byte(path: Path) -> None:
    content = bytearray((path / "base.so").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "base.so").write_bytes(content)


def _lose_a_golden_row(path: Path) -> None:
    lines = (path / "golden.jsonl").read_bytes().splitlines(keepends=True)
    (path / "golden.jsonl").write_bytes(b"".join(lines[:-1]))


def _claim_other_rows(path: Path) -> None:
    files = dict(read_manifest(path).files)
    files["golden.jsonl"] = dataclasses.replace(files["golden.jsonl"], rows=7)
    edit_manifest(path, files=files)


def _name_a_file_outside(path: Path) -> None:
    edit_manifest(path, files={"../shop-1/base.so": FileEntry("0", 0)})


def _declare_otherwise(path: Path) -> None:
    (path / "declaration.json").write_text(json.dumps({**DECLARATION, "label_unit": "click"}))
    edit_manifest(path)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (_flip_a_byte, BundleCorrupt, r"base\.so: expected sha256 [0-9a-f]{64}, received [0-9a-f]{64}$"),
        (_lose_a_golden_row, BundleCorrupt, r"golden\.jsonl: expected rows 12, received 11$"),
        (_claim_other_rows, BundleCorrupt, r"golden\.jsonl: expected rows 7, received 12$"),
        (lambda p: (p / "ensemble.json").unlink(), BundleCorrupt, r"ensemble\.json is missing$"),
        (lambda p: (p / "manifest.json").unlink(), BundleCorrupt, r"no bundle, manifest\.json is missing$"),
        (lambda p: (p / "manifest.json").write_text("{"), BundleCorrupt, r"manifest\.json can not be read"),
        (lambda p: (p / "manifest.json").write_text("[]"), BundleCorrupt, r"expected an object, received list$"),
        (lambda p: (p / "extra.so").write_bytes(b""), BundleCorrupt, r"extra\.so is a library that manifest\.json"),
        (_name_a_file_outside, BundleCorrupt, r"\.\./shop-1/base\.so lies outside of the bundle$"),
        (_declare_otherwise, BundleIncompatible, r"declaration\.json: expected fingerprint \w{64}, received \w{64}$"),
        (lambda p: edit_manifest(p, schema_version=9), BundleIncompatible, "expected schema_version 2, received 9$"),
        (
            lambda p: edit_manifest(p, platform=elsewhere(machine="vax")),
            BundleIncompatible,
            r"compiled for machine vax, this machine has .*: pltv recompile --bundle .*shop-1$",
        ),
        (lambda p: edit_manifest(p, platform=None), BundleCorrupt, "manifest.json: TypeError"),
    ],
)
def test_refuses_a_spoilt_bundle(
    bundle_copy: Path, spoil: Callable[[Path], object], error: type[BundleError], message: str
) -> None:
    """File, expectation and finding stand in one line."""
    spoil(bundle_copy)
    with pytest.raises(error, match=message) as caught:
        bundle.check(bundle_copy)
    assert "\n" not in str(caught.value)


def test_a_signature_is_checked_where_a_key_is_set(bundle_copy: Path) -> None:
    """Unsigned, signed with another key, or changed after signing: refused. Without a key nobody asks."""
    with pytest.raises(BundleCorrupt, match="expected a signature, it has none"):
        bundle.check(bundle_copy, key=KEY)
    edit_manifest(bundle_copy, key=KEY)
    assert bundle.check(bundle_copy, key=KEY) == bundle.check(bundle_copy)
    with pytest.raises(BundleCorrupt, match="not that of the configured key"):
        bundle.check(bundle_copy, key=b"another")
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    (bundle_copy / "manifest.json").write_text(json.dumps({**manifest, "name": "shop-2"}))
    with pytest.raises(BundleCorrupt, match="not that of the configured key"):
        bundle.check(bundle_copy, key=KEY)


@pytest.mark.parametrize("share", [i / 40 for i in range(40)])
def test_a_flipped_bit_of_the_manifest_is_noticed_without_a_key(bundle_copy: Path, share: float) -> None:
    """Names, metrics and versions are nobody's hash but the manifest's own."""
    content = bytearray((bundle_copy / "manifest.json").read_bytes())
    at = next(i for i in range(int(share * len(content)), len(content)) if bytes(content[i : i + 1]).isalnum())
    content[at] ^= 1
    (bundle_copy / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json|shop-1"):
        bundle.check(bundle_copy)


def test_another_processor_is_no_other_platform(bundle_copy: Path) -> None:
    """A library loads on any processor of its machine type; only the promise of bits ends there."""
    edit_manifest(bundle_copy, platform=elsewhere(simd="OTHER"))
    assert bundle.check(bundle_copy).platform["simd"] == "OTHER"


def test_write_replaces_what_is_there(published: Path, tmp_path: Path) -> None:
    """The new bundle stands in the old one's place, and nothing else is left beside it."""
    final, staging = tmp_path / "models" / "shop", tmp_path / "models" / ".staging"
    final.mkdir(parents=True)
    (final / "old.txt").write_text("old")
    staging.mkdir()
    (staging / "new.txt").write_text("new")
    bundle.write(staging, final, read_manifest(published))
    assert sorted(p.name for p in final.iterdir()) == ["manifest.json", "new.txt"]
    assert [p.name for p in final.parent.iterdir()] == ["shop"]
    assert list(read_manifest(final).files) == ["new.txt"]


def test_a_failed_write_leaves_the_old_bundle(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new bundle can not be moved, the old one is back, and the error says so."""
    final, staging = tmp_path / "shop", tmp_path / ".staging"
    final.mkdir()
    (final / "old.txt").write_text("old")
    staging.mkdir()
    rename = Path.rename

    def full_disk(self: Path, target: Path) -> Path:
        if self == staging:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full_disk)
    with pytest.raises(BundleError, match=r"can not be moved into place \(No space left on device\)"):
        bundle.write(staging, final, read_manifest(published))
    assert (final / "old.txt").read_text() == "old"
