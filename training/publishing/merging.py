"""Boosters over the same X enter, one multi-target treelite model leaves.

Raw margins only: link functions are numpy's (`app.inference.ensemble`), because LightGBM's own differ from
them in the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import lightgbm as lgb
import numpy as np
import treelite

from app.errors import BundleError

_DECISION_TYPES = re.compile(r"^decision_type=(.*)$", re.MULTILINE)
_MISSING_SHIFT, _MISSING_MASK, _MISSING_IS_ZERO = 2, 3, 1  # LightGBM's tree.h: bits 2-3 of a decision type


def require_compilable(booster: lgb.Booster, name: str) -> None:
    """Refuse what compiled trees would answer differently from LightGBM.

    Raises
    ------
    BundleError
        For linear trees, zero as missing, categorical splits and averaged forests; one line that names the
        model.
    """
    text = booster.model_to_string()
    refusals = {
        "linear_tree": "is_linear=1" in text,
        "zero_as_missing": "[zero_as_missing: 1]" in text or _treats_zero_as_missing(text),
        "categorical splits": re.search(r"^num_cat=[1-9]", text, re.MULTILINE) is not None,
        "averaged output (boosting=rf)": re.search(r"^average_output$", text, re.MULTILINE) is not None,
    }
    for what, present in refusals.items():
        if present:
            raise BundleError(f"model {name}: {what} cannot be compiled exactly; train it without")


def merge(boosters: Sequence[lgb.Booster]) -> treelite.Model:
    """Merge boosters over the same X into one model with a target an output.

    Parameters
    ----------
    boosters : sequence of lightgbm.Booster
        All trained on the same columns. A multiclass booster yields its classes as consecutive targets.

    Returns
    -------
    treelite.Model
        Its trees stand in LightGBM's order, so that the sum of a target's leaves is the same to the last bit.

    Raises
    ------
    BundleError
        Where a booster cannot be compiled exactly, or the boosters have different numbers of features.
    """
    for i, booster in enumerate(boosters):
        require_compilable(booster, str(i))
    widths = {booster.num_feature() for booster in boosters}
    if len(widths) != 1:
        raise BundleError(f"models of one library must share X: expected one number of features, got {sorted(widths)}")
    models = [treelite.frontend.from_lightgbm(booster) for booster in boosters]
    targets, offset = [], 0
    for model, booster in zip(models, boosters, strict=True):
        targets.append(_tree_classes(model) + offset)
        offset += int(booster.num_model_per_iteration())
        _as_plain_regressor(model)
    merged = treelite.Model.concatenate(models)
    _retarget(merged, np.concatenate(targets), offset)
    return merged


def _treats_zero_as_missing(text: str) -> bool:
    kinds = [int(kind) for line in _DECISION_TYPES.findall(text) for kind in line.split()]
    return any((kind >> _MISSING_SHIFT) & _MISSING_MASK == _MISSING_IS_ZERO for kind in kinds)


def _tree_classes(model: treelite.Model) -> np.ndarray:
    return np.array(model.get_header_accessor().get_field("class_id"), dtype=np.int32)


def _as_plain_regressor(model: treelite.Model) -> None:
    """Make headers alike: treelite concatenates only models of one task type and shape."""
    header = model.get_header_accessor()
    regressor = np.array([1], dtype=np.uint8)
    header.set_field("task_type", regressor)
    header.set_field("num_class", np.ones(1, dtype=np.int32))


def _retarget(model: treelite.Model, target_of_tree: np.ndarray, n_targets: int) -> None:
    """Point each tree at its target. Only the header changes: thresholds and leaves stay LightGBM's doubles,
    infinite ones too, which a round trip through treelite's JSON would lose.
    """
    header = model.get_header_accessor()
    header.set_field("num_target", np.array([n_targets], dtype=np.int32))
    header.set_field("num_class", np.ones(n_targets, dtype=np.int32))
    header.set_field("target_id", target_of_tree.astype(np.int32))
    header.set_field("class_id", np.zeros(len(target_of_tree), dtype=np.int32))
    header.set_field("base_scores", np.zeros(n_targets))
    header.set_field("postprocessor", "identity")
