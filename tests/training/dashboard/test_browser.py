"""The dashboard served as `make dashboard` serves it, and used in a real browser."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.market import ROOT, clean_environment
from tests.training.dashboard.browser import PATIENCE_S, Browser, browsing, find
from tests.training.dashboard.conftest import Place
from training.dashboard.scoring import Loaded
from training.data.dataset import Dataset

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless browser that the module shares."""
    binary = find()
    if binary is None:
        pytest.skip("no browser: apt-get install chromium")
    profile = tmp_path_factory.mktemp("profile")
    with browsing(binary, profile) as found:
        yield found
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="module")
def url(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a dashboard of the module's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "training.dashboard", "--models", place.models, "--data", place.data]
    told = tmp_path_factory.mktemp("dashboard") / "log"
    with told.open("wb") as log:
        process = subprocess.Popen(
            [*map(str, command), "--port", str(port)], cwd=ROOT, env=clean_environment(), stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            _until_healthy(process, port, told)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _until_healthy(process: subprocess.Popen[bytes], port: int, told: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, told.read_text()
        assert time.monotonic() < until, told.read_text()
        try:
            with direct.open(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)


NAVIGATION = '[data-testid="stSidebarNavLink"]'
CHARTS = "document.querySelectorAll('[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg').length"
PICTURES = "[...document.images].filter(one => one.complete && one.naturalWidth > 300).length"


def test_all_pages_are_used_as_an_analyst_would(url: str, browser: Browser) -> None:
    """From page to page by the mouse: contributions, charts, pictures, another bundle; nothing comes from elsewhere."""
    browser.open(url)
    browser.wait_for("Validation when it was made")
    browser.click(NAVIGATION, "Predictions")
    browser.wait_for("How the price of")
    browser.click("button", "d14")
    browser.wait_for("Exact TreeSHAP")
    browser.wait(f"{CHARTS} === 1")
    browser.click(NAVIGATION, "Distributions")
    browser.wait_for("Drift since training")
    browser.wait(f"{CHARTS} === 3")
    browser.click(NAVIGATION, "Calibration")
    browser.wait_for("Revenue, day 14")
    browser.wait(f"{PICTURES} === 5")
    browser.click(NAVIGATION, "Comparison")
    browser.wait_for("first indistinguishable")
    browser.wait(f"{CHARTS} === 3")
    assert browser.evaluate("document.querySelectorAll('[data-testid=stException], [data-testid=stAlert]').length") == 0
    assert browser.hosts == {"127.0.0.1"}


def test_an_uploaded_file_is_priced(url: str, browser: Browser, place: Place, loaded: Loaded, tmp_path: Path) -> None:
    """A parquet file chosen in the browser is priced row for row; one that is no parquet file is one line."""
    hour = Dataset(place.data / "day", loaded.predictor.declaration).partitions[3]
    browser.open(f"{url}/predictions")
    browser.wait_for("How the price of")
    browser.click('[data-testid="stSidebar"] label', "of a file")
    browser.wait_for("Choose a file.")
    browser.upload('input[type="file"]', hour.files[0])
    browser.wait_for(f"{hour.rows:,} of {hour.rows:,} rows")
    browser.wait_for("How the price of")
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    browser.upload('input[type="file"]', tmp_path / "broken.parquet")
    browser.wait_for("the uploaded file: expected a sound parquet file")
