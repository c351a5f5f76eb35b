"""The declaration's checks, and its shape."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.errors import DeclarationError
from app.features.columns import hour_key
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.spec import AGGREGATES, Declaration, HistoryState
from tests.features.conftest import SMALL

SMADEX = Path(__file__).parents[2] / "config" / "smadex.yaml"


def _changed(*path: str, to: Any) -> dict[str, Any]:
    raw = copy.deepcopy(SMALL)
    place = raw
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return raw


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (_changed("user", "spend", "kind", to="map"), r"user\.spend\.kind: expected one of .*received 'map'"),
        (_changed("request", "price", "kind", to="histogram"), r"request\.price\.kind: .*user fields only"),
        (_changed("request", "price", to={"kind": "number"}), r"request\.price\.wire: expected"),
        *(
            (_changed("request", "price", "wire", to=wire), rf"request\.price\.wire: expected .* received '{wire}'$")
            for wire in ("at", "id.x", "imp.bidfloor", ".os", "device.", "a..b", "ext.campaigns", "user.ext.history.x")
        ),
        (_changed("request", "price", "wire", to="device.osv.x"), r"request\.price\.wire: device\.osv is a value"),
        (
            _changed("request", "price", "format", to="lower"),
            r"request\.price\.format: expected a kind of text .* number$",
        ),
        (
            _changed("user", "spend", "format", to="lower"),
            r"user\.spend\.format: expected a kind of text .* histogram$",
        ),
        (_changed("user", "spend", "yields", to=["median"]), r"user\.spend\.yields: .*received 'median'"),
        (_changed("user", "refunds", to={"kind": "number"}), r"fields\.refunds: a target"),
        (_changed("user", "revenue_d7", to={"kind": "number"}), r"fields\.revenue_d7: a target"),
        (_changed("user", "price", to={"kind": "number"}), r"price is declared twice"),
        (_changed("targets", "horizons", to=[7, 1]), r"targets\.horizons: expected rising days"),
        (_changed("targets", "revenue", to="revenue"), r"targets\.revenue: expected a pattern"),
        (_changed("targets", "log_mean", to=14), r"targets\.log_mean: expected one of"),
        (_changed("lookups", "age", to=["spend"]), r"lookups\.age: expected a text field"),
        (_changed("lookups", "shop", to=["age"]), r"lookups\.shop: expected a ragged user field, received 'age'"),
        (_changed("encodings", "price", to=["rate"]), r"encodings\.price: expected a category"),
        (_changed("encodings", "shop", to=["mean"]), r"encodings\.shop: .*received 'mean'"),
        (_changed("groups", to={"colour": True}), r"groups: .*received 'colour'"),
        (_changed("ratios", "half", to=["price"]), r"ratios\.half: expected two feature names"),
        (_changed("encoder", "min_rows", to=3), r"encoder: .*received 'min_rows'"),
        (_changed("user", to=None), r"user: expected a mapping, received NoneType"),
    ],
)
def test_a_wrong_declaration_is_one_clear_line(raw: dict[str, Any], message: str) -> None:
    """The message names the entry, what was expected and what came."""
    with pytest.raises(DeclarationError, match=message) as caught:
        Declaration.from_dict(raw)
    assert "\n" not in str(caught.value)


def test_the_json_form_is_read_back_with_the_same_fingerprint() -> None:
    """`declaration.json` is the declaration."""
    declaration = Declaration.from_dict(SMALL)
    assert Declaration.from_json(declaration.to_json()).fingerprint == declaration.fingerprint


def test_training_options_do_not_change_the_fingerprint() -> None:
    """How a model is trained is no part of the contract between training and service."""
    assert Declaration.from_dict({**SMALL, "training": {"seed": 1}}).fingerprint == (
        Declaration.from_dict(SMALL).fingerprint
    )


def test_the_cache_fingerprint_depends_on_user_fields_alone() -> None:
    """A new ratio leaves cached histories readable; a new user field does not."""
    base = Layout(Declaration.from_dict(SMALL)).fingerprint
    assert Layout(Declaration.from_dict(_changed("ratios", "x", to=["price", "age"]))).fingerprint == base
    assert Layout(Declaration.from_dict(_changed("user", "x", to={"kind": "number"}))).fingerprint != base


def test_the_shipped_declaration_yields_150_to_250_features_without_a_target() -> None:
    """Every outcome column is excluded, every aggregate is one its kind knows."""
    with SMADEX.open(encoding="utf-8") as file:
        declaration = Declaration.from_dict(yaml.safe_load(file))
    assert declaration.targets.horizons == (1, 7, 14)
    assert not {f.name for f in declaration.fields} & set(declaration.targets.excluded)
    for field in declaration.fields:
        assert set(field.yields) <= set(AGGREGATES.get(field.kind, ()))
    plan = FeaturePlan.unfitted(declaration)
    assert 150 <= len(plan.names) <= 250


def test_states_have_their_names_on_the_wire() -> None:
    """The four words of the contract."""
    assert [s.label for s in HistoryState] == ["present", "new", "unavailable", "withheld"]


def test_the_clock_is_utc_and_monday_is_one() -> None:
    """2025-10-01 13:00 UTC was a Wednesday."""
    assert hour_key(1_759_323_600) == {"hour": "13", "weekday": "3"}
