"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

_CPUINFO: Final = Path("/proc/cpuinfo")
_PACKAGES: Final = ("numpy", "lightgbm", "fastapi", "pydantic", "uvicorn", "uvloop", "httptools", "orjson", "redis")


def describe() -> dict[str, Any]:
    """JSON: processor, cores, load, kernel, Python and the packages whose speed shows."""
    return {
        "cpu": _model(),
        "cores": os.cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _model() -> str:
    if _CPUINFO.exists():
        fields = dict(line.split(":", 1) for line in _CPUINFO.read_text().splitlines() if ":" in line)
        named = {key.strip(): value.strip() for key, value in fields.items()}
        return f"{named.get('model name', platform.machine())} (model {named.get('model', '?')})"
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
