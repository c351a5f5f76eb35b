"""What lies in deploy/, read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"


def documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return [d for d in yaml.safe_load_all(path.read_text(encoding="utf-8")) if d is not None]


def manifests() -> list[dict[str, Any]]:
    """Every Kubernetes object, the examples too."""
    paths = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [d for path in paths for d in documents(path)]


def manifest(kind: str, name: str = "pltv") -> dict[str, Any]:
    """One Kubernetes object."""
    (found,) = [m for m in manifests() if m["kind"] == kind and m.get("metadata", {}).get("name") == name]
    return found


def rules(file: str) -> list[dict[str, Any]]:
    """The rules of a file, of all its groups."""
    (content,) = documents(PROMETHEUS / file)
    return [rule for group in content["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    return [p for p in dashboard()["panels"] if p["type"] != "row"]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    content: dict[str, Any] = json.loads((DEPLOY / "grafana" / "pltv.json").read_text(encoding="utf-8"))
    return content


def dashboard_expressions() -> Iterator[str]:
    """Every expression of the dashboard, its variables filled in as Grafana does."""
    for expression in [t["expr"] for p in panels() for t in p["targets"]] + [
        a["expr"] for a in dashboard()["annotations"]["list"]
    ]:
        yield expression.replace("$__rate_interval", "1m").replace("$instance", ".*")


def program(name: str, package: str) -> str:
    """The path of a program; a test that cannot have it skips aloud."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return path
