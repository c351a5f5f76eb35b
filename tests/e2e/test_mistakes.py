"""A user's mistake on the command line: one clear line that says what and where, exit code 2, never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.e2e.pltv import refusal
from tests.support.market import Market, command_line

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def spoiled(trained: Market, tmp_path: Path) -> Path:
    """A copy of the later day, to spoil."""
    return Path(shutil.copytree(trained.later, tmp_path / "spoiled"))


def a_file(data: Path) -> Path:
    """The second hour's parquet file."""
    return sorted(data.glob("*/*.parquet"))[1]


def calls(market: Market, data: Path) -> list[list[object]]:
    """Each command that reads a data set."""
    out = market.root / "never"
    return [
        ["train", "--config", market.config, "--data", data, "--out", out / "models"],
        ["evaluate", "--bundle", market.bundle, "--data", data],
        ["predict", "--bundle", market.bundle, "--data", data, "--out", out / "out.csv"],
    ]


def test_it_is_the_same_in_a_process_of_its_own(trained: Market, tmp_path: Path) -> None:
    """Exit codes as the shell sees them: 2 for a mistake, 1 for a bad bundle."""
    absent = tmp_path / "absent"
    for code, arguments in (
        (2, ("predict", "--bundle", trained.bundle, "--data", absent, "--out", tmp_path / "o.csv")),
        (1, ("verify", "--bundle", absent)),
    ):
        done = command_line(*arguments)
        assert (done.returncode, done.stdout) == (code, "")
        (line,) = done.stderr.splitlines()
        assert str(absent) in line


def test_a_folder_that_is_not_there(trained: Market, capfd: Captured, tmp_path: Path) -> None:
    """The line names it, whichever command met it."""
    for arguments in calls(trained, tmp_path / "absent"):
        assert "absent: expected a folder of hourly partitions" in refusal(capfd, 2, *arguments)


def test_a_folder_without_partitions(trained: Market, capfd: Captured, tmp_path: Path) -> None:
    """It says what the folders are called."""
    for arguments in calls(trained, tmp_path):
        assert "datetime=YYYY-MM-DD-HH-MM" in refusal(capfd, 2, *arguments)


def test_an_empty_partition(trained: Market, capfd: Captured, spoiled: Path) -> None:
    """A folder of an hour without a file."""
    file = a_file(spoiled)
    file.unlink()
    for arguments in calls(trained, spoiled):
        line = refusal(capfd, 2, *arguments)
        assert f"{file.parent.name}: expected *.parquet files, received an empty partition" in line


def test_data_that_lack_a_column(trained: Market, capfd: Captured, spoiled: Path) -> None:
    """The line names the file and the column."""
    file = a_file(spoiled)
    pq.write_table(pq.ParquetFile(file).read().drop_columns(["num_buys_category"]), file)
    for arguments in calls(trained, spoiled):
        line = refusal(capfd, 2, *arguments)
        assert f"{file}: num_buys_category: expected " in line
        assert "received no such column" in line


def test_data_without_labels_can_be_predicted_but_not_learned(trained: Market, capfd: Captured, spoiled: Path) -> None:
    """The label is named."""
    for file in spoiled.glob("*/*.parquet"):
        pq.write_table(pq.ParquetFile(file).read().drop_columns(["iap_revenue_d7"]), file)
    train, evaluate, _ = calls(trained, spoiled)
    for arguments in (train, evaluate):
        assert "iap_revenue_d7: expected a target, numbers" in refusal(capfd, 2, *arguments)


def test_a_column_of_another_type(trained: Market, capfd: Captured, spoiled: Path) -> None:
    """What was expected and what came."""
    file = a_file(spoiled)
    table = pq.ParquetFile(file).read()
    place = table.column_names.index("release_msrp")
    pq.write_table(table.set_column(place, "release_msrp", table["release_msrp"].cast("string")), file)
    for arguments in calls(trained, spoiled):
        assert f"{file}: release_msrp: expected number, numbers, received string" in refusal(capfd, 2, *arguments)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_file(trained: Market, capfd: Captured, spoiled: Path, keep: float) -> None:
    """Empty, cut in the middle, cut in the footer."""
    file = a_file(spoiled)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    for arguments in calls(trained, spoiled):
        assert f"{file}: expected a sound parquet file" in refusal(capfd, 2, *arguments)


def test_a_damaged_page(trained: Market, capfd: Captured, spoiled: Path) -> None:
    """The footer is whole, the data are not: found while reading, and told the same way."""
    file = a_file(spoiled)
    content = bytearray(file.read_bytes())
    content[4:40_000] = bytes(39_996)
    file.write_bytes(content)
    for arguments in calls(trained, spoiled):
        assert str(file) in refusal(capfd, 2, *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", "--rows", "0", "--out", "o"], "--rows"),
        (["generate", "--rows", "many", "--out", "o"], "--rows"),
        (["generate", "--rows", "10", "--out", "o", "--hours", "0"], "--hours"),
        (["generate", "--rows", "10", "--out", "o", "--start", "yesterday"], "start: expected a day"),
        (["generate", "--rows", "10", "--out", "o", "--world", "-1"], "--world"),
        (["generate", "--rows", "10"], "--out"),
        (["predict", "--bundle", "b"], "--data"),
        (["predict", "--bundle", "b", "--data", "d", "--out", "o.csv", "--objective", "median"], "'median'"),
        (["predict", "--bundle", "b", "--data", "d", "--out", "o.csv", "--all", "--objective", "msle"], "--objective"),
        (["train", "--config", "absent.yaml", "--data", "d", "--out", "o"], "absent.yaml: can not be read"),
        (["evaluate", "--bundle", "b", "--data", "d", "--replicates", "1"], "--replicates"),
        (["verify"], "--bundle"),
        (["verify", "--bundle", "b", "--loudly"], "--loudly"),
        (["improve"], "improve"),
    ],
)
def test_wrong_options(capfd: Captured, arguments: list[str], said: str) -> None:
    """The option, or its value, is named."""
    assert said in refusal(capfd, 2, *arguments)


def test_an_output_that_can_not_be_written(trained: Market, capfd: Captured, tmp_path: Path) -> None:
    """Another file type; a file where a folder should be."""
    call = ["predict", "--bundle", trained.bundle, "--data", trained.later, "--out"]
    assert ".csv or .parquet" in refusal(capfd, 2, *call, tmp_path / "out.txt")
    (tmp_path / "file").write_text("")
    assert "can not be written" in refusal(capfd, 2, *call, tmp_path / "file" / "out.csv")
    call = ["generate", "--rows", 10, "--hours", 1, "--out"]
    refusal(capfd, 2, *call, tmp_path / "file")


def test_a_bundle_takes_the_place_of_nothing_but_a_bundle(trained: Market, capfd: Captured, tmp_path: Path) -> None:
    """What is replaced is removed, so a file or a folder of other things stays, and is named before rows are read."""
    call = ["train", "--config", trained.config, "--data", trained.data, "--out"]
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    for place, said in (
        (thesis, f"{thesis}: expected a new place or a bundle to replace, received a file"),
        (tmp_path, f"{tmp_path}: expected a new place or a bundle to replace, received a folder of something else"),
        (thesis / "bundle", f"{thesis}: can not be written"),
    ):
        assert said in refusal(capfd, 2, *call, place)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("thesis.txt", "years of work")]


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("training", "learning_rates", 1, "training.learning_rates: no such key"),
        ("training", "folds", 1, "training.folds: "),
        ("training", "classifier", None, "training.classifier: "),
        ("training", "split", {"calibration": 0.6, "validation": 0.6}, "training.split: "),
        ("request", "country", {"kind": "colour"}, "country"),
        ("encodings", "nowhere", ["rate"], "nowhere"),
        ("targets", "log_mean", 3, "log_mean"),
    ],
)
def test_a_wrong_configuration(
    trained: Market, capfd: Captured, tmp_path: Path, section: str, key: str, value: object, said: str
) -> None:
    """An unknown key, an impossible value, a name that nothing declares: the file and the key are named."""
    declared = yaml.safe_load(trained.config.read_text())
    declared[section][key] = value
    config = tmp_path / "wrong.yaml"
    config.write_text(yaml.safe_dump(declared))
    line = refusal(capfd, 2, "train", "--config", config, "--data", trained.data, "--out", tmp_path / "models" / "m")
    assert str(config) in line
    assert said in line


def test_an_unknown_section_is_a_mistake_too(trained: Market, capfd: Captured, tmp_path: Path) -> None:
    """At the top of the file as well: a mistyped section must not be passed over."""
    declared = yaml.safe_load(trained.config.read_text())
    config = tmp_path / "wrong.yaml"
    config.write_text(yaml.safe_dump({**declared, "lookup": {}}))
    line = refusal(capfd, 2, "train", "--config", config, "--data", trained.data, "--out", tmp_path / "models" / "m")
    assert "lookup" in line
