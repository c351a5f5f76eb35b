"""Boosters over the same X enter, one multi-target treelite model leaves.

Raw margins only: link functions are ours (`app.inference.ensemble`), because LightGBM's own differ from them in the
last bit. Boosters that begin with the same trees (the horizons, which are ratios on the trees of one of them) get them
once: their sums are copied where the boosters part, and go on from the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

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


@dataclass(frozen=True)
class Merged:
    """Trees of several boosters, in the order in which they are to be added up.

    Parameters
    ----------
    model : treelite.Model
        The trees of a target stand in LightGBM's order, so that the sum of its leaves is the same to the last bit.
    shared : int
        So many trees at the front belong to several targets and are summed into the first of them.
    parting : int
        The first tree after which those targets differ; all before it that are not shared belong to other targets.
    targets : tuple of int
        The targets that share, none or at least two.
    strict : bool
        Whether a row goes left where x < threshold, otherwise where x ≤ threshold.
    single : bool
        Whether every sum is rounded to float32 after each tree.
    start : float
        What every sum starts from.
    divisor : int
        What every sum is divided by.
    """

    model: treelite.Model
    shared: int
    parting: int
    targets: tuple[int, ...]
    strict: bool = False
    single: bool = False
    start: float = 0.0
    divisor: int = 1


def merge(boosters: Sequence[lgb.Booster], *, share: bool = True) -> Merged:
    """Merge boosters over the same X into one model with a target an output.

    Parameters
    ----------
    boosters : sequence of lightgbm.Booster
        All trained on the same columns. A multiclass booster yields its classes as consecutive targets.
    share : bool
        Whether trees that boosters have in common at their beginning stand there once.

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
    first, n_targets = _first_targets(boosters)
    alike, shared = _alike(boosters) if share else ((), 0)
    parts = [(_part(boosters[alike[0]], 0, shared), first[alike[0]])] if alike else []
    parts += [(booster, first[i]) for i, booster in enumerate(boosters) if i not in alike]
    before = [booster.num_trees() for booster, _ in parts]
    parts += [(_part(boosters[i], shared), first[i]) for i in alike if boosters[i].num_trees() > shared]
    models = [treelite.frontend.from_lightgbm(booster) for booster, _ in parts]
    targets = [_tree_classes(model) + target for model, (_, target) in zip(models, parts, strict=True)]
    for model in models:
        _as_plain_regressor(model)
    merged = treelite.Model.concatenate(models)
    _retarget(merged, np.concatenate(targets), n_targets)
    return Merged(merged, shared, sum(before), tuple(first[i] for i in alike))


def _first_targets(boosters: Sequence[lgb.Booster]) -> tuple[list[int], int]:
    """Where each booster's targets begin, and how many there are."""
    widths = [int(booster.num_model_per_iteration()) for booster in boosters]
    return [sum(widths[:i]) for i in range(len(widths))], sum(widths)


def _alike(boosters: Sequence[lgb.Booster]) -> tuple[tuple[int, ...], int]:
    """The boosters that begin with the same trees as most of them do, and how many trees that are."""
    trees = [_trees(booster) if booster.num_model_per_iteration() == 1 else [] for booster in boosters]
    groups: dict[str, list[int]] = {}
    for i, own in enumerate(trees):
        if own:
            groups.setdefault(own[0], []).append(i)
    alike = max(groups.values(), key=len, default=[])
    if len(alike) < 2:
        return (), 0
    common = takewhile(lambda level: len(set(level)) == 1, zip(*(trees[i] for i in alike), strict=False))
    return tuple(alike), sum(1 for _ in common)


def _trees(booster: lgb.Booster) -> list[str]:
    """LightGBM's text of each tree, without its number."""
    blocks = booster.model_to_string().split("\nend of trees")[0].split("\nTree=")[1:]
    return [block.partition("\n")[2].strip() for block in blocks]


def _part(booster: lgb.Booster, start: int, trees: int = -1) -> lgb.Booster:
    return lgb.Booster(model_str=booster.model_to_string(num_iteration=trees, start_iteration=start))


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
