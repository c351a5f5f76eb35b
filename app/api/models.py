"""`GET /models` tells which bundle answers; `POST /models/reload` puts another in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

from app.errors import InputError
from app.serving.store import BundleStore

_TOLD: Final = (
    "name",
    "created",
    "schema_version",
    "declaration_fingerprint",
    "feature_fingerprint",
    "horizons",
    "label_unit",
    "currency",
    "versions",
    "seed",
    "data_window",
    "metrics",
)


class Models:
    """The calls behind `/models`.

    Parameters
    ----------
    store : BundleStore
    directory : Path
        Where bundles lie; a reload can name no other place.
    """

    def __init__(self, store: BundleStore, directory: Path) -> None:
        self._store = store
        self._directory = directory

    async def show(self, _: bytes) -> bytes:
        """The live bundle's manifest, without its files.

        Raises
        ------
        NotReady
        """
        manifest: dict[str, Any] = self._store.live.predictor.manifest.to_json()
        shown = {key: manifest[key] for key in _TOLD}
        return orjson.dumps({"live": {**shown, "features": len(manifest["feature_names"])}})

    async def reload(self, body: bytes) -> bytes:
        """Reload the configured bundle, or `{"bundle": NAME}` beside it, in every worker.

        Raises
        ------
        InputError
            Not such an object, or a name that leads elsewhere.
        BundleError
            A worker refused the bundle; the live one stays in all of them.
        """
        return orjson.dumps(await self._store.reload(self._path(body)))

    def _path(self, body: bytes) -> Path | None:
        if not body.strip():
            return None
        try:
            asked = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise InputError("expected JSON or nothing, received something else") from None
        if not isinstance(asked, dict):
            raise InputError("expected an object")
        name = asked.get("bundle")
        if name is None:
            return None
        if not isinstance(name, str) or name in ("", ".", "..") or set(name) & {"/", "\\", "\0"}:
            raise InputError("expected the name of a directory beside the configured bundle", "bundle")
        return self._directory / name
