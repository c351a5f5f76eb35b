"""A directory of files enters, a sealed bundle leaves; later it is checked before any code of it runs."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final

from app.errors import BundleCorrupt, BundleError, BundleIncompatible, DeclarationError
from app.features import twin
from app.features.spec import Declaration
from app.inference import program
from app.inference.manifest import LOADABLE, MANIFEST, FileEntry, Manifest, current_platform, read_manifest

__all__ = [
    "ARITHMETIC", "CERTIFICATE", "DECLARATION", "ENSEMBLE", "FEATURES", "GOLDEN", "MODELS", "PRIOR",
    "Manifest", "check", "check_content", "current_platform", "read_manifest", "seal", "write",
]  # fmt: skip

DECLARATION: Final = "declaration.json"
ENSEMBLE: Final = "ensemble.json"
FEATURES: Final = twin.LIBRARY  # the compiled twin of the feature plan
ARITHMETIC: Final = program.LIBRARY  # that of the ensemble
PRIOR: Final = "prior.json"
CERTIFICATE: Final = "certificate.json"
GOLDEN: Final = "golden.jsonl"
MODELS: Final = "models"  # LightGBM's text models: what recompiling needs
_LIBRARY_SUFFIXES = (".so", ".dylib", ".dll")


def seal(directory: Path, manifest: Manifest, key: bytes | None = None) -> Manifest:
    """Hash every file of `directory` and write its manifest, signed where there is a key.

    Parameters
    ----------
    directory : Path
    manifest : Manifest
        Its description; creation time, platform, files and signature are set here.
    key : bytes or None
        HMAC-SHA256 key of at least one byte.

    Returns
    -------
    Manifest
        As written.
    """
    names = sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())
    sealed = dataclasses.replace(
        manifest,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        platform=current_platform(),
        files={name: _entry(directory / name) for name in names if name != MANIFEST},
        signature=None,
        digest="",
    )
    sealed = dataclasses.replace(sealed, digest=sealed.digested())
    if key is not None:
        sealed = dataclasses.replace(sealed, signature=sealed.signed_with(key))
    (directory / MANIFEST).write_text(json.dumps(sealed.to_json(), indent=1) + "\n")
    return sealed


def write(staging: Path, final: Path, manifest: Manifest, key: bytes | None = None) -> Manifest:
    """Seal `staging` and move it to `final`, which no reader ever sees half-written.

    Parameters
    ----------
    staging : Path
        On the file system of `final`, best its sibling.
    final : Path
        A bundle already there is moved aside first and removed afterwards.

    Raises
    ------
    BundleError
        When the directory can not be moved; what was at `final` is still there.
    """
    sealed = seal(staging, manifest, key)
    _sync(staging)
    final = final.resolve()
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".{final.name}.replaced-{os.getpid()}")
    try:
        if final.exists():
            final.rename(aside)
        staging.rename(final)
    except OSError as error:
        if aside.exists() and not final.exists():
            aside.rename(final)
        raise BundleError(f"{final}: the bundle can not be moved into place ({error.strerror})") from error
    _sync_directory(final.parent)
    shutil.rmtree(aside, ignore_errors=True)
    return sealed


def check(path: Path, *, key: bytes | None = None, platform: Mapping[str, str] | None = None) -> Manifest:
    """Check a bundle's signature, files, declaration and platform. Runs nothing of the bundle.

    Parameters
    ----------
    path : Path
    key : bytes or None
        Where set, an unsigned bundle is refused.
    platform : mapping of str to str, optional
        Where the libraries shall run; this machine unless given.

    Raises
    ------
    BundleCorrupt
        A signature, hash, size or number of rows that disagrees, a missing file, a library too many.
    BundleIncompatible
        Another schema version, declaration or platform.
    """
    manifest = check_content(path, key=key)
    here = current_platform() if platform is None else platform
    for what in LOADABLE:
        if manifest.platform.get(what) != here[what]:
            raise BundleIncompatible(
                f"{path}: compiled for {what} {manifest.platform.get(what)}, this machine has {here[what]}; "
                f"recompile it here: pltv recompile --bundle {path}"
            )
    return manifest


def check_content(path: Path, *, key: bytes | None = None) -> Manifest:
    """Check everything that `check` does but the platform."""
    manifest = read_manifest(path)
    _check_signature(path, manifest, key)
    if manifest.digest != manifest.digested():
        expected, received = manifest.digest, manifest.digested()
        raise BundleCorrupt(f"{path}: {MANIFEST}: expected digest {expected}, received {received}")
    for name, entry in manifest.files.items():
        _check_file(path, name, entry)
    _check_no_stray_library(path, manifest)
    _check_declaration(path, manifest)
    return manifest


def _entry(path: Path) -> FileEntry:
    return FileEntry(_sha256(path), path.stat().st_size, _rows(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rows(path: Path) -> int | None:
    return len(path.read_bytes().splitlines()) if path.suffix == ".jsonl" else None


def _check_signature(path: Path, manifest: Manifest, key: bytes | None) -> None:
    if key is None:
        return
    if manifest.signature is None:
        raise BundleCorrupt(f"{path}: {MANIFEST}: expected a signature, it has none")
    if not hmac.compare_digest(manifest.signed_with(key), str(manifest.signature)):
        raise BundleCorrupt(f"{path}: {MANIFEST}: the signature is not that of the configured key")


def _check_file(path: Path, name: str, entry: FileEntry) -> None:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise BundleCorrupt(f"{path}: {MANIFEST}: {name} lies outside of the bundle")
    file = path / relative
    if not file.is_file():
        raise BundleCorrupt(f"{path}: {name} is missing")
    found = _entry(file)
    for what in ("rows", "bytes", "sha256"):
        expected, received = getattr(entry, what), getattr(found, what)
        if expected != received:
            raise BundleCorrupt(f"{path}: {name}: expected {what} {expected}, received {received}")


def _check_no_stray_library(path: Path, manifest: Manifest) -> None:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.suffix in _LIBRARY_SUFFIXES and name not in manifest.files:
            raise BundleCorrupt(f"{path}: {name} is a library that {MANIFEST} does not know")


def _check_declaration(path: Path, manifest: Manifest) -> None:
    if DECLARATION not in manifest.files:
        raise BundleCorrupt(f"{path}: {DECLARATION} is missing")
    try:
        declaration = Declaration.from_json(json.loads((path / DECLARATION).read_bytes()))
    except (ValueError, DeclarationError) as error:
        raise BundleIncompatible(f"{path}: {DECLARATION}: {error}") from error
    expected, received = manifest.declaration_fingerprint, declaration.fingerprint
    if expected != received:
        raise BundleIncompatible(f"{path}: {DECLARATION}: expected fingerprint {expected}, received {received}")


def _sync(directory: Path) -> None:
    """Put every file and directory on the disk before the rename makes them visible."""
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            _sync_directory(path)
    _sync_directory(directory)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
