"""The compiled twin of the feature plan against numpy: equal in every bit."""

from __future__ import annotations

import dataclasses
import itertools
import math
import subprocess
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BundleCorrupt, BundleIncompatible
from app.features.columns import Columns
from app.features.history import History, parse_history, read_history
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.parsing import RawRequest, assemble, request_from_json
from app.features.ragged import natural_log
from app.features.spec import Declaration, HistoryState
from app.features.twin import INTERFACE, LIBRARY, Twin
from tests.features.conftest import SMALL
from tests.features.test_matrix import DECLARATION, LAYOUT, NOW, REQUESTS, TRAINING
from training.publishing.codegen import compile_features, compiler


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


@settings(max_examples=150)
@given(objects=st.lists(REQUESTS, min_size=1, max_size=6))
def test_requests_need_no_columns(plans: tuple[FeaturePlan, FeaturePlan], objects: list[dict[str, Any]]) -> None:
    """Read straight from Python's objects: the same X, states and unseen texts, inline and from the cache."""
    requests = [request_from_json(LAYOUT, o) for o in objects]
    expected = plans[0].transform_requests(requests)
    for r in (requests, [_cached(plans[1].layout, r) for r in requests]):
        X, state, unseen = plans[1].transform_requests(r)
        assert X.tobytes() == expected[0].tobytes()
        assert (state.tolist(), unseen) == (expected[1].tolist(), expected[2])


def _cached(layout: Layout, r: RawRequest) -> RawRequest:
    if r.history is None:
        return r
    return RawRequest(r.now, r.request, r.campaigns, read_history(layout, r.history.packed), r.state)


def test_a_history_of_another_shape_is_an_error_and_not_read(plans: tuple[FeaturePlan, FeaturePlan]) -> None:
    """A buffer that nobody packed, or for another declaration, is refused before a byte of it is believed."""
    for packed in (b"", b"PLH2" + bytes(36), b"\xff" * 4000):
        request = RawRequest(NOW, {}, [{"shop": "a"}], History(packed, None, empty=False), HistoryState.PRESENT)
        for plan in plans:
            with pytest.raises(ValueError, match="packed history"):
                plan.transform_requests([request])


def test_what_is_no_dictionary_is_left_to_python(plans: tuple[FeaturePlan, FeaturePlan]) -> None:
    """Any mapping is a request; only dictionaries are read without Python."""
    request = RawRequest(NOW, MappingProxyType({"country": "us"}), [{"shop": "a"}], None, HistoryState.NEW)
    assert plans[1].twin is not None
    assert plans[1].twin.requests.transform([request]) is None
    assert plans[1].transform_requests([request])[0].tobytes() == plans[0].transform_requests([request])[0].tobytes()


def test_a_wrong_type_is_an_error_and_not_a_number(plans: tuple[FeaturePlan, FeaturePlan]) -> None:
    """What no validator lets through raises, as in Python, also where a text that was never seen follows it."""
    campaign = {"shop": "never seen", "bid": object()}
    for plan, price in itertools.product(plans, ["12", 12.0]):
        request = RawRequest(NOW, {"price": price, "country": "never seen"}, [campaign], None, HistoryState.NEW)
        with pytest.raises((TypeError, ValueError)):
            plan.transform_requests([request])


class _Longer(list[dict[str, Any]]):
    """A list that says it holds one more than it does."""

    def __len__(self) -> int:
        return super().__len__() + 1


def test_a_row_that_is_lacking_is_not_read(plans: tuple[FeaturePlan, FeaturePlan]) -> None:
    """Fewer campaigns than were counted: no answer, instead of one made of memory that nobody wrote."""
    request = RawRequest(NOW, {}, _Longer([{"shop": "a"}]), None, HistoryState.NEW)
    assert plans[1].twin is not None
    assert plans[1].twin.requests.transform([request]) is None


@pytest.mark.parametrize("hours", [0, -1, -2, -23, -24, -25, -72, -73, -168, -169, -100_001])
@pytest.mark.parametrize("seconds", [0, 1, -1])
def test_the_clock_runs_before_1970(plans: tuple[FeaturePlan, FeaturePlan], hours: int, seconds: int) -> None:
    """Hours and weekdays of a negative time are rounded down, and no table is read in front of its start."""
    history = {"hours": {f"{h:02d}": float(h) for h in range(24)}, "seen": 1_000.0}
    now = 3600 * hours + seconds
    obj = {"now": now, "request": {}, "campaigns": [{"shop": "a"}], "history": history, "state": "present"}
    requests = [request_from_json(LAYOUT, obj)]
    columns = assemble(LAYOUT, requests)
    expected = plans[0].transform(columns).tobytes()
    assert plans[1].transform(columns).tobytes() == expected
    assert plans[1].transform_requests(requests)[0].tobytes() == expected


def test_a_count_without_entries_costs_no_memory(library: Path) -> None:
    """Of strings that nobody looks up a buffer holds the count alone: no claim, however huge, is allocated for."""
    lookups = {**SMALL["lookups"], "shop": ["spend", "bought", "clicks", "clicked"]}
    declaration = Declaration.from_dict({**SMALL, "lookups": lookups})
    layout = Layout(declaration)
    assert [name for name in layout.string_names if name not in layout.keyed_names] == ["apps"]
    texts = "x" * 300  # so that counts take four bytes
    packed = bytearray(parse_history(layout, {"apps": ["p"], "last_word": texts}).packed)
    at = len(packed) - len(texts) - 2 * 4  # before the length of `last_word`; the counts of strings are the last
    assert packed[at : at + 4] == (1 + 1).to_bytes(4, "little")
    packed[at : at + 4] = b"\xff" * 4
    requests = [
        RawRequest(NOW, {"price": float(i)}, [{"shop": "a"}], history, HistoryState.PRESENT)
        for i, history in enumerate([read_history(layout, bytes(packed)), None, None])
    ]
    columns = assemble(layout, requests)
    plan = FeaturePlan.fit(declaration, columns, np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 2.0]))
    expected = plan.transform(columns).tobytes()
    plan.twin = Twin(library, plan)
    assert plan.transform(columns).tobytes() == expected
    assert plan.transform_requests(requests)[0].tobytes() == expected


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


def test_a_library_of_another_interface_is_not_touched(tmp_path: Path, plans: tuple[FeaturePlan, FeaturePlan]) -> None:
    """Its structures are bare memory: refused in one line that names the remedy."""
    source = tmp_path / "other.c"
    for code, received in (("int pltv_interface(void) { return 999; }", "999"), ("int nothing;", "none")):
        source.write_text(code)
        library = tmp_path / f"{received}.so"
        subprocess.run([*compiler(), "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        with pytest.raises(
            BundleIncompatible, match=rf"expected interface {INTERFACE}, received {received}; .*pltv recompile"
        ):
            Twin(library, plans[1])
