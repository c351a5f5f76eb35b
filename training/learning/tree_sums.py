"""A forest or an XGBoost booster enters; plain trees leave, whose sum is the definition of what is compiled and served.

A sum of floating-point numbers depends on its order and on the type that it is kept in. Here both are fixed:

- a forest is what scikit-learn predicts on one thread: the trees' leaves in float64, in the order of the trees,
  divided by their number;
- XGBoost starts at its base score and adds the trees' leaves in float32, in the order of the trees. Its own predictor
  does the same today; it promises no order, so that its answers are checked and not taken.

Nothing of either library is needed to predict, to write the trees down as JSON, or to compile them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from app.errors import BundleCorrupt
from training.learning.boosting import Floats, Ints, Mask

LEAF: Final = -1
LARGEST: Final = float(
    np.finfo(np.float32).max
)  # no feature lies above: stands for the infinite threshold of scikit-learn


@dataclass(frozen=True)
class Tree:
    """Nodes, the root first.

    Parameters
    ----------
    left, right : ndarray of shape (n_nodes,), int64
        Children; `LEAF` where there are none.
    feature : ndarray of shape (n_nodes,), int64
    threshold : ndarray of shape (n_nodes,), float64
    missing_left : ndarray of shape (n_nodes,), bool
    value : ndarray of shape (n_nodes,), float64
        Read at leaves.
    """

    left: Ints
    right: Ints
    feature: Ints
    threshold: Floats
    missing_left: Mask
    value: Floats

    def leaves(self, X: Floats, strict: bool) -> Floats:
        """The value of each row's leaf, shape (n,)."""
        node, rows = np.zeros(len(X), dtype=np.int64), np.arange(len(X))
        while len(rows := rows[self.left[node[rows]] != LEAF]):
            at = node[rows]
            x, threshold = X[rows, self.feature[at]], self.threshold[at]
            below = np.less(x, threshold) if strict else np.less_equal(x, threshold)
            goes_left = np.where(np.isnan(x), self.missing_left[at], below)
            node[rows] = np.where(goes_left, self.left[at], self.right[at])
        return self.value[node]


@dataclass(frozen=True)
class TreeSum:
    """(start + Σ leaves) / divisor, added up in the order of the trees.

    Parameters
    ----------
    n_features : int
    trees : tuple of Tree
    strict : bool
        Whether a row goes left where x < threshold, otherwise where x ≤ threshold.
    single : bool
        Whether the sum is kept in float32.
    start : float
    divisor : int
    """

    n_features: int
    trees: tuple[Tree, ...]
    strict: bool
    single: bool
    start: float
    divisor: int

    @classmethod
    def of_forest(cls, forest: RandomForestRegressor) -> TreeSum:
        """The trees of a fitted regressor of one target."""
        trees = tuple(_forest_tree(one.tree_) for one in forest.estimators_)
        return cls(int(forest.n_features_in_), trees, strict=False, single=False, start=0.0, divisor=len(trees))

    @classmethod
    def of_xgboost(cls, booster: xgb.Booster) -> TreeSum:
        """The trees of a booster of one target on numeric features; its margin."""
        learner = json.loads(booster.save_raw("json"))["learner"]
        start = float(np.float32(learner["learner_model_param"]["base_score"].strip("[]")))
        trees = tuple(_xgboost_tree(one) for one in learner["gradient_booster"]["model"]["trees"])
        return cls(booster.num_features(), trees, strict=True, single=True, start=start, divisor=1)

    def predict(self, X: Floats) -> Floats:
        """Scores of X, (n, n_features) on the float32 grid with missing as NaN; shape (n,)."""
        kind: type[np.floating[Any]] = np.float32 if self.single else np.float64
        total: NDArray[Any] = np.full(len(X), self.start, dtype=kind)
        for tree in self.trees:
            total += tree.leaves(X, self.strict).astype(kind)
        return np.asarray(total.astype(np.float64) / self.divisor)

    def splits(self) -> tuple[Ints, Floats]:
        """Feature and threshold of every split, each of shape (n_splits,)."""
        inner = [tree.left != LEAF for tree in self.trees]
        pairs = list(zip(self.trees, inner, strict=True))
        return (
            np.concatenate([tree.feature[at] for tree, at in pairs]),
            np.concatenate([tree.threshold[at] for tree, at in pairs]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object; a round trip keeps every bit."""
        trees = [{name: getattr(tree, name).tolist() for name in Tree.__annotations__} for tree in self.trees]
        head = {name: getattr(self, name) for name in ("n_features", "strict", "single", "start", "divisor")}
        return {**head, "trees": trees}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> TreeSum:
        """Read the JSON object.

        Raises
        ------
        BundleCorrupt
            An entry is missing or of the wrong kind, a child stands before its parent, a split reads no feature, or
            there is no tree.
        """
        try:
            n_features, trees = int(obj["n_features"]), tuple(_tree(one) for one in obj["trees"])
            start, divisor = float(obj["start"]), int(obj["divisor"])
            if not trees or divisor < 1:
                raise ValueError(f"expected trees and a divisor above 0, received {len(trees)} and {divisor}")
            found = cls(n_features, trees, bool(obj["strict"]), bool(obj["single"]), start, divisor)
            features = found.splits()[0]
            if ((features < 0) | (features >= n_features)).any():
                raise ValueError(f"expected splits by features 0 to {n_features - 1}, received others")
            return found
        except (KeyError, TypeError, ValueError) as error:
            raise BundleCorrupt(f"trees: {type(error).__name__}: {error}") from error


def _forest_tree(tree: Any) -> Tree:
    return Tree(
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        feature=np.maximum(tree.feature, 0).astype(np.int64),
        threshold=np.minimum(tree.threshold, LARGEST),
        missing_left=tree.missing_go_to_left.astype(bool),
        value=tree.value[:, 0, 0].astype(np.float64),
    )


def _xgboost_tree(tree: Mapping[str, Any]) -> Tree:
    left = np.array(tree["left_children"], dtype=np.int64)
    # One list for both: a split's threshold, a leaf's value.
    conditions = np.array(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    return Tree(
        left=left,
        right=np.array(tree["right_children"], dtype=np.int64),
        feature=np.where(left == LEAF, 0, np.array(tree["split_indices"], dtype=np.int64)),
        threshold=conditions,
        missing_left=np.array(tree["default_left"], dtype=bool),
        value=conditions,
    )


def _tree(obj: Mapping[str, Any]) -> Tree:
    left, right, feature = (np.array(obj[name], dtype=np.int64) for name in ("left", "right", "feature"))
    threshold, value = (np.array(obj[name], dtype=np.float64) for name in ("threshold", "value"))
    tree = Tree(left, right, feature, threshold, np.array(obj["missing_left"], dtype=bool), value)
    if len({len(getattr(tree, name)) for name in Tree.__annotations__}) != 1 or not len(left):
        raise ValueError("expected lists of the same length, a node an entry")
    inner = np.flatnonzero(left != LEAF)
    for children in (left[inner], right[inner]):
        # Children behind their parents: no row can walk in a circle.
        if (children <= inner).any() or (children >= len(left)).any():
            raise ValueError("expected children that stand after their parents")
    return tree
