"""The description for people, in a real browser that reaches this machine only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.service_process import ServiceProcess
from tests.training.dashboard.browser import browsing, find


@pytest.mark.browser
def test_the_description_shows_and_asks_nobody_else(shop_service: ServiceProcess, tmp_path: Path) -> None:
    """Swagger UI draws the operations and the schemas, and every request of the page went to the service."""
    if (binary := find()) is None:
        pytest.skip("no browser: apt-get install chromium")
    with browsing(binary, tmp_path / "profile") as browser:
        browser.open(f"{shop_service.url}/docs")
        browser.wait_for("/predict/batch")
        browser.click("button.opblock-summary-control", "/predict")
        browser.wait_for("An OpenRTB 2.6 BidRequest")
        browser.wait_for("BidRequest")
        assert browser.hosts == {"127.0.0.1"}
