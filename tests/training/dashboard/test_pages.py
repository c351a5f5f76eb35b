"""Tests of the pages: the script run as Streamlit runs it, without a browser."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.training.dashboard.conftest import Place
from training.dashboard.__main__ import SCRIPT
from training.dashboard.frame import PAGES
from training.dashboard.options import Options

PATIENCE_S = 120.0
Open = Callable[[Path, Path], AppTest]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Runs the script on folders of bundles and of data sets."""

    def run(models: Path, data: Path) -> AppTest:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *Options(models, data, 8501).arguments()])
        return AppTest.from_file(SCRIPT, default_timeout=PATIENCE_S).run()

    return run


def _errors(app: AppTest) -> list[str]:
    return [one.value for one in [*app.error, *app.exception]]


def test_the_current_bundle_and_its_held_out_hours_come_first(opened: Open, place: Place) -> None:
    """Not the newest bundle but the one in use, on the hours after those that it learned from."""
    app = opened(place.models, place.data)
    assert _errors(app) == []
    assert app.sidebar.selectbox[0].value == "first"
    assert app.sidebar.selectbox[0].options == ["second", "first"]
    assert app.title[0].value == "first"
    assert app.sidebar.select_slider[0].value == ("datetime=2025-10-01-08-00", "datetime=2025-10-01-09-00")


def test_no_bundle_and_no_data_say_what_to_do(opened: Open, place: Place, tmp_path: Path) -> None:
    """Empty folders are no errors: a line names the verb that fills them."""
    (tmp_path / "models").mkdir()
    assert "`make train` makes one" in opened(tmp_path / "models", tmp_path).info[0].value
    app = opened(place.models, tmp_path)
    assert "`make data` generates one" in app.info[0].value
    assert _errors(app) == []


def test_a_damaged_bundle_is_one_line(opened: Open, place: Place, tmp_path: Path) -> None:
    """It is refused as the service refuses it, and the page says so."""
    shutil.copytree(place.models / "first", tmp_path / "models" / "broken")
    with (tmp_path / "models" / "broken" / "encoders.json").open("a") as file:
        file.write(" ")
    (found,) = _errors(opened(tmp_path / "models", place.data))
    assert "encoders.json: expected bytes" in found
    assert "\n" not in found


@pytest.mark.parametrize("page", [page.title for page in PAGES])
def test_every_page_is_drawn(page: str, opened: Open, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, drawn first, has its title and neither error nor exception."""
    order = sorted(PAGES, key=lambda one: one.title != page)
    monkeypatch.setattr("training.dashboard.frame.PAGES", tuple(order))
    app = opened(place.models, place.data)
    assert _errors(app) == []
    assert app.title[0].value == ("first" if page == "Bundle" else page)


def test_a_row_is_found_by_its_identity(opened: Open, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its price is explained; an identity that is not there is said not to be."""
    monkeypatch.setattr(
        "training.dashboard.frame.PAGES", tuple(sorted(PAGES, key=lambda one: one.title != "Predictions"))
    )
    app = opened(place.models, place.data)
    lines = app.dataframe[0].value
    wanted = str(lines["row_id"].iloc[41])
    app.text_input(key="row_id").set_value(wanted).run()
    assert app.subheader[0].value == f"How the price of {wanted} comes about"
    price = app.dataframe[1].value
    assert price["day 7"].iloc[-1] == lines["ltv_d7"].iloc[41]
    app.text_input(key="row_id").set_value("nobody").run()
    assert app.warning[0].value == "No row that is shown has this row_id."
    assert _errors(app) == []


def test_alike_bundles_are_told_to_be_alike(opened: Open, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a bundle with the same prices, all agree and no verdict is found."""
    monkeypatch.setattr(
        "training.dashboard.frame.PAGES", tuple(sorted(PAGES, key=lambda one: one.title != "Comparison"))
    )
    app = opened(place.models, place.data)
    agreement = app.dataframe[0].value
    assert agreement["within 10 %"].tolist() == [1.0, 1.0, 1.0]
    assert [metric.value.split()[0] for metric in app.metric][::2] == ["0", "0"]
    assert _errors(app) == []
