"""The models alone. One matrix of features enters; a row's and a batch's time leave, by our library or by LightGBM."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from lightgbm.libpath import _LIB as LIGHTGBM
from numpy.typing import NDArray

from app.inference.ensemble import meta_features
from app.inference.predictor import Predictor
from app.inference.specification import LibrarySpec
from loadtests.benchmarks.processes import answer_commands
from loadtests.benchmarks.rounds import percentile

Floats = NDArray[np.float64]
Rows = list[tuple[Floats, Floats | None]]  # one row for the base models and what the meta-learner gets of it

_RAW_SCORE: Final = 1  # C_API_PREDICT_RAW_SCORE
_FLOAT64: Final = 1  # C_API_DTYPE_FLOAT64
_MICRO: Final = 1e6
_VIEW: Final[Callable[[Any], ctypes.Array[ctypes.c_char]]] = (ctypes.c_char * 0).from_buffer


class Matrices:
    """The same inputs for every candidate.

    Parameters
    ----------
    bundle : Path
    X : ndarray of shape (n_rows, n_features), float64
    """

    def __init__(self, bundle: Path, X: Floats) -> None:
        self.bundle = bundle
        self.predictor = Predictor.load(bundle, golden=False)
        self.ensemble = self.predictor.ensemble
        self.X = X
        meta = self.ensemble.meta is not None
        self.X_meta = meta_features(self.ensemble.base.predict_raw(X), self.ensemble.spec) if meta else None

    def rows(self) -> Rows:
        """Each row as a matrix of its own, cut before the clock runs."""
        meta = self.X_meta
        return [(self.X[i : i + 1], None if meta is None else meta[i : i + 1]) for i in range(len(self.X))]

    def boosters(self) -> tuple[list[lgb.Booster], list[lgb.Booster]]:
        """The boosters that the libraries were compiled from, in the order of their targets.

        Raises
        ------
        RuntimeError
            Where base models read each other's answers: LightGBM is asked for the rows as they are.
        """
        spec = self.ensemble.spec
        if len(spec.base) > 1 or spec.linear:
            raise RuntimeError(f"{self.bundle}: expected one library of base models, received {len(spec.base)}")
        return self._of("base", spec.base[0]), self._of("meta", spec.meta)

    def _of(self, name: str, library: LibrarySpec | None) -> list[lgb.Booster]:
        outputs = () if library is None else library.outputs
        return [lgb.Booster(model_file=self.bundle / "models" / f"{name}.{output.name}.txt") for output in outputs]


class Compiled:
    """Our libraries, one call a matrix."""

    def __init__(self, matrices: Matrices) -> None:
        self._base, self._meta = matrices.ensemble.base, matrices.ensemble.meta

    def one(self, X: Floats, X_meta: Floats | None) -> None:
        """Predict one row."""
        self._base.predict_raw(X)
        if self._meta is not None and X_meta is not None:
            self._meta.predict_raw(X_meta)

    def scores(self, X: Floats, X_meta: Floats | None) -> list[Floats]:
        """Raw scores of all rows, a column a model."""
        found = [self._base.predict_raw(X)]
        if self._meta is not None and X_meta is not None:
            found.append(self._meta.predict_raw(X_meta))
        return found


class BoosterPredict:
    """LightGBM's Python call, one a model."""

    def __init__(self, matrices: Matrices) -> None:
        self._base, self._meta = matrices.boosters()

    def one(self, X: Floats, X_meta: Floats | None) -> None:
        """Predict one row."""
        for booster in self._base:
            booster.predict(X, raw_score=True, num_threads=1)
        for booster in self._meta:
            booster.predict(X_meta, raw_score=True, num_threads=1)

    def scores(self, X: Floats, X_meta: Floats | None) -> list[Floats]:
        """Raw scores of all rows, a column a model."""
        pairs = ((self._base, X), (self._meta, X_meta))
        return [
            np.column_stack([booster.predict(data, raw_score=True, num_threads=1) for booster in boosters])
            for boosters, data in pairs
            if boosters
        ]


class SingleRowFast:
    """LightGBM's C call for one row, configured ahead; it has no Python API, so ctypes calls it as it calls ours."""

    def __init__(self, matrices: Matrices) -> None:
        self._boosters = matrices.boosters()
        base, meta = self._boosters
        self._base = [_fast(booster) for booster in base]
        self._meta = [_fast(booster) for booster in meta]
        self._call = LIGHTGBM.LGBM_BoosterPredictForMatSingleRowFast
        self._length, self._out = ctypes.c_int64(), ctypes.c_double()
        self._to = (ctypes.byref(self._length), ctypes.byref(self._out))

    def one(self, X: Floats, X_meta: Floats | None) -> None:
        """Predict one row."""
        self._run(self._base, X)
        if X_meta is not None:
            self._run(self._meta, X_meta)

    def scores(self, X: Floats, X_meta: Floats | None) -> list[Floats]:
        """Raw scores of all rows, row by row."""
        pairs = ((self._base, X), (self._meta, X_meta))
        return [self._table(models, data) for models, data in pairs if models and data is not None]

    def _run(self, models: list[ctypes.c_void_p], X: Floats) -> None:
        address = ctypes.c_void_p(ctypes.addressof(_VIEW(X)))  # the cheapest way, which ours takes too
        for model in models:
            self._call(model, address, *self._to)

    def _table(self, models: list[ctypes.c_void_p], X: Floats) -> Floats:
        table = np.empty((len(X), len(models)))
        for i, row in enumerate(X):
            for j, model in enumerate(models):
                if self._call(model, ctypes.c_void_p(row.ctypes.data), *self._to):
                    raise RuntimeError(LIGHTGBM.LGBM_GetLastError())
                table[i, j] = self._out.value
        return table


CANDIDATES: Final[dict[str, Callable[[Matrices], Any]]] = {
    "compiled": Compiled,
    "single_row_fast": SingleRowFast,
    "booster_predict": BoosterPredict,
}


class Timed:
    """One candidate, its rows rotating.

    Parameters
    ----------
    candidate : object with `one` and `scores`
    matrices : Matrices
    """

    def __init__(self, candidate: Any, matrices: Matrices) -> None:
        self._candidate = candidate
        self._matrices = matrices
        self._rows = matrices.rows()
        self._next = 0

    def row(self, n: int) -> dict[str, float]:
        """n rows one after the other: µs of the whole ensemble."""
        one, rows, times = self._candidate.one, self._rows, []
        for i in range(self._next, self._next + n):
            row = rows[i % len(rows)]
            start = perf_counter()
            one(*row)
            times.append(_MICRO * (perf_counter() - start))
        self._next += n
        return {f"p{share}": percentile(times, share / 100) for share in (50, 95, 99)}

    def batch(self) -> float:
        """Rows a second of the whole matrix in one call."""
        start = perf_counter()
        self._candidate.scores(self._matrices.X, self._matrices.X_meta)
        return len(self._rows) / (perf_counter() - start)

    def digest(self) -> str:
        """sha256 of all raw scores of all rows."""
        found = self._candidate.scores(self._matrices.X, self._matrices.X_meta)
        return hashlib.sha256(b"".join(np.ascontiguousarray(scores).tobytes() for scores in found)).hexdigest()


def _fast(booster: lgb.Booster) -> ctypes.c_void_p:
    """A prepared call, kept for the life of this process."""
    config = ctypes.c_void_p()
    failed = LIGHTGBM.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle,
        ctypes.c_int(_RAW_SCORE),
        ctypes.c_int(0),
        ctypes.c_int(-1),
        ctypes.c_int(_FLOAT64),
        ctypes.c_int32(booster.num_feature()),
        ctypes.c_char_p(b"num_threads=1"),
        ctypes.byref(config),
    )
    if failed:
        raise RuntimeError(f"LightGBM refused to prepare a call: {LIGHTGBM.LGBM_GetLastError()}")
    return config


def main(name: str, bundle: str, matrix: str) -> None:
    """Be a worker for one candidate; `matrix` is a `.npy` file."""
    matrices = Matrices(Path(bundle), np.ascontiguousarray(np.load(matrix)))
    timed = Timed(CANDIDATES[name](matrices), matrices)
    answer_commands({"row": timed.row, "batch": timed.batch, "digest": timed.digest})


if __name__ == "__main__":
    main(*sys.argv[1:])
