"""The base models as one: X enters, the raw scores of all libraries and dot products leave side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.inference.compiled import CompiledModel
from app.inference.specification import EnsembleSpec

Floats = NDArray[np.float64]


class BaseStage:
    """The libraries of `spec.base`, loaded.

    Parameters
    ----------
    spec : EnsembleSpec
    models : sequence of CompiledModel
        One a library, in their order.
    """

    def __init__(self, spec: EnsembleSpec, models: Sequence[CompiledModel]) -> None:
        self.spec = spec
        self.models = tuple(models)

    def predict_raw(self, X: Floats) -> Floats:
        """Return the raw scores.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features), float64, C-contiguous

        Returns
        -------
        ndarray of shape (n_rows, n_base_outputs), float64

        Raises
        ------
        ValueError
            On any other X, or after `close`.
        """
        if len(self.models) == 1 and not self.spec.linear:
            return self.models[0].predict_raw(X)
        parts: list[Floats] = []
        for library, model in zip(self.spec.base, self.models, strict=True):
            columns = [self.spec.columns[name] for name in library.inputs]
            parts.append(model.predict_raw(extended(X, np.column_stack(parts)[:, columns]) if columns else X))
        parts += [one.score(X)[:, None] for one in self.spec.linear]
        return np.concatenate(parts, axis=1)

    def close(self) -> None:
        """Release the libraries."""
        for model in self.models:
            model.close()


def extended(X: Floats, scores: Floats) -> Floats:
    """X with scores as its last columns, on the float32 grid of the features.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features), float64
    scores : ndarray of shape (n_rows, n_scores), float64

    Returns
    -------
    ndarray of shape (n_rows, n_features + n_scores), float64, C-contiguous
    """
    return np.concatenate([X, scores.astype(np.float32).astype(np.float64)], axis=1)
