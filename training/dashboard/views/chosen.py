"""What was chosen at the side: the input of every page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.dashboard.scoring import Answered, Loaded
from training.dashboard.session import Source


@dataclass(frozen=True)
class Chosen:
    """The choice, and the answers that follow from it.

    Parameters
    ----------
    bundles : dict of str to Path
        All that could be chosen.
    key : bytes or None
        That bundles must be signed with.
    bundle : Loaded
    source : Stored or Uploaded
    answered : Answered
    """

    bundles: dict[str, Path]
    key: bytes | None
    bundle: Loaded
    source: Source
    answered: Answered

    @property
    def horizons(self) -> tuple[int, ...]:
        """Days."""
        return self.bundle.predictor.declaration.targets.horizons
