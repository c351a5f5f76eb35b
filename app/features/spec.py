"""The declaration: what the raw fields are and what each yields. A mapping enters, a checked `Declaration` leaves.

The same object drives the loader, the request validator, the feature plan and the cache layout. It is written to
`declaration.json` in every bundle, so that the service needs neither YAML nor the training package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from app.errors import DeclarationError
from app.features.shape import check_shape

SCALARS: Final = ("number", "category", "timestamp", "month", "version")
RAGGED: Final = ("histogram", "timestamps", "strings", "nested_histogram", "nested_timestamps")
TEXTS: Final = ("category", "month", "version")
FORMATS: Final = ("raw", "lower", "country")
AGGREGATES: Final[Mapping[str, tuple[str, ...]]] = {
    "histogram": ("count", "sum", "mean", "max", "min", "std", "entropy", "top_share"),
    "timestamps": ("count", "latest", "earliest", "mean"),
    "strings": ("count",),
    "nested_histogram": ("count", "sum", "mean", "max", "min", "std", "entropy", "top_share",
                         "inner_count", "inner_sum", "inner_mean", "inner_max", "inner_min", "inner_std"),
    "nested_timestamps": ("count", "latest", "earliest", "mean", "inner_count", "inner_latest", "inner_earliest",
                          "inner_mean"),
}  # fmt: skip
ENCODINGS: Final = ("rate", "value", "frequency")
GROUPS: Final = ("context", "encodings", "scalars", "aggregates", "recency", "lookups", "ratios", "products", "ranks")
CLOCK_KEYS: Final = ("hour", "weekday")


class HistoryState(IntEnum):
    """What is known of the user. The value is a feature, so that a lost cache is not read as a new user."""

    PRESENT = 0
    NEW = 1
    UNAVAILABLE = 2
    WITHHELD = 3

    @property
    def label(self) -> str:
        """The name on the wire: `present`, `new`, `unavailable` or `withheld`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Field:
    """One raw column.

    Parameters
    ----------
    name : str
    kind : str
        One of `SCALARS` or `RAGGED`.
    scope : str
        `request`, `campaign` or `user`.
    wire : str or None
        Dotted place in the BidRequest (request scope only).
    format : str
        How a category is written: `raw`, `lower` or `country` (ISO alpha-2, lower case).
    yields : tuple of str
        Aggregates of a ragged field, empty for scalars.
    """

    name: str
    kind: str
    scope: str
    wire: str | None = None
    format: str = "raw"
    yields: tuple[str, ...] = ()

    @property
    def ragged(self) -> bool:
        """Whether a row holds any number of entries."""
        return self.kind in RAGGED

    @property
    def nested(self) -> bool:
        """Whether an entry holds a map of its own."""
        return self.kind.startswith("nested_")

    @property
    def temporal(self) -> bool:
        """Whether the numbers are unix seconds."""
        return self.kind.endswith(("timestamp", "timestamps"))


@dataclass(frozen=True, slots=True)
class Lookup:
    """The request's own `key` field looked up in the user's ragged `field`."""

    field: str
    key: str

    @property
    def name(self) -> str:
        """`field@key`."""
        return f"{self.field}@{self.key}"


@dataclass(frozen=True, slots=True)
class Targets:
    """What is predicted.

    `revenue` is the column pattern with `{horizon}`, `horizons` are days in rising order, `gate` the classifier's
    column, `log_mean` the horizon of E[log1p y], `excluded` every outcome column that may never be a feature.
    """

    horizons: tuple[int, ...]
    revenue: str
    gate: str
    log_mean: int
    excluded: tuple[str, ...]

    def column(self, horizon: int) -> str:
        """The revenue column of a horizon in days."""
        return self.revenue.format(horizon=horizon)

    @property
    def log_mean_index(self) -> int:
        """Position of the `log_mean` horizon among the horizons."""
        return self.horizons.index(self.log_mean)


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
            yields = tuple(entry.get("yields", defaults.get(kind, AGGREGATES[kind]))) if kind in RAGGED else ()
            _subset(f"{where}.yields", yields, AGGREGATES.get(kind, ()))
            yield Field(str(name), kind, scope, _wire(where, scope, entry), form, yields)


def _wire(where: str, scope: str, entry: Mapping[str, Any]) -> str | None:
    wire = entry.get("wire")
    if scope == "request" and not isinstance(wire, str):
        raise DeclarationError(f"{where}.wire: expected the field's dotted place in the BidRequest, received {wire!r}")
    return wire


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
