"""Waits until the service of a process is ready on a port, then prints a `curl` that it answers.

`announce.py PORT PID` ends silently when the process does: its own message says why.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

REQUEST = Path(__file__).parent.parent / "docs" / "examples" / "predict.json"


def is_ready(base: str) -> bool:
    """Whether `/health/ready` answers 200."""
    try:
        with urllib.request.urlopen(f"{base}/health/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def is_alive(pid: int) -> bool:
    """Whether the process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def curl(base: str) -> str:
    """The command as plain text; the body holds neither an empty line nor a single quote."""
    body = REQUEST.read_text(encoding="utf-8").strip()
    return f"curl -sS {base}/predict -H 'Content-Type: application/json' -d '{body}'"


def main() -> None:
    base, service = f"http://127.0.0.1:{sys.argv[1]}", int(sys.argv[2])
    while not is_ready(base):
        if not is_alive(service):
            return
        time.sleep(0.1)
    print(f"\nReady on {base} (docs: {base}/docs). Try:\n\n{curl(base)}\n", flush=True)


if __name__ == "__main__":
    main()
