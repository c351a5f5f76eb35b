"""A plan of fewer features: the same bits as the whole plan's columns, by numpy and by its twin, for less work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BundleCorrupt, DeclarationError
from app.features.matrix import FeaturePlan
from app.features.parsing import assemble, request_from_json
from app.features.twin import LIBRARY, Twin
from tests.features.test_matrix import DECLARATION, LAYOUT, REQUESTS, TRAINING
from training.publishing.codegen import compile_features

PLAN = FeaturePlan.fit(DECLARATION, *TRAINING)
SUBSETS = st.lists(st.sampled_from(PLAN.names), min_size=1, unique=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled source."""
    path = tmp_path_factory.mktemp("subset") / LIBRARY
    compile_features(path)
    return path


def columns_of(names: list[str]) -> list[int]:
    return [j for j, name in enumerate(PLAN.names) if name in names]


@settings(max_examples=120)
@given(names=SUBSETS, objects=st.lists(REQUESTS, min_size=1, max_size=4))
def test_fewer_features_are_columns_of_all(library: Path, names: list[str], objects: list[dict[str, Any]]) -> None:
    """Any subset: X of a data set's columns, of requests, and of both by the twin are the whole X's columns."""
    plan = PLAN.restricted(names)
    requests = [request_from_json(LAYOUT, o) for o in objects]
    whole = PLAN.transform(assemble(LAYOUT, requests))
    expected = np.ascontiguousarray(whole[:, columns_of(names)])
    assert plan.names == tuple(PLAN.names[j] for j in columns_of(names))
    assert plan.groups == tuple(PLAN.groups[j] for j in columns_of(names))
    states = [int(r.state) for r in requests for _ in r.campaigns]
    for _ in ("numpy", "twin"):
        assert plan.transform(assemble(LAYOUT, requests)).tobytes() == expected.tobytes()
        X, state, _unseen = plan.transform_requests(requests)
        assert (X.tobytes(), state.tolist()) == (expected.tobytes(), states)
        plan.twin = Twin(library, plan)


@settings(max_examples=40)
@given(names=SUBSETS)
def test_out_of_fold_features_are_columns_of_all(names: list[str]) -> None:
    """What training sees of the subset is what it would see of all."""
    fold = np.arange(len(TRAINING[1])) % 3
    whole = PLAN.transform_out_of_fold(*TRAINING, fold)
    part = PLAN.restricted(names).transform_out_of_fold(*TRAINING, fold)
    assert part.tobytes() == np.ascontiguousarray(whole[:, columns_of(names)]).tobytes()


@settings(max_examples=40)
@given(names=SUBSETS)
def test_a_saved_subset_is_itself_again(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """Written and read: the same names, fingerprint and bits; another fingerprint than the whole plan's."""
    directory = tmp_path_factory.mktemp("saved")
    plan = PLAN.restricted(names)
    plan.save(directory)
    read = FeaturePlan.load(DECLARATION, directory)
    assert (read.names, read.fingerprint) == (plan.names, plan.fingerprint)
    assert read.transform(TRAINING[0]).tobytes() == plan.transform(TRAINING[0]).tobytes()
    if len(names) < len(PLAN.names):
        assert plan.fingerprint != PLAN.fingerprint


def test_a_subset_of_a_subset_is_a_subset() -> None:
    """Restricting twice is restricting once."""
    some = [n for j, n in enumerate(PLAN.names) if j % 2 == 0]
    few = [n for j, n in enumerate(some) if j % 3 == 0]
    assert PLAN.restricted(some).restricted(few).fingerprint == PLAN.restricted(few).fingerprint


def test_what_is_not_needed_is_not_computed() -> None:
    """Aggregates, lookups, encoders and ranks shrink to what a subset is made of; inputs of a ratio stay."""
    whole, first = PLAN, PLAN.restricted(["hour"])
    assert len(first.aggregates.names) == len(first.layout.user_lookups) == len(first.layout.row_lookups) == 0
    assert first.user_encoder.columns == first.row_encoder.columns == ()
    assert first.ranks is None
    for derived, pair in (DECLARATION.pairs("ratios") | DECLARATION.pairs("products")).items():
        plan = PLAN.restricted([derived])
        assert plan.names == (derived,)
        assert set(plan.aggregates.names) == set(pair).intersection(whole.aggregates.names)
    ranked = next(n for n in PLAN.names if n.endswith(".rank"))
    plan = PLAN.restricted([ranked])
    assert plan.names == (ranked,)
    assert plan.ranks is not None
    assert plan.ranks.quantiles.shape[1] == 1


def test_histories_keep_their_form() -> None:
    """A cached history is read the same whatever the subset: the layout's fingerprint and its keyed fields stay."""
    plan = PLAN.restricted([n for n in PLAN.names if "@" not in n])
    assert plan.layout.row_lookups == ()
    assert plan.layout.fingerprint == LAYOUT.fingerprint
    assert plan.layout.keyed == LAYOUT.keyed


def test_names_that_are_none_are_refused(tmp_path: Path) -> None:
    """One line that names the feature, from a caller and from files."""
    with pytest.raises(DeclarationError, match="expected names of declared features, received 'nonsense'"):
        PLAN.restricted(["hour", "nonsense"])
    plan = PLAN.restricted(["hour"])
    plan.save(tmp_path)
    path = tmp_path / "encoders.json"
    path.write_text(path.read_text().replace('"hour"', '"nonsense"'))
    with pytest.raises(BundleCorrupt, match="expected names of declared features, received 'nonsense'"):
        FeaturePlan.load(DECLARATION, tmp_path)
