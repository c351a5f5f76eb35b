"""The format of `ensemble.json`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from app.errors import BundleCorrupt
from app.inference.specification import EnsembleSpec


def test_a_round_trip_keeps_every_bit(spec: EnsembleSpec) -> None:
    """Written and read again, the specification is the same to the last bit."""
    text = json.dumps(spec.to_json())
    again = EnsembleSpec.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert again.calibration.state.tobytes() == spec.calibration.state.tobytes()
    assert (again.base, again.meta, again.multiplier) == (spec.base, spec.meta, spec.multiplier)


def test_log_mean_comes_from_the_last_stage_that_has_it(spec: EnsembleSpec) -> None:
    """The meta-learner's log-mean goes before a base model's."""
    assert spec.log_mean_source == ("meta", 3)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("meta", "outputs", 3, "name"), "other", "expected an output named log_mean"),
        (("base", 0, "outputs", 0, "link"), "log", "base.outputs: expected .*gate"),
        (("base", 0, "outputs", 1, "name"), "d3", "base.outputs: expected"),
        (("meta", "outputs", 3, "link"), "log", "meta.outputs: expected identity links"),
        (("calibration", "ltv", 0, "x"), [0.0, 0.0, 1.0, 3.0], "calibration: expected increasing x"),
        (("calibration", "ltv", 0, "factor"), [1.0], "calibration: expected as many x as values"),
        (("calibration", "state"), [[1.0, 1.0, 1.0]], "calibration.state: expected four history states"),
        (("calibration", "p_buyer", "y", 1), float("nan"), "calibration: expected finite numbers"),
        (("projection", "weights"), [1.0, 0.0, 1.0], "projection.weights: expected positive numbers"),
        (("projection", "weights"), [1.0], "projection.weights: expected one weight a horizon"),
        (("multiplier", "reference"), 0.0, "multiplier: expected positive references"),
        (("multiplier", "horizon"), 3, r"multiplier.horizon: expected one of \[1, 7, 14\]"),
        (("horizons",), None, "TypeError"),
        (("projection",), {}, "KeyError: 'weights'"),
    ],
)
def test_refuses_parts_that_do_not_fit(
    spec: EnsembleSpec, path: tuple[str | int, ...], value: object, message: str
) -> None:
    """Each contradiction is one line that names the entry."""
    obj = json.loads(json.dumps(spec.to_json()))
    at: Any = obj
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with pytest.raises(BundleCorrupt, match=f"ensemble.json: .*{message}"):
        EnsembleSpec.from_json(obj)


def test_a_spec_in_memory_is_checked_alike(spec: EnsembleSpec) -> None:
    """Training can not write what the service would refuse."""
    with pytest.raises(BundleCorrupt, match="one weight a horizon"):
        dataclasses.replace(spec, weights=np.ones(2))
