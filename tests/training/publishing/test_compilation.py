"""LightGBM is the oracle of what is compiled, and what can not be exact is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import BundleCorrupt, BundleError, BundleIncompatible
from app.inference import bundle
from app.inference.compiled import CompiledModel
from app.inference.predictor import Predictor
from tests.inference.tiny_bundle import build_bundle, edit_manifest, elsewhere
from training.publishing.certificate import certify, edge_rows, lightgbm_raw
from training.publishing.compilation import compile_library, recompile
from training.publishing.merging import merge

N_FEATURES = 6
KEY = b"a signing key"
LABELS = np.random.default_rng(11).exponential(size=900)
_OPTIONS = {"objective": "regression", "num_leaves": 9, "num_threads": 1, "verbose": -1}


def _rows(missing: float = 0.2) -> NDArray[np.float64]:
    rng = np.random.default_rng(10)
    X = rng.normal(size=(len(LABELS), N_FEATURES))
    X[rng.random(X.shape) < missing] = np.nan
    return X.astype(np.float32).astype(np.float64)


def _train(objective: str = "regression", n_trees: int = 8, X: Any = None, **parameters: Any) -> lgb.Booster:
    X = _rows() if X is None else X
    y = LABELS + np.nan_to_num(X[:, 0]) ** 2
    labels = {"multiclass": np.digitize(y, [0.5, 1.5]), "binary": y > 1, "cross_entropy": y / y.max()}
    options = {"objective": objective, "num_leaves": 9, "num_threads": 1, "verbose": -1, **parameters}
    return lgb.train(
        options,
        lgb.Dataset(X, labels.get(objective, y), categorical_feature=parameters.get("categorical", "auto")),
        n_trees,
    )


def _assert_exact(boosters: list[lgb.Booster], tmp_path: Path, X: NDArray[np.float64], **options: Any) -> None:
    path = tmp_path / "trees.so"
    compile_library(boosters, path, **options)
    expected = lightgbm_raw(boosters, X)
    model = CompiledModel(path, N_FEATURES, expected.shape[1])
    assert np.array_equal(model.predict_raw(X), expected)
    model.close()


@pytest.mark.parametrize("objective", ["binary", "tweedie", "gamma", "poisson", "quantile", "huber", "cross_entropy"])
def test_every_objective_compiles_to_its_raw_scores(objective: str, tmp_path: Path) -> None:
    """Whatever the link, the library gives LightGBM's raw scores to the last bit."""
    _assert_exact([_train(objective)], tmp_path, _rows())


def test_kinds_of_boosters_merge_into_one_library(tmp_path: Path) -> None:
    """Dart, monotone, custom-objective and multiclass boosters share a library; classes are consecutive targets."""

    def half_squared(prediction: Any, data: lgb.Dataset) -> tuple[Any, Any]:
        return prediction - data.get_label(), np.ones_like(prediction)

    boosters = [
        _train(boosting="dart"),
        _train("multiclass", num_class=3),
        _train(monotone_constraints=[1, 0, 0, 0, 0, 0]),
        _train(half_squared),  # type: ignore[arg-type]
    ]
    assert merge(boosters).model.num_tree == 8 * 6
    _assert_exact(boosters, tmp_path, _rows())


@pytest.mark.parametrize("units", [1, 2, 5, 16])
def test_the_number_of_functions_changes_nothing(units: int, tmp_path: Path) -> None:
    """However the trees are cut into functions, sums keep LightGBM's order."""
    _assert_exact([_train(), _train("tweedie")], tmp_path, _rows(), units=units)


@pytest.mark.parametrize("units", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("more", [(3, 5), (0, 2), (0, 0)])
def test_boosters_that_begin_alike_share_their_trees(units: int, more: tuple[int, int], tmp_path: Path) -> None:
    """Their sums go on from the same bits, whatever stands between, wherever the functions are cut."""
    base, other = _train(n_trees=20), _train("tweedie", n_trees=9)
    extended = [lgb.train(_OPTIONS, lgb.Dataset(_rows(), LABELS**2), n, init_model=base) if n else base for n in more]
    boosters = [extended[0], other, base, extended[1]]
    merged = merge(boosters)
    assert merged.model.num_tree == 20 + 9 + sum(more)
    assert merged.targets == (0, 2, 3)
    _assert_exact(boosters, tmp_path, np.repeat(_rows(), 2, axis=0), units=units)


def test_what_stands_beside_a_row_changes_nothing(tmp_path: Path) -> None:
    """Rows that repeat the one before, wholly or but for a column, missing values and zeros of both signs."""
    X = np.repeat(_rows(0.4), 4, axis=0)
    X[1::4, 2], X[2::4, 5], X[3::4, 0] = np.nan, 0.0, -0.0
    _assert_exact([_train(), _train("tweedie")], tmp_path, X)


def test_a_split_on_missing_alone(tmp_path: Path) -> None:
    """An infinite threshold (all numbers left, missing right) survives compilation."""
    X = _rows(0.5)
    y = np.isnan(X[:, 2]) * 5.0 + LABELS
    booster = lgb.train({"num_leaves": 4, "num_threads": 1, "verbose": -1}, lgb.Dataset(X, y), 3)
    assert "threshold=inf" in booster.model_to_string()
    _assert_exact([booster], tmp_path, X)


def test_training_without_missing_values(tmp_path: Path) -> None:
    """Where training saw no missing value LightGBM reads one as zero; so does the library."""
    _assert_exact([_train(X=_rows(0.0))], tmp_path, _rows(0.5))


def test_trees_without_a_split(tmp_path: Path) -> None:
    """Boosters that learnt a constant have no thresholds at all, and compile."""
    _assert_exact([_train(min_data_in_leaf=10_000, n_trees=2)], tmp_path, _rows())


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"linear_tree": True}, "linear_tree"),
        ({"zero_as_missing": True}, "zero_as_missing"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "averaged output"),
        ({"categorical": [5], "min_data_per_group": 1, "cat_smooth": 1}, "categorical splits"),
    ],
)
def test_refuses_what_would_not_be_exact(parameters: dict[str, Any], what: str, tmp_path: Path) -> None:
    """Each is refused at export, in one line that names the model."""
    X = _rows(0.0)
    X[:, 5] = np.random.default_rng(3).integers(0, 6, len(X))
    X[:, 0] = X[:, 5] % 2
    with pytest.raises(BundleError, match=f"model 1: {what}.* cannot be compiled exactly"):
        compile_library([_train(), _train(X=X, **parameters)], tmp_path / "trees.so")
    assert list(tmp_path.iterdir()) == []


def test_refuses_boosters_over_different_columns(tmp_path: Path) -> None:
    """A library has one X."""
    with pytest.raises(BundleError, match=r"must share X: .*\[4, 6\]"):
        compile_library([_train(), _train(X=_rows()[:, :4])], tmp_path / "trees.so")


@pytest.mark.parametrize(
    ("compiler", "message"), [("no-such-compiler", "no-such-compiler: No such file"), ("false", "false: exit code 1")]
)
def test_a_compiler_that_fails_is_one_line(
    compiler: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing or failing compiler is a clear error, and no half-made library stays."""
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(BundleError, match=f"C compiler {message}"):
        compile_library([_train()], tmp_path / "trees.so")
    assert list(tmp_path.iterdir()) == []


def test_no_compiler_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what to install."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match=r"no C compiler: .*apt-get install gcc"):
        compile_library([_train()], tmp_path / "trees.so")


def test_compiles_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The generator's remarks do not reach the terminal."""
    compile_library([_train()], tmp_path / "trees.so")
    assert capfd.readouterr() == ("", "")


def test_the_certificate_counts_what_it_compared(tmp_path: Path) -> None:
    """Rows of each kind, no mismatch, and the same hash of inputs for the same seed."""
    path, boosters, X = tmp_path / "trees.so", [_train(), _train("binary")], _rows()
    compile_library(boosters, path)
    model = CompiledModel(path, N_FEATURES, 2)
    proof = certify(model, boosters, X, seed=5)
    assert json.loads(json.dumps(proof)) == proof
    assert proof["rows"]["training"] == 900
    assert proof["rows"]["edge"] == len(edge_rows(np.random.default_rng(5), boosters, X))
    assert (proof["mismatches"], proof["max_abs_diff"]) == (0, 0.0)
    assert certify(model, boosters, X, seed=5) == proof
    assert certify(model, boosters, X, seed=6)["inputs_sha256"] != proof["inputs_sha256"]


def test_the_certificate_refuses_other_trees(tmp_path: Path) -> None:
    """A library of one other tree is found out, with the row, the target and both scores."""
    boosters = [_train(), _train("tweedie")]
    compile_library([boosters[0], _train("tweedie", n_trees=7)], tmp_path / "trees.so")
    model = CompiledModel(tmp_path / "trees.so", N_FEATURES, 2)
    with pytest.raises(BundleCorrupt, match=r"mismatches on training rows, the first at row 0, target 1: LightGBM"):
        certify(model, boosters, _rows(), seed=5)


def test_edge_rows_stand_on_and_beside_thresholds() -> None:
    """Each sampled threshold appears exactly, and one float32 step to either side of its place on the grid."""
    booster = _train(n_trees=2)
    rows = edge_rows(np.random.default_rng(0), [booster], _rows())
    line = next(x for x in booster.model_to_string().splitlines() if x.startswith("threshold="))
    for threshold in (float(x) for x in line.removeprefix("threshold=").split()):
        grid = np.float32(threshold)
        steps = (np.nextafter(grid, np.float32(-np.inf)), grid, np.nextafter(grid, np.float32(np.inf)))
        for value in (threshold, *map(float, steps)):
            assert (rows == value).any()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small bundle, signed with `KEY`; tests change copies of it."""
    root = tmp_path_factory.mktemp("models")
    bundle.write(root / ".staging", root / "shop-1", build_bundle(root / ".staging"), key=KEY)
    return root / "shop-1"


def test_recompile_makes_a_foreign_bundle_loadable(signed: Path, tmp_path: Path) -> None:
    """A bundle of another machine is compiled from its own models, proven, and answers as it did."""
    path = Path(shutil.copytree(signed, tmp_path / "shop-1"))
    (path / "base.so").write_bytes(b"of another machine")
    edit_manifest(path, key=KEY, platform=elsewhere(machine="vax"))
    with pytest.raises(BundleIncompatible, match="pltv recompile"):
        Predictor.load(path, key=KEY)
    manifest = recompile(path, key=KEY)
    predictor = Predictor.load(path, key=KEY)
    assert predictor.manifest == manifest
    predictor.close()
    assert (path / "golden.jsonl").read_bytes() == (signed / "golden.jsonl").read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["shop-1"]


def test_recompile_refuses_models_that_answer_otherwise(signed: Path, tmp_path: Path) -> None:
    """Models that are not those of the golden rows leave the bundle as it was."""
    path = Path(shutil.copytree(signed, tmp_path / "shop-1"))
    (path / "models" / "base.d1.txt").write_bytes((path / "models" / "base.d14.txt").read_bytes())
    edit_manifest(path)
    before = (path / "manifest.json").read_bytes()
    with pytest.raises(BundleCorrupt, match=r"golden\.jsonl: row \d+, campaign 0"):
        recompile(path)
    assert (path / "manifest.json").read_bytes() == before
    assert bundle.check(path).name == "shop-1"
