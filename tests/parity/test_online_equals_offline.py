"""Online = offline: what HTTP answers for a later day is what `pltv predict` writes for it, in every bit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.market import LATER_ROWS, Market, command_line
from tests.support.service_process import ServiceProcess

COLUMNS = ["p_buyer", "iap_revenue_d1", "iap_revenue_d7", "iap_revenue_d14", "log_mean_d7"]
Rows = dict[str, list[float]]


@pytest.fixture(scope="module")
def offline(trained: Market, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """`pltv predict --all` of the later day: numbers by row, in the order of the rows."""
    return read_csv(predict(trained, tmp_path_factory.mktemp("offline") / "all.csv", "--all"))


def predict(market: Market, out: Path, *options: str) -> Path:
    """Run `pltv predict` on the later day."""
    done = command_line("predict", "--bundle", market.bundle, "--data", market.later, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    return out


def read_csv(path: Path) -> Rows:
    """Numbers by row_id; each must be written as Python writes it."""
    with path.open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header[0] == "row_id"
    for line in lines:
        assert all(repr(float(text)) == text for text in line[1:])
    return {row_id: [float(text) for text in numbers] for row_id, *numbers in lines}


def online(answers: list[dict[str, Any]]) -> Rows:
    """Numbers by `id` of answers to requests of one campaign, none of them degraded."""
    rows = {}
    for answer in answers:
        (prediction,) = answer["predictions"]
        assert (prediction["status"], answer["degraded"], answer["history"]["source"]) == ("ok", [], "inline")
        ltv = prediction["ltv"]
        rows[answer["id"]] = [prediction["p_buyer"], ltv["d1"], ltv["d7"], ltv["d14"], prediction["log_mean_d7"]]
    return rows


def differences(one: Rows, other: Rows) -> list[tuple[str, str, str]]:
    """Rows whose numbers differ in any bit, as text; -0.0 is not 0.0."""
    assert list(one) == list(other)
    return [(row, repr(one[row]), repr(other[row])) for row in one if repr(one[row]) != repr(other[row])]


def test_every_row_over_http_has_the_offline_bits(
    trained: Market, offline: Rows, service_process: ServiceProcess
) -> None:
    """All requests of the day, many at a time, each a call of its own."""
    answers = service_process.predict_at_once(trained.bodies())
    assert len(offline) == len(answers) == LATER_ROWS
    assert differences(offline, online(answers)) == []


def test_every_row_in_batches_has_the_offline_bits(
    trained: Market, offline: Rows, service_process: ServiceProcess
) -> None:
    """The same requests through /predict/batch."""
    bodies = trained.bodies()
    answers = [a for i in range(0, len(bodies), 1000) for a in service_process.predict_batch(bodies[i : i + 1000])]
    assert differences(offline, online(answers)) == []


def test_parquet_holds_the_numbers_of_the_csv(trained: Market, offline: Rows, tmp_path: Path) -> None:
    """Another format, the same bits."""
    table = pq.read_table(predict(trained, tmp_path / "all.parquet", "--all"))
    assert table.column_names == ["row_id", *COLUMNS]
    numbers = zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)
    assert differences(offline, dict(zip(table["row_id"].to_pylist(), map(list, numbers), strict=True))) == []


def test_one_column_is_a_column_of_all(trained: Market, offline: Rows, tmp_path: Path) -> None:
    """The mean is the expected revenue of D7, `--objective msle` its log mean."""
    mean = read_csv(predict(trained, tmp_path / "mean.csv"))
    msle = read_csv(predict(trained, tmp_path / "msle.csv", "--objective", "msle"))
    assert differences(mean, {row: [numbers[2]] for row, numbers in offline.items()}) == []
    assert differences(msle, {row: [numbers[4]] for row, numbers in offline.items()}) == []


def test_horizons_are_in_order_on_every_row(offline: Rows) -> None:
    """0 ≤ D1 ≤ D7 ≤ D14, a probability in [0, 1], and answers that tell the rows apart."""
    for p_buyer, d1, d7, d14, log_mean in offline.values():
        assert 0.0 <= d1 <= d7 <= d14 < float("inf")
        assert 0.0 <= p_buyer <= 1.0
        assert 0.0 <= log_mean < float("inf")
    assert len({numbers[2] for numbers in offline.values()}) > LATER_ROWS / 4
