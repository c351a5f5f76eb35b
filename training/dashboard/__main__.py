"""`python -m training.dashboard`: checks its arguments, then becomes Streamlit on 127.0.0.1."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from app.errors import InputError
from training.dashboard.options import Options, parse

SCRIPT = Path(__file__).with_name("main.py")


def command(options: Options) -> list[str]:
    """The process that serves the pages.

    No usage statistics, no browser of its own accord, no watching of source files, no stack of an error on the page:
    those who look at the pages are not those who wrote them.
    """
    flags = {
        "server.address": "127.0.0.1",
        "server.port": str(options.port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
    }
    given = [text for name, value in flags.items() for text in (f"--{name}", value)]
    return [sys.executable, "-m", "streamlit", "run", str(SCRIPT), *given, "--", *options.arguments()]


def main(arguments: Sequence[str]) -> int:
    """Become the server; returns an exit code only where that can not be."""
    try:
        options = parse(arguments)
    except InputError as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 2
    if find_spec("streamlit") is None:
        print("dashboard: Streamlit is not installed; run: make dashboard", file=sys.stderr)
        return 2
    process = command(options)
    os.execv(process[0], process)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
