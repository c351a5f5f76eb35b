"""Every predictor's estimates on one set of bootstrap weights → tables of estimates and paired verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import Estimate, Weights, estimate
from training.evaluation.rows import EvaluationRows, Scored
from training.evaluation.scorecard import AmountCard, ClassifierCard, LogCard
from training.evaluation.verdicts import AMOUNTS, CLASSIFIER, Verdict, compare

Estimates = dict[str, Estimate]


class Scores:
    """Estimates of every predictor on the same replicates; keys are predictor, then what was scored."""

    def __init__(self, rows: EvaluationRows, horizons: Sequence[int], log_horizon: int, weights: Weights) -> None:
        self._rows, self._horizons, self._weights = rows, list(horizons), weights
        self._log_column = self._horizons.index(log_horizon)
        self.classifier: dict[str, Estimates] = {}
        self.amounts: dict[str, dict[str, Estimates]] = {}
        self.log_mean: dict[str, Estimates] = {}

    def add(self, scored: Scored) -> None:
        """Score one predictor on everything that it answers."""
        rows, oracle = self._rows, self._rows.oracle
        if scored.p_buyer is not None:
            expected = None if oracle is None else oracle.p_buyer
            card = ClassifierCard(rows.buyer.astype(np.float64), scored.p_buyer, expected)
            self.classifier[scored.name] = estimate(card, self._weights, rows.sample_weight)
        self.amounts[scored.name] = {
            f"d{horizon}": self._amounts(scored, column) for column, horizon in enumerate(self._horizons)
        }
        if scored.log_mean is not None:
            known = np.isfinite(rows.y[:, self._log_column])
            log_card = LogCard(rows.y[known, self._log_column], scored.log_mean[known])
            self.log_mean[scored.name] = estimate(log_card, self._weights_of(known), rows.weight_of(known))

    def _amounts(self, scored: Scored, column: int) -> Estimates:
        rows, oracle = self._rows, self._rows.oracle
        known = np.isfinite(rows.y[:, column])
        expected = None if oracle is None else oracle.ltv[known, column]
        card = AmountCard(rows.y[known, column], scored.ltv[known, column], expected)
        return estimate(card, self._weights_of(known), rows.weight_of(known))

    def _weights_of(self, known: NDArray[np.bool_]) -> Weights:
        return self._weights if known.all() else self._weights[:, known]

    def verdicts(self, ours: str, others: Sequence[str]) -> list[Verdict]:
        """Ours against each baseline on each metric that decides."""
        bias = "bias_realised" if self._rows.oracle is None else "bias_oracle"
        found: list[Verdict] = []
        for other in others:
            if other in self.classifier and ours in self.classifier:
                found += compare("p_buyer", CLASSIFIER, self.classifier[ours], other, self.classifier[other])
            if other in self.log_mean and ours in self.log_mean:
                found += compare("log_mean", ("msle",), self.log_mean[ours], other, self.log_mean[other])
            for where, estimates in self.amounts[ours].items():
                found += compare(where, (*AMOUNTS, bias), estimates, other, self.amounts[other][where])
        return found
