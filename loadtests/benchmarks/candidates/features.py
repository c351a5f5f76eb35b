"""Features in bulk: hourly parquet enters; microseconds a row from Arrow's buffers to X leave, those of one core."""

from __future__ import annotations

import sys
from pathlib import Path
from time import process_time
from typing import Final

import numpy as np
import pyarrow as pa

from app.inference.predictor import Predictor
from loadtests.benchmarks.processes import answer_commands
from training.data.assembly import read_columns
from training.data.dataset import Dataset

_MICRO: Final = 1e6


class Bulk:
    """A bundle's plan over record batches that are in memory before the clock runs.

    Parameters
    ----------
    bundle, data : Path
    """

    def __init__(self, bundle: Path, data: Path) -> None:
        self._plan = Predictor.load(bundle, golden=False).plan
        self._dataset = Dataset(data, self._plan.declaration)
        self._rows = self._dataset.rows
        self._batches = [(now, batch) for now, path in self._files() for batch in self._read(path)]

    def features(self) -> dict[str, float]:
        """Microseconds a row of both steps: record batches to `Columns`, and those to X, (n, n_features) float32."""
        columns_s = matrix_s = 0.0
        for now, batch in self._batches:
            started = process_time()
            columns = read_columns(batch, self._dataset.layout, now)
            between = process_time()
            self._plan.transform(columns).astype(np.float32)
            columns_s, matrix_s = columns_s + between - started, matrix_s + process_time() - between
        return {"columns": self._each(columns_s), "matrix": self._each(matrix_s)}

    def parquet(self) -> float:
        """Microseconds a row of what comes before: the files to record batches."""
        started = process_time()
        for _, path in self._files():
            self._read(path)
        return self._each(process_time() - started)

    def _files(self) -> list[tuple[int, Path]]:
        return [(part.now, path) for part in self._dataset.partitions for path in part.files]

    def _read(self, path: Path) -> list[pa.RecordBatch]:
        return list(self._dataset.record_batches(path, targets=False))

    def _each(self, seconds: float) -> float:
        return _MICRO * seconds / self._rows


def main(bundle: str, data: str) -> None:
    """Be a worker: Arrow's own threads count as the core's."""
    pa.set_cpu_count(1)
    bulk = Bulk(Path(bundle), Path(data))
    answer_commands({"features": bulk.features, "parquet": bulk.parquet})


if __name__ == "__main__":
    main(*sys.argv[1:])
