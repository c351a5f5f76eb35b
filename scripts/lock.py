"""Writes requirements/lock.txt: the newest versions that pyproject.toml allows, with all that they need.

Nothing is installed. One file serves every supported Python and system: what a package needs on another one
than this is resolved too. It names packages and versions; where they come from is for the package client.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
ENVIRONMENTS = [
    {"python_version": full[: full.rindex(".")], "python_full_version": full, "sys_platform": platform}
    for full in ("3.11.0", "3.11.9", "3.12.9", "3.13.9")
    for platform in ("linux", "darwin")
]


def declared() -> list[str]:
    """The requirements of the project and of all its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *chain(*project["optional-dependencies"].values())]


def resolve(requirements: list[str]) -> list[dict[str, Any]]:
    """What pip would install for `requirements` into an empty environment, wheels only."""
    with TemporaryDirectory() as place:
        report = Path(place) / "report.json"
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
        subprocess.run([*pip, "--only-binary", ":all:", "--report", str(report), *requirements], check=True)
        found: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
        return found


def needed_elsewhere(packages: list[dict[str, Any]]) -> set[str]:
    """Requirements of `packages` that hold on another supported Python or system, and are not among them."""
    names = {canonicalize_name(package["metadata"]["name"]) for package in packages}
    lines = chain(*(package["metadata"].get("requires_dist", []) for package in packages))
    conditional = [requirement for line in lines if (requirement := Requirement(line)).marker]
    return {
        f"{requirement.name}{requirement.specifier}"
        for requirement in conditional
        if canonicalize_name(requirement.name) not in names and _holds_somewhere(requirement)
    }


def _holds_somewhere(requirement: Requirement) -> bool:
    marker = requirement.marker
    return marker is not None and any(marker.evaluate({**env, "extra": ""}) for env in ENVIRONMENTS)


def main() -> None:
    requirements = declared()
    packages = resolve(requirements)
    while missing := needed_elsewhere(packages):
        requirements += sorted(missing)
        packages = resolve(requirements)
    pins = sorted((canonicalize_name(p["metadata"]["name"]), p["metadata"]["version"]) for p in packages)
    lines = [f"{name}=={version}" for name, version in pins]
    text = "\n".join(["# Every extra and all that it pulls in, written by `make lock`.", *lines, ""])
    (ROOT / "requirements" / "lock.txt").write_text(text, encoding="utf-8")
    print(f"lock: {len(pins)} packages in requirements/lock.txt")


if __name__ == "__main__":
    main()
