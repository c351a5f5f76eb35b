"""Tests of training.tracking.figures."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from training.tracking.figures import figures, parameters

TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
    lambda inner: st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=8,
)


def test_parameters_are_the_leaves_by_their_path() -> None:
    """Nested keys are dotted, lists are one value, an empty mapping is one too, and long texts are cut."""
    found = parameters({"split": {"validation": 0.2}, "levels": [["a"], ["b"]], "x": {}, "n": None, "t": "y" * 9000})
    assert found.pop("t") == "y" * 5999 + "…"
    assert found == {"split.validation": "0.2", "levels": "[['a'], ['b']]", "x": "{}", "n": "None"}


def test_figures_are_finite_numbers_and_estimates_their_ends() -> None:
    """Value and interval of an estimate; no text, no truth value, nothing undefined."""
    metrics = {
        "ltv": {"d7": {"msle": {"value": 0.2, "low": 0.1, "high": 0.3}, "gini": {"value": None, "low": None}}},
        "split": "backtest",
        "sound": True,
        "odd@name": float("nan"),
        "per@cent": 3,
    }
    assert figures(metrics) == {"ltv.d7.msle": 0.2, "ltv.d7.msle.low": 0.1, "ltv.d7.msle.high": 0.3, "per_cent": 3.0}


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), TREES, max_size=4))
def test_every_leaf_is_a_parameter(tree: dict[str, Any]) -> None:
    """As many parameters as leaves: no value is lost, whatever the nesting."""

    def leaves(node: object) -> int:
        return sum(map(leaves, node.values())) if isinstance(node, dict) and node else 1

    assert len(parameters(tree)) == sum(leaves(node) for node in tree.values())
