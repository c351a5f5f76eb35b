"""The format of `ensemble.json`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from app.errors import BundleCorrupt
from app.inference.specification import Curve, EnsembleSpec, LinearSpec, Recalibration

NET = {"name": "net", "intercept": 0.5, "columns": [1], "fill": [0.0], "lo": [0.0], "hi": [1.0], "weight": [2.0]}


def test_a_round_trip_keeps_every_bit(spec: EnsembleSpec) -> None:
    """Written and read again, the specification is the same to the last bit."""
    undo = Recalibration(Curve.identity(), (Curve.constant(1 / 3),) * 3)
    net = LinearSpec.from_json(NET)
    spec = dataclasses.replace(spec, strategy="free", linear=(net,), recalibration=undo)
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
        (("strategy",), "gated", r"strategy: expected one of \['two_stage', 'free'\], received 'gated'"),
        (("form",), "sum", "form: expected one of .*, received 'sum'"),
        (("form",), "experts", r"base.outputs: expected a ratio a horizon but one, received \['d1', 'd14', 'd7'\]"),
        (("base",), [], "base: expected at least one library"),
        (("base", 0, "inputs"), ["d1"], r"base\[0\].inputs: expected outputs of libraries before, received \['d1'\]"),
        (("base", 0, "outputs", 3, "name"), "d7", "base.outputs: expected names that differ"),
        (("meta", "inputs"), ["d1"], "meta.inputs: expected none"),
        (("linear",), [NET | {"columns": [8]}], "linear.net.columns: expected columns of X"),
        (("linear",), [NET | {"weight": []}], "linear.net: expected a finite number a column"),
        (("linear",), [NET | {"lo": [2.0]}], "linear.net: expected lo ≤ hi"),
        (("linear",), [NET | {"name": "d7"}], "base.outputs: expected names that differ"),
        (("recalibration", "ltv"), [{"x": [0.0], "factor": [1.0]}], "recalibration.ltv: expected one curve a horizon"),
        (("recalibration", "p_buyer"), {"x": [1.0, 1.0], "y": [0.0, 1.0]}, "recalibration: expected increasing x"),
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
