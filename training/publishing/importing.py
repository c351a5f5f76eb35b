"""Plain trees of a forest or of XGBoost enter, a treelite model leaves, from which C is generated as from LightGBM's.

A library of them has one output. Its sum starts, is kept and is divided as `training.learning.tree_sums` defines it, by
our own entry point (`entry.c`): the code that the generator writes around its trees starts from 0 and adds the base
score last. Thresholds and leaves are doubles in any case, which hold a float32 exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from treelite.model_builder import Metadata, ModelBuilder, PostProcessorFunc, TreeAnnotation

from training.learning.boosting import Floats
from training.learning.tree_sums import LEAF, Tree, TreeSum
from training.publishing.certificate import Oracle
from training.publishing.merging import Merged

SINGLE_WITHIN: Final = 1e-5  # relative: what another order of the sum may make of it


def imported(trees: TreeSum) -> Merged:
    """Trees of one output, ready for the code generator.

    Parameters
    ----------
    trees : TreeSum
        At least one tree.
    """
    n_trees = len(trees.trees)
    builder = ModelBuilder(
        threshold_type="float64",
        leaf_output_type="float64",
        metadata=Metadata(trees.n_features, "kRegressor", False, 1, [1], (1, 1)),
        tree_annotation=TreeAnnotation(n_trees, [0] * n_trees, [0] * n_trees),
        postprocessor=PostProcessorFunc("identity"),
        base_scores=[0.0],
    )
    for tree in trees.trees:
        _add(builder, tree, "<" if trees.strict else "<=")
    return Merged(builder.commit(), 0, n_trees, (), trees.strict, trees.single, trees.start, trees.divisor)


def _add(builder: ModelBuilder, tree: Tree, comparison: str) -> None:
    builder.start_tree()  # type: ignore[no-untyped-call]
    for i in range(len(tree.left)):
        builder.start_node(i)
        if tree.left[i] == LEAF:
            builder.leaf(float(tree.value[i]))
        else:
            left, right = int(tree.left[i]), int(tree.right[i])
            builder.numerical_test(
                int(tree.feature[i]), float(tree.threshold[i]), default_left=bool(tree.missing_left[i]),
                opname=comparison, left_child_key=left, right_child_key=right,
            )  # fmt: skip
        builder.end_node()  # type: ignore[no-untyped-call]
    builder.end_tree()  # type: ignore[no-untyped-call]


def oracle_of(trees: TreeSum, near: Callable[[Floats], Floats] | None = None) -> Oracle:
    """What the library of `imported` trees must answer.

    Parameters
    ----------
    trees : TreeSum
    near : callable, optional
        X → scores (n_rows,) of the library that grew the trees: the same bits, or for sums in float32, whose order is
        not promised, within `SINGLE_WITHIN`.
    """

    def column(X: Floats) -> Floats:
        assert near is not None
        return near(X)[:, None]

    within = SINGLE_WITHIN if trees.single else 0.0
    return Oracle(
        "the trees",
        lambda X: trees.predict(X)[:, None],
        trees.splits,
        on_grid=True,
        near=None if near is None else column,
        within=within,
    )
