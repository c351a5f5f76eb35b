"""BentoML: one service whose endpoint is written in the way that the environment names.

`bentoml serve loadtests.peers.servers.bento:Scores` imports this module; PEER_SETTING and PEER_MODELS tell it which way
and where the models are.
"""

# BentoML reads the annotations themselves, so they are not postponed.
import os
from pathlib import Path

import bentoml  # type: ignore[import-not-found]
import numpy as np

from loadtests.peers.servers.boosters import Boosters


class _Models:
    def __init__(self) -> None:
        self.boosters = Boosters(Path(os.environ["PEER_MODELS"]))


class InLoop(_Models):
    """In the event loop."""

    @bentoml.api  # type: ignore[untyped-decorator]
    async def predict(self, features: list[float]) -> list[float]:
        """The scores of one row."""
        return self.boosters.row(features)


class InThread(_Models):
    """In BentoML's thread."""

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, features: list[float]) -> list[float]:
        """The scores of one row."""
        return self.boosters.row(features)


class AsArray(_Models):
    """In the event loop, the row read as an array."""

    @bentoml.api  # type: ignore[untyped-decorator]
    async def predict(self, features: np.ndarray) -> np.ndarray:
        """The scores of a matrix of one row."""
        return self.boosters.rows(features)


class Joined(_Models):
    """Rows of several requests joined by BentoML."""

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)  # type: ignore[untyped-decorator]
    async def predict(self, features: np.ndarray) -> np.ndarray:
        """The scores of a matrix."""
        return self.boosters.rows(features)


_WAYS = {"async": InLoop, "sync": InThread, "array": AsArray, "joined": Joined}
Scores = bentoml.service(name="Scores")(_WAYS[os.environ["PEER_SETTING"]])
