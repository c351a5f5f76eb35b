"""Fewer rows for small machines: partitions and shares enter, the partitions and the rows that are drawn leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.data.arrow import Bools
from training.data.dataset import Partition


def spread(partitions: Sequence[Partition], most: int | None) -> tuple[Partition, ...]:
    """At most so many partitions, the first and the last among them, evenly over time."""
    if most is None or len(partitions) <= most:
        return tuple(partitions)
    places = np.unique(np.linspace(0, len(partitions) - 1, most).round().astype(np.int64))
    return tuple(partitions[i] for i in places.tolist())


@dataclass(frozen=True)
class Piece:
    """The rows of a partition that are read.

    Parameters
    ----------
    partition : Partition
    share : float
        Of its rows, drawn one by one.
    seed : int
    start : int
        Rows of the pieces before it.
    """

    partition: Partition
    share: float
    seed: int
    start: int

    def drawn(self) -> Bools:
        """Which rows are read; shape (partition.rows,). The draw depends on the seed and the hour alone."""
        if self.share >= 1.0:
            return np.ones(self.partition.rows, dtype=bool)
        rng = np.random.default_rng([self.seed, self.partition.now])
        return np.asarray(rng.random(self.partition.rows) < self.share)

    @property
    def rows(self) -> int:
        """Number of rows that are read."""
        return int(self.drawn().sum())


def pieces(partitions: Sequence[Partition], share: float, seed: int) -> list[Piece]:
    """The same share of every partition, in their order; those of which no row is read are left out."""
    found: list[Piece] = []
    start = 0
    for partition in partitions:
        piece = Piece(partition, share, seed, start)
        if rows := piece.rows:
            found.append(piece)
            start += rows
    return found
