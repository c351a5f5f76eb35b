"""The dashboard's command line: arguments enter, checked `Options` leave."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import InputError


@dataclass(frozen=True)
class Options:
    """Where to look, and where to listen.

    Parameters
    ----------
    models, data : Path
        Folders of bundles and of data sets.
    port : int
        On 127.0.0.1.
    """

    models: Path
    data: Path
    port: int

    def arguments(self) -> list[str]:
        """What `parse` reads them back from."""
        return ["--models", str(self.models), "--data", str(self.data), "--port", str(self.port)]


def parse(arguments: Sequence[str]) -> Options:
    """Read and check the command line.

    Raises
    ------
    InputError
        When a folder is not there, or the port is none.
    SystemExit
        For `--help`, and for arguments that are unknown.
    """
    parser = argparse.ArgumentParser(prog="python -m training.dashboard", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of data sets (default: data)")
    parser.add_argument("--port", default="8501", help="on 127.0.0.1 (default: 8501)")
    found = parser.parse_args(arguments)
    if not found.models.is_dir():
        raise InputError(f"expected a folder of bundles, received {found.models}", "--models")
    if not (found.port.isascii() and found.port.isdigit() and 0 < int(found.port) < 65_536):
        raise InputError(f"expected a port of 1 to 65535, received {found.port!r}", "--port")
    return Options(found.models, found.data, int(found.port))
