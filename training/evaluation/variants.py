"""What an ablation varies, as data: a YAML list of changes to a configuration enters, checked variants leave."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from app.errors import DeclarationError

DEFAULT: Final = "default"
TURNS: Final = ("on", "off", "other")
_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]*$")


@dataclass(frozen=True)
class Variant:
    """One change of the configuration.

    Parameters
    ----------
    name : str
        Of its bundle; lower-case letters, digits, `_` and `-`.
    what : str
        The method in words.
    turns : str
        `on` for a method that the default lacks, `off` for one that it has, `other` for another choice.
    change : mapping
        Laid over the configuration: mappings are merged, anything else takes the place of what was there.
    """

    name: str
    what: str
    turns: str
    change: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ablations:
    """The variants, and the microseconds a row that a default may cost online; None: as many as it costs now."""

    variants: tuple[Variant, ...]
    budget_us: float | None


def load_ablations(path: Path) -> Ablations:
    """Read a file such as `config/ablations.yaml`.

    Raises
    ------
    DeclarationError
        One line that names the file, the entry, what was expected and what came.
    """
    raw = read_yaml(path)
    budget = raw.get("budget_us")
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int | float) or budget <= 0):
        raise DeclarationError(f"{path}: budget_us: expected microseconds above 0, received {budget!r}")
    if unknown := sorted({*raw} - {"budget_us", "variants"}):
        raise DeclarationError(f"{path}: {unknown[0]}: no such key")
    entries = raw.get("variants")
    if not isinstance(entries, list) or not entries:
        raise DeclarationError(f"{path}: variants: expected a list, received {type(entries).__name__}")
    variants = tuple(_variant(f"{path}: variants[{i}]", entry) for i, entry in enumerate(entries))
    names = [DEFAULT, *(variant.name for variant in variants)]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DeclarationError(f"{path}: variants: expected names that differ, received {repeated[0]!r} again")
    return Ablations(variants, None if budget is None else float(budget))


def _variant(where: str, entry: object) -> Variant:
    if not isinstance(entry, dict) or {*entry} != {"name", "what", "turns", "set"}:
        received = ", ".join(map(str, entry)) if isinstance(entry, dict) else type(entry).__name__
        raise DeclarationError(f"{where}: expected name, what, turns and set, received {received}")
    # YAML 1.1 reads a bare on or off as a truth value.
    turns = {True: "on", False: "off"}.get(entry["turns"], entry["turns"])
    if turns not in TURNS:
        raise DeclarationError(f"{where}.turns: expected one of {', '.join(TURNS)}, received {entry['turns']!r}")
    if not isinstance(entry["name"], str) or not _NAME.match(entry["name"]):
        raise DeclarationError(f"{where}.name: expected letters, digits, _ and -, received {entry['name']!r}")
    if not isinstance(entry["set"], dict) or not entry["set"]:
        raise DeclarationError(f"{where}.set: expected a mapping of what changes, received {entry['set']!r}")
    return Variant(entry["name"], str(entry["what"]), str(turns), entry["set"])


def changed(raw: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `raw` with `change` laid over it; neither is touched."""
    found = copy.deepcopy(dict(raw))
    for key, value in change.items():
        before = found.get(key)
        both = isinstance(before, dict) and isinstance(value, Mapping)
        found[key] = changed(before, value) if both and isinstance(before, dict) else copy.deepcopy(value)
    return found


def read_yaml(path: Path) -> dict[str, Any]:
    """A file's mapping.

    Raises
    ------
    DeclarationError
        One line, when it can not be read or is no mapping.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeclarationError(f"{path}: can not be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(raw, dict):
        raise DeclarationError(f"{path}: expected a mapping, received {type(raw).__name__}")
    return raw
