"""Tests of training.dashboard.options and of its command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from app.errors import InputError
from training.dashboard.__main__ import SCRIPT, command, main
from training.dashboard.options import Options, parse


def test_options_read_back_as_they_were(tmp_path: Path) -> None:
    """What the launcher hands on is what the script reads."""
    options = Options(tmp_path, tmp_path / "data", 8600)
    assert parse(options.arguments()) == options


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "８５０１"])  # the last in full-width digits
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 2; nothing is started."""
    assert main(["--models", str(tmp_path), "--port=" + port]) == 2
    assert capsys.readouterr().err == f"dashboard: --port: expected a port of 1 to 65535, received {port!r}\n"


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """Bundles must be looked for somewhere; data need not be there, files can be uploaded."""
    with pytest.raises(InputError, match=r"^--models: expected a folder of bundles, received .*nowhere$"):
        parse(["--models", str(tmp_path / "nowhere")])
    assert parse(["--models", str(tmp_path), "--data", "nowhere"]).data == Path("nowhere")


def test_the_server_listens_here_and_tells_nobody(tmp_path: Path) -> None:
    """Loopback only, no usage statistics, headless; the script's own arguments come after the dashes."""
    options = Options(tmp_path, tmp_path, 8600)
    process = command(options)
    assert process[:5] == [sys.executable, "-m", "streamlit", "run", str(SCRIPT)]
    flags = dict(zip(process[5::2], process[6::2], strict=False))
    assert flags["--server.address"] == "127.0.0.1"
    assert flags["--browser.gatherUsageStats"] == "false"
    assert flags["--server.headless"] == "true"
    assert process[process.index("--") + 1 :] == options.arguments()
