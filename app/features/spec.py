"""The declaration: what the raw fields are and what each yields. A mapping enters, a checked `Declaration` leaves.

The same object drives the loader, the request validator, the feature plan and the cache layout. It is written to
`declaration.json` in every bundle, so that the service needs neither YAML nor the training package.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from app.errors import DeclarationError
from app.features.fields import (
    AGGREGATES,
    CLOCK_KEYS,
    ENCODINGS,
    FORMATS,
    GROUPS,
    RAGGED,
    SCALARS,
    TEXTS,
    Field,
    HistoryState,
    Lookup,
    Targets,
)
from app.features.shape import check_shape

__all__ = [
    "AGGREGATES",
    "CLOCK_KEYS",
    "ENCODINGS",
    "TEXTS",
    "Declaration",
    "Field",
    "HistoryState",
    "Lookup",
    "Targets",
]

_PLACE: Final = re.compile(r"(?!id\.|imp\.|(ext\.campaigns|user\.ext\.history)(\.|$))[^.]+(\.[^.]+)+")


@dataclass(frozen=True)
class Declaration:
    """The whole problem, checked. Build it with `from_dict`."""

    raw: Mapping[str, Any]
    name: str
    label_unit: str
    currency: str
    row_id: str
    partition: str
    targets: Targets
    fields: tuple[Field, ...]
    lookups: tuple[Lookup, ...]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Declaration:
        """Check a parsed YAML or JSON mapping.

        Raises
        ------
        DeclarationError
            Naming the entry, what was expected and what came.
        """
        check_shape(raw)
        fields = tuple(_fields(raw))
        declaration = cls(
            raw={k: v for k, v in raw.items() if k != "training"},
            name=str(_need(raw, "name", str)),
            label_unit=str(_need(raw, "label_unit", str)),
            currency=str(raw.get("currency", "USD")),
            row_id=str(_need(raw, "row_id", str)),
            partition=str(_need(raw, "partition", str)),
            targets=_targets(_need(raw, "targets", Mapping)),
            fields=fields,
            lookups=tuple(_lookups(raw.get("lookups") or {}, fields)),
        )
        declaration._check()
        return declaration

    from_json = from_dict

    def to_json(self) -> dict[str, Any]:
        """The mapping that `from_dict` reads, without what only training needs."""
        return dict(self.raw)

    @property
    def fingerprint(self) -> str:
        """sha256 of the canonical JSON: names this declaration in manifests and cache entries."""
        canonical = json.dumps(self.raw, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def scope(self, scope: str) -> tuple[Field, ...]:
        """The fields of `request`, `campaign` or `user`, in declared order."""
        return tuple(f for f in self.fields if f.scope == scope)

    def field(self, name: str) -> Field:
        """The field of that name; KeyError where there is none."""
        return next(f for f in self.fields if f.name == name)

    @property
    def encodings(self) -> dict[str, tuple[str, ...]]:
        """Encoded text field → subset of `ENCODINGS`."""
        return {k: tuple(v) for k, v in (self.raw.get("encodings") or {}).items()}

    @property
    def encoder(self) -> tuple[int, tuple[float, float]]:
        """`min_count` (rows below which a value is rare) and the prior's weight in `rate` and in `value`."""
        options = self.raw.get("encoder") or {}
        smoothing = float(options.get("rate_smoothing", 50.0)), float(options.get("value_smoothing", 10.0))
        return int(options.get("min_count", 20)), smoothing

    def pairs(self, section: str) -> dict[str, tuple[str, str]]:
        """`ratios` or `products`: name → the two features' names."""
        return {k: (str(v[0]), str(v[1])) for k, v in (self.raw.get(section) or {}).items()}

    @property
    def ranks(self) -> Mapping[str, Any]:
        """The section `ranks`: cohorts, min_rows, quantiles, features; empty where undeclared."""
        section: Mapping[str, Any] = self.raw.get("ranks") or {}
        return section

    def group(self, name: str) -> bool:
        """Whether a feature group is switched on."""
        return bool((self.raw.get("groups") or {}).get(name, True))

    def _check(self) -> None:
        names = [f.name for f in self.fields]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise DeclarationError(f"fields: expected distinct names, {twice[0]} is declared twice")
        outcomes = {*self.targets.excluded, self.targets.gate, *map(self.targets.column, self.targets.horizons)}
        if leaked := sorted(outcomes.intersection(names)):
            raise DeclarationError(f"fields.{leaked[0]}: a target can not be a feature")
        _check_places(self.fields)
        texts = {f.name for f in self.fields if f.kind in TEXTS}
        for name, kinds in self.encodings.items():
            if name not in texts:
                raise DeclarationError(f"encodings.{name}: expected a category, month or version field")
            _subset(f"encodings.{name}", kinds, ENCODINGS)
        _subset("groups", tuple(self.raw.get("groups") or {}), GROUPS)
        _subset("encoder", tuple(self.raw.get("encoder") or {}), ("min_count", "rate_smoothing", "value_smoothing"))
        for section in ("ratios", "products"):
            for name, pair in (self.raw.get(section) or {}).items():
                if len(pair) != 2:
                    raise DeclarationError(f"{section}.{name}: expected two feature names, received {pair!r}")
        for cohort in self.ranks.get("cohorts", ()):
            for key in cohort:
                if key not in texts:
                    raise DeclarationError(f"ranks.cohorts: expected a category field, received {key!r}")


def _fields(raw: Mapping[str, Any]) -> Iterator[Field]:
    defaults = raw.get("yields") or {}
    for scope in ("request", "campaign", "user"):
        for name, entry in _need(raw, scope, Mapping).items():
            where = f"{scope}.{name}"
            if "kind" not in entry:
                raise DeclarationError(f"{where}: expected a mapping with `kind`, received {entry!r}")
            kind = entry["kind"]
            if kind not in SCALARS + RAGGED:
                raise DeclarationError(
                    f"{where}.kind: expected one of {', '.join(SCALARS + RAGGED)}, received {kind!r}"
                )
            if scope != "user" and kind in RAGGED:
                raise DeclarationError(f"{where}.kind: {kind} is a kind of user fields only")
            _subset(where, tuple(entry), ("kind", "wire", "format", "yields"))
            form = entry.get("format", "raw")
            _subset(f"{where}.format", (form,), FORMATS)
            if form != "raw" and kind not in TEXTS:
                raise DeclarationError(f"{where}.format: expected a kind of text ({', '.join(TEXTS)}), received {kind}")
            yields = tuple(entry.get("yields", defaults.get(kind, AGGREGATES[kind]))) if kind in RAGGED else ()
            _subset(f"{where}.yields", yields, AGGREGATES.get(kind, ()))
            yield Field(str(name), kind, scope, _wire(where, scope, entry), form, yields)


def _wire(where: str, scope: str, entry: Mapping[str, Any]) -> str | None:
    wire = entry.get("wire")
    if scope == "request" and not (isinstance(wire, str) and _PLACE.fullmatch(wire)):
        raise DeclarationError(
            f"{where}.wire: expected the field's dotted place in the BidRequest, outside of imp, ext.campaigns and "
            f"user.ext.history, received {wire!r}"
        )
    return wire


def _check_places(fields: Sequence[Field]) -> None:
    """No value may hold another: one of the two would never be found."""
    wires = {f.wire: f.name for f in fields if f.scope == "request" and f.wire}
    for wire, name in wires.items():
        for outer in accumulate(wire.split(".")[:-1], "{}.{}".format):
            if outer in wires:
                raise DeclarationError(f"request.{name}.wire: {outer} is a value, that of request.{wires[outer]}")


def _lookups(raw: Mapping[str, Any], fields: Sequence[Field]) -> Iterator[Lookup]:
    kinds = {f.name: f for f in fields}
    for key, names in raw.items():
        if key not in CLOCK_KEYS and (key not in kinds or kinds[key].kind not in TEXTS or kinds[key].scope == "user"):
            raise DeclarationError(f"lookups.{key}: expected a text field of the request or campaign, hour or weekday")
        for name in names:
            if name not in kinds or not kinds[name].ragged:
                raise DeclarationError(f"lookups.{key}: expected a ragged user field, received {name!r}")
            yield Lookup(str(name), str(key))


def _targets(raw: Mapping[str, Any]) -> Targets:
    horizons = tuple(_need(raw, "horizons", Sequence))
    if not horizons or any(type(h) is not int or h < 1 for h in horizons) or list(horizons) != sorted(set(horizons)):
        raise DeclarationError(
            f"targets.horizons: expected rising days such as [1, 7, 14], received {list(horizons)!r}"
        )
    revenue = str(_need(raw, "revenue", str))
    if "{horizon}" not in revenue:
        raise DeclarationError(f"targets.revenue: expected a pattern with {{horizon}}, received {revenue!r}")
    log_mean = raw.get("log_mean", horizons[min(1, len(horizons) - 1)])
    if log_mean not in horizons:
        raise DeclarationError(f"targets.log_mean: expected one of {list(horizons)}, received {log_mean!r}")
    return Targets(horizons, revenue, str(_need(raw, "gate", str)), log_mean, tuple(raw.get("excluded", ())))


def _need(raw: Mapping[str, Any], key: str, kind: type) -> Any:
    value = raw.get(key)
    if not isinstance(value, kind):
        raise DeclarationError(f"{key}: expected a {kind.__name__.lower()}, received {type(value).__name__}")
    return value


def _subset(where: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    for name in given:
        if name not in allowed:
            raise DeclarationError(f"{where}: expected any of {', '.join(allowed) or 'nothing'}, received {name!r}")
