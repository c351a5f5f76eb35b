"""What the repository declares agrees with what it locks and ignores."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
LINES = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8").splitlines()
PACKAGES = packages_distributions()
PINS = dict(line.split("==") for line in LINES if not line.startswith("#"))


@pytest.mark.parametrize("text", REQUIREMENTS)
def test_the_lock_satisfies_every_declared_requirement(text: str) -> None:
    """Each requirement of the project and of its extras has one pin, and the pin is in the declared range."""
    requirement = Requirement(text)
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_lock_is_names_and_versions_only() -> None:
    """No line names a host, an option, a path or a range."""
    assert [line for line in LINES if not re.fullmatch(r"#[^/]*|[a-z0-9-]+==[0-9][0-9a-z.+!]*", line)] == []


def test_the_service_depends_on_nothing_of_training() -> None:
    """The core dependencies hold none of the packages that only training uses."""
    core = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    train = {canonicalize_name(Requirement(text).name) for text in PROJECT["optional-dependencies"]["train"]}
    assert core & train == set()


def test_the_worked_example_can_stand_in_a_shell_command() -> None:
    """`make serve` prints the example between single quotes, ended by the first empty line."""
    text = (ROOT / "docs" / "examples" / "predict.json").read_text(encoding="utf-8").strip()
    assert "'" not in text
    assert "" not in [line.strip() for line in text.splitlines()]
    body = json.loads(text)
    assert body["imp"]
    assert body["user"]["ext"]["history"]["as_of"] <= body["ext"]["ts"]


def declared(*extras: str) -> set[str]:
    """Names of the core dependencies and of the extras'."""
    lines = [*PROJECT["dependencies"], *chain(*(PROJECT["optional-dependencies"][extra] for extra in extras))]
    return {canonicalize_name(Requirement(text).name) for text in lines}


def imported(package: str) -> set[str]:
    """Names of the distributions, other than this one, whose modules a package imports anywhere."""
    names: set[str] = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    owners = {"distributed": "dask", "mlflow": "mlflow-skinny"}  # by the names that are declared
    return {
        canonicalize_name(owners.get(name, PACKAGES.get(name, [name])[0]))
        for name in names - sys.stdlib_module_names - {"app", "training"}
    }


def test_what_is_imported_is_declared_and_what_is_declared_is_used() -> None:
    """Nothing comes along with another package by luck, and nothing is installed for no use."""
    files_of = {"fastapi-offline"}  # named by its files: no module of it is imported
    assert imported("app") == declared() - files_of
    extras = ("train", "mlflow", "dashboard", "cdnow")
    of_the_store = {"alembic", "sqlalchemy"}  # MLflow's, for SQLite
    assert imported("training") - declared(*extras) == set()
    assert declared(*extras) - declared() - imported("training") == of_the_store
