"""Tests of training.search.cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import SMADEX
from training.config import load
from training.search.cost import least_us, sizes

SIZES = st.fixed_dictionaries({"a": st.integers(10, 1000), "b": st.integers(10, 1000)})


def test_sizes_are_the_leaves_of_every_boosted_part() -> None:
    """Rounds × leaves of classifier, regressors, log answer and meta-learner of the shipped configuration."""
    config = load(SMADEX)[1]
    assert config.log_mean is not None
    assert config.meta is not None
    parts = {"classifier": config.classifier, "regressors": config.regressors}
    parts |= {"log_mean": config.log_mean, "meta": config.meta}
    assert sizes(config.model_dump(mode="json")) == {name: one.rounds * one.leaves for name, one in parts.items()}


@given(st.lists(SIZES, min_size=8, max_size=20), SIZES, st.floats(0.5, 5.0), st.floats(0.0, 0.02))
def test_a_linear_price_is_found_and_never_exceeded(
    seen: list[dict[str, int]], asked: dict[str, int], constant: float, price: float
) -> None:
    """Where cost is what the fit assumes, what it says at least is not above the truth within the sizes seen."""

    def truth(one: dict[str, int]) -> float:
        return constant + price * one["a"] + 2.0 * price * one["b"]

    corners = [{"a": a, "b": b} for a in (10, 1000) for b in (10, 1000)]
    measured = [(one, truth(one)) for one in (*seen, *corners)]
    least = least_us(measured, asked)
    assert least <= truth(asked) * (1 + 1e-6) + 1e-6
    assert least >= truth(asked) * (1 - 1e-3) - 1e-3


def test_noise_lowers_what_is_refused() -> None:
    """The largest error of the fit is granted, so that a noisy measurement refuses nothing that may be within."""
    measured = [({"a": float(n)}, 10.0 + n + (8.0 if n == 5 else 0.0)) for n in range(1, 10)]
    assert least_us(measured, {"a": 20.0}) < 30.0
    clean = [({"a": float(n)}, 10.0 + n) for n in range(1, 10)]
    assert abs(least_us(clean, {"a": 20.0}) - 30.0) < 1e-6


def test_too_little_measured_refuses_nothing() -> None:
    """A part that nobody measured has no price."""
    assert least_us([({"a": 1.0}, 5.0)] * 4, {"a": 1e9}) == 0.0
