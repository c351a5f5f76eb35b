"""Tests of training.evaluation.variants."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from app.errors import DeclarationError
from app.features.spec import Declaration
from training.config import TrainingConfig
from training.evaluation.variants import changed, load_ablations, read_yaml

ROOT = Path(__file__).parents[3]
ENTRY = {"name": "a", "what": "a method", "turns": "off", "set": {"groups": {"ranks": False}}}


def test_changes_are_laid_over() -> None:
    """Mappings are merged, anything else is replaced, null stands; neither side is touched."""
    raw = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}
    found = changed(raw, {"a": {"c": [3]}, "d": None, "f": {"g": 2}})
    assert found == {"a": {"b": 1, "c": [3]}, "d": None, "f": {"g": 2}}
    found["a"]["c"].append(4)
    assert raw == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}


def test_every_shipped_variant_is_a_sound_configuration() -> None:
    """What `config/ablations.yaml` makes of `config/smadex.yaml` is accepted, and differs from it."""
    raw = read_yaml(ROOT / "config" / "smadex.yaml")
    ablations = load_ablations(ROOT / "config" / "ablations.yaml")
    assert len(ablations.variants) > 10
    for variant in ablations.variants:
        new = changed(raw, variant.change)
        assert new != raw, variant.name
        TrainingConfig.from_dict(new["training"], Declaration.from_dict(new))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"variants": []}, "variants: expected a list, received list"),
        ({"variants": [ENTRY], "budget_us": -1}, "budget_us: expected microseconds above 0, received -1"),
        ({"variants": [ENTRY], "more": 1}, "more: no such key"),
        ({"variants": [ENTRY, ENTRY]}, "expected names that differ, received 'a' again"),
        ({"variants": [{**ENTRY, "name": "default"}]}, "expected names that differ, received 'default' again"),
        (
            {"variants": [{**ENTRY, "turns": "up"}]},
            r"variants\[0\].turns: expected one of on, off, other, received 'up'",
        ),
        ({"variants": [{**ENTRY, "name": "A b"}]}, r"variants\[0\].name: expected letters"),
        ({"variants": [{**ENTRY, "set": {}}]}, r"variants\[0\].set: expected a mapping of what changes, received {}"),
        ({"variants": [{"name": "a"}]}, r"variants\[0\]: expected name, what, turns and set, received name"),
        (["a"], "expected a mapping, received list"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, content: object, message: str) -> None:
    """Each mistake names the file, the entry, what was expected and what came."""
    path = tmp_path / "ablations.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(DeclarationError, match=message) as caught:
        load_ablations(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_bare_on_and_off_are_words(tmp_path: Path) -> None:
    """YAML reads a bare on or off as a truth value; here it is what its writer meant."""
    path = tmp_path / "ablations.yaml"
    path.write_text(
        "variants:\n- {name: a, what: b, turns: on, set: {x: 1}}\n- {name: c, what: d, turns: off, set: {x: 1}}\n"
    )
    assert [variant.turns for variant in load_ablations(path).variants] == ["on", "off"]
    with pytest.raises(DeclarationError, match="can not be read"):
        load_ablations(tmp_path / "none.yaml")
