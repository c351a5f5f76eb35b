"""The fitted state of a feature plan on disk: encoders.json (vocabularies) and encoders.npz (statistics, quantiles)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.errors import BundleCorrupt
from app.features.encoders import TextEncoder
from app.features.ranks import CohortRanks

FILES: Final = ("encoders.json", "encoders.npz")


@dataclass(frozen=True)
class Fitted:
    """All that training fitted for the features.

    Parameters
    ----------
    user_encoder, row_encoder : TextEncoder
        Of `Columns.texts` and of `Columns.campaign_texts`.
    ranks : CohortRanks or None
    features : tuple of str or None
        The features that are computed; None for all that are declared.
    """

    user_encoder: TextEncoder
    row_encoder: TextEncoder
    ranks: CohortRanks | None
    features: tuple[str, ...] | None = None

    def save(self, directory: Path) -> None:
        """Write both files."""
        (directory / FILES[0]).write_text(self._texts(), encoding="utf-8")
        np.savez(directory / FILES[1], allow_pickle=False, **self._arrays())

    @classmethod
    def load(cls, directory: Path) -> Fitted:
        """Read what `save` wrote.

        Raises
        ------
        BundleCorrupt
            The files are missing or hold no fitted state.
        """
        try:
            state = json.loads((directory / FILES[0]).read_text(encoding="utf-8"))
            with np.load(directory / FILES[1], allow_pickle=False) as arrays:
                user = TextEncoder.from_json(state["user"], arrays["user"])
                row = TextEncoder.from_json(state["row"], arrays["row"])
                features = tuple(map(str, state["features"])) if "features" in state else None
                ranks = state["ranks"] and CohortRanks.from_json(state["ranks"], arrays["cohort"], arrays["quantiles"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise BundleCorrupt(f"{directory / FILES[0]}: no fitted encoders ({type(fault).__name__})") from fault
        return cls(user, row, ranks, features)

    def parts(self) -> Iterator[bytes]:
        """Everything, as bytes to hash."""
        yield self._texts().encode()
        for _, array in sorted(self._arrays().items()):
            yield np.ascontiguousarray(array).tobytes()

    def _texts(self) -> str:
        ranks = None if self.ranks is None else self.ranks.to_json()
        state: dict[str, Any] = {"user": self.user_encoder.to_json(), "row": self.row_encoder.to_json(), "ranks": ranks}
        if self.features is not None:
            state["features"] = self.features
        return json.dumps(state, ensure_ascii=False, sort_keys=True)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {"user": self.user_encoder.sums, "row": self.row_encoder.sums}
        if self.ranks is not None:
            arrays |= {"cohort": self.ranks.cohort, "quantiles": self.ranks.quantiles}
        return arrays
