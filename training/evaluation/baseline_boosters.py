"""What baselines are made of: one X, binned once, and labels enter; LightGBM boosters leave, several at once."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from training.evaluation.ranking import Floats

DEFAULTS: dict[str, Any] = {
    "num_boost_round": 120,
    "learning_rate": 0.08,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
}


class Trainer:
    """LightGBM over one X, binned once for every label.

    A booster is grown by one thread, and as many boosters at once as there are threads: the trees are those that
    several threads would grow together, and none of them waits for the others after every leaf.
    """

    def __init__(
        self, X: Floats, seed: int, num_threads: int, params: Mapping[str, Any], weight: Floats | None = None
    ) -> None:
        merged = {**DEFAULTS, **params}
        self._rounds = int(merged.pop("num_boost_round"))
        self._params = {
            **merged,
            "seed": seed,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        self.X = X
        self._weight = None if weight is None else weight / weight.mean()
        binning = {**self._params, "num_threads": num_threads}
        self._data = lgb.Dataset(X, params=binning, free_raw_data=False).construct()
        self._binned = Lock()

    def counts(self, rows: NDArray[np.bool_]) -> Floats:
        """What each of some rows stands for."""
        return np.ones(int(rows.sum())) if self._weight is None else self._weight[rows]

    def fit(self, objective: Mapping[str, Any], label: Floats, rows: NDArray[np.bool_]) -> lgb.Booster:
        """A booster of `objective` on the rows of X where `rows` (n,) holds."""
        chosen = np.flatnonzero(rows)
        params = {**self._params, **objective}
        with self._binned:
            # Constructed before it is labelled: construction copies the parent's labels over any set earlier.
            data = self._data.subset(chosen.tolist(), params=params).construct()
        data.set_label(label[chosen])
        if self._weight is not None:
            data.set_weight(self._weight[chosen])
        return lgb.train(params, data, num_boost_round=self._rounds)


TWEEDIE = {"objective": "tweedie", "tweedie_variance_power": 1.5}
L2 = {"objective": "regression"}
BINARY = {"objective": "binary"}
GAMMA = {"objective": "gamma"}


def predict_rows(booster: lgb.Booster, X: Floats, num_threads: int = 0) -> Floats:
    """The booster's answers, (n,); 0 threads are as many as the machine has."""
    return np.asarray(booster.predict(X, num_threads=num_threads), dtype=np.float64)
