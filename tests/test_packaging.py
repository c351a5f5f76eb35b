"""What the repository declares agrees with what it locks and ignores."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
LINES = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8").splitlines()
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
