"""The environments that the peers run in, one each: made where they are absent or old, and asked for their versions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from loadtests.benchmarks.processes import ROOT

_SCRIPT: Final = ROOT / "loadtests" / "peers" / "setup.sh"
_VERSIONS: Final = """
import importlib.metadata, json, platform, sys
packages = {name: importlib.metadata.version(name) for name in sys.argv[1:]}
print(json.dumps({"python": platform.python_version(), **packages}))
"""


def python_of(name: str) -> Path:
    """The Python of a peer's environment, which is made first.

    Raises
    ------
    RuntimeError
        It can not be made; with the last line of what was said.
    """
    done = subprocess.run([str(_SCRIPT), name], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"could not be installed: {lines[-1]}")
    return ROOT / ".venv-peers" / name / "bin" / "python"


def versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """What is installed there.

    Raises
    ------
    RuntimeError
        One of the packages is absent.
    """
    done = subprocess.run([str(python), "-c", _VERSIONS, *packages], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"could not be installed: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return {name: str(version) for name, version in found.items()}
