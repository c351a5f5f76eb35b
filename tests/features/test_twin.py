"""The compiled twin of the feature plan against numpy: equal in every bit."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BundleCorrupt
from app.features.columns import Columns
from app.features.matrix import FeaturePlan
from app.features.parsing import RawRequest, assemble, request_from_json
from app.features.ragged import natural_log
from app.features.spec import Declaration, HistoryState
from app.features.twin import LIBRARY, Twin
from tests.features.conftest import SMALL
from tests.features.test_matrix import DECLARATION, LAYOUT, NOW, REQUESTS, TRAINING
from training.publishing.codegen import compile_features


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled source."""
    path = tmp_path_factory.mktemp("twin") / LIBRARY
    compile_features(path)
    return path


@pytest.fixture(scope="module")
def plans(library: Path) -> tuple[FeaturePlan, FeaturePlan]:
    """The same plan by numpy alone, and with its twin."""
    plain, compiled = (FeaturePlan.fit(DECLARATION, *TRAINING) for _ in range(2))
    compiled.twin = Twin(library, compiled)
    return plain, compiled


@settings(max_examples=150)
@given(objects=st.lists(REQUESTS, min_size=1, max_size=6))
def test_requests_give_the_same_bits(plans: tuple[FeaturePlan, FeaturePlan], objects: list[dict[str, Any]]) -> None:
    """Any requests, alone and joined."""
    columns = assemble(LAYOUT, [request_from_json(LAYOUT, o) for o in objects])
    assert plans[0].transform(columns).tobytes() == plans[1].transform(columns).tobytes()


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=50))
def test_the_logarithm_is_within_an_ulp_of_libm(numbers: list[float]) -> None:
    """Arithmetic alone, and still a logarithm."""
    for found, x in zip(natural_log(np.array(numbers)).tolist(), numbers, strict=True):
        assert abs(found - math.log(x)) <= math.ulp(math.log(x)) + 1e-300


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 127, 128, 129, 130, 137, 300, 1000])
def test_long_segments_are_summed_in_numpys_order(plans: tuple[FeaturePlan, FeaturePlan], n: int) -> None:
    """Every branch of the pairwise summation: sums, deviations and entropies of n entries."""
    rng = np.random.default_rng(n)
    for values in (rng.exponential(1e3, n), rng.normal(0.0, 1e6, n), rng.uniform(0.0, 1e-3, n)):
        history = {"spend": {f"k{i}": float(v) for i, v in enumerate(values)}}
        obj = {"now": NOW, "request": {}, "campaigns": [{"shop": "k0"}], "history": history, "state": "present"}
        columns = assemble(LAYOUT, [request_from_json(LAYOUT, obj)])
        assert plans[0].transform(columns).tobytes() == plans[1].transform(columns).tobytes()


def _segment_major(columns: Columns) -> Columns:
    """The same batch with its values segment by segment."""
    n = LAYOUT.n_numeric
    filled = np.maximum(columns.counts[:, :n], 0)
    owner = np.repeat(np.arange(filled.size), filled.ravel())
    user, segment = np.divmod(owner, n)
    order = np.lexsort((user, segment))
    return dataclasses.replace(columns, values=columns.values[order], segment_major=True)


@given(objects=st.lists(REQUESTS.filter(lambda r: len(r["campaigns"]) == 1), min_size=1, max_size=6))
def test_both_orders_of_the_values_give_the_same_bits(
    plans: tuple[FeaturePlan, FeaturePlan], objects: list[dict[str, Any]]
) -> None:
    """User by user, as requests leave them, and segment by segment, as Arrow does."""
    columns = assemble(LAYOUT, [request_from_json(LAYOUT, o) for o in objects])
    turned = _segment_major(columns)
    expected = plans[0].transform(columns).tobytes()
    assert plans[0].transform(turned).tobytes() == expected
    assert plans[1].transform(turned).tobytes() == expected


@pytest.mark.parametrize("group", ["encodings", "aggregates", "lookups", "ratios", "products", "ranks", "context"])
def test_a_group_switched_off_is_off_in_both(library: Path, group: str) -> None:
    """The tables follow the declaration."""
    plan = FeaturePlan.fit(Declaration.from_dict({**SMALL, "groups": {group: False}}), *TRAINING)
    expected = plan.transform(TRAINING[0])
    plan.twin = Twin(library, plan)
    assert plan.transform(TRAINING[0]).tobytes() == expected.tobytes()


def test_rows_out_of_their_users_order_are_left_to_numpy(plans: tuple[FeaturePlan, FeaturePlan]) -> None:
    """The twin reads users once, in order; any other order still gets an answer."""
    request = RawRequest(NOW, {}, [{"shop": "a"}], None, HistoryState.NEW)
    columns = assemble(LAYOUT, [request, request, request])
    turned = dataclasses.replace(columns, owner=columns.owner[::-1].copy())
    assert plans[1].twin is not None
    assert plans[1].twin.accepts(columns)
    assert not plans[1].twin.accepts(turned)
    assert plans[1].transform(turned).tobytes() == plans[0].transform(turned).tobytes()


def test_a_saved_plan_finds_its_twin(library: Path, tmp_path: Path, plans: tuple[FeaturePlan, FeaturePlan]) -> None:
    """`features.so` beside the encoders is loaded with them; a foreign file is refused."""
    plans[0].save(tmp_path)
    (tmp_path / LIBRARY).write_bytes(library.read_bytes())
    loaded = FeaturePlan.load(DECLARATION, tmp_path)
    assert loaded.twin is not None
    assert loaded.transform(TRAINING[0]).tobytes() == plans[0].transform(TRAINING[0]).tobytes()
    (tmp_path / LIBRARY).unlink()  # another file: the old one is still mapped
    (tmp_path / LIBRARY).write_bytes(b"no library")
    with pytest.raises(BundleCorrupt, match=r"features\.so: not a library"):
        FeaturePlan.load(DECLARATION, tmp_path)
