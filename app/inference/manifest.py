"""`manifest.json`: what a bundle is, where it runs, and the hash of every file in it."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import platform as host
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.errors import BundleCorrupt, BundleIncompatible

SCHEMA_VERSION: Final = 2
MANIFEST: Final = "manifest.json"
LOADABLE: Final = ("system", "machine", "libc")  # a library of another of these can not be loaded here


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the bundle: sha256 in hex, size in bytes, and rows where it holds one a line."""

    sha256: str
    bytes: int
    rows: int | None = None


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Parameters
    ----------
    name : str
        Named in every answer.
    declaration_fingerprint, feature_fingerprint : str
    feature_names : tuple of str
        Columns of X in order.
    horizons : tuple of int
        Days.
    label_unit, currency : str
        What every number is conditional on, and its unit.
    versions : mapping of str to str
        Of the libraries that trained it.
    seed : int
    data_window : mapping of str to str
        First and last hour of each split.
    metrics : mapping
        Scores on the validation split.
    created : str
        ISO 8601, UTC. This and the rest are set when the bundle is sealed.
    platform : mapping of str to str
        `current_platform` of the machine that compiled the libraries and answered the golden rows.
    files : mapping of str to FileEntry
        Path relative to the bundle, with `/` → entry.
    signature : str or None
        HMAC-SHA256 in hex over all the rest.
    digest : str
        sha256 in hex over all but the signature: a manifest that was changed by accident is noticed without a key.
    schema_version : int
    """

    name: str
    declaration_fingerprint: str
    feature_fingerprint: str
    feature_names: tuple[str, ...]
    horizons: tuple[int, ...]
    label_unit: str
    currency: str
    versions: Mapping[str, str]
    seed: int
    data_window: Mapping[str, Any]
    metrics: Mapping[str, Any]
    created: str = ""
    platform: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    signature: str | None = None
    digest: str = ""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return dataclasses.asdict(self)

    def signed_with(self, key: bytes) -> str:
        """Return the signature that this manifest has under `key`."""
        return hmac.new(key, self._canonical("signature"), hashlib.sha256).hexdigest()

    def digested(self) -> str:
        """Return the digest that this manifest should carry."""
        return hashlib.sha256(self._canonical("signature", "digest")).hexdigest()

    def _canonical(self, *without: str) -> bytes:
        content = {k: v for k, v in self.to_json().items() if k not in without}
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Manifest:
        """Read the JSON object.

        Raises
        ------
        BundleIncompatible
            When it has another schema version.
        BundleCorrupt
            When an entry is missing, unknown or of the wrong kind.
        """
        version = obj.get("schema_version")
        if version != SCHEMA_VERSION:
            raise BundleIncompatible(f"{MANIFEST}: expected schema_version {SCHEMA_VERSION}, received {version!r}")
        try:
            files = {str(name): FileEntry(**entry) for name, entry in obj["files"].items()}
            parts = {
                "files": files,
                "platform": dict(obj["platform"]),
                "feature_names": tuple(obj["feature_names"]),
                "horizons": tuple(obj["horizons"]),
            }
            return cls(**{**obj, **parts})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleCorrupt(f"{MANIFEST}: {type(error).__name__}: {error}") from error


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of the bundle at `path` without checking its files.

    Raises
    ------
    BundleCorrupt
        When it is missing or not JSON.
    BundleIncompatible
        When it has another schema version.
    """
    try:
        obj = json.loads((path / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise BundleCorrupt(f"{path}: no bundle, {MANIFEST} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BundleCorrupt(f"{path}: {MANIFEST} can not be read ({error})") from error
    if not isinstance(obj, dict):
        raise BundleCorrupt(f"{path}: {MANIFEST}: expected an object, received {type(obj).__name__}")
    return Manifest.from_json(obj)


def current_platform() -> dict[str, str]:
    """Return what compiled code and the last bit of a logarithm depend on.

    A library loads where `LOADABLE` agree; answers are bit-identical where everything does (numpy chooses its
    kernels by the processor's vector extensions), elsewhere within 1e-12 relative.
    """
    family, version = host.libc_ver()
    config: Any = np.show_config(mode="dicts")
    return {
        "system": host.system(),
        "machine": host.machine(),
        "libc": family or host.system().lower(),
        "libc_version": version,
        "simd": " ".join(config["SIMD Extensions"].get("found", [])),
        "numpy": np.__version__,
    }
