"""The feature plan: `Columns` enter, the feature matrix X leaves, online and offline alike.

X is float64 in C order on the float32 grid, missing is the all-ones NaN (`ragged.MISSING`). Features of a request are
computed once and repeated for its campaigns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from app.errors import BundleCorrupt, DeclarationError
from app.features.aggregates import HOURS, Aggregates
from app.features.columns import FLOAT32_MAX, NOT_FOUND, Columns, Floats, Ints
from app.features.encoders import FIRST, TextEncoder, Vocabulary
from app.features.fitted import Fitted
from app.features.layout import Layout
from app.features.parsing import RawRequest, assemble
from app.features.ragged import MISSING
from app.features.ranks import CohortRanks
from app.features.scalars import Scalars
from app.features.spec import ENCODINGS, Declaration, Field, Lookup
from app.features.subset import RANK, NarrowLookups, needed, needed_ranks, needed_texts
from app.features.twin import LIBRARY, Twin

_LACKING: Final = -1.0  # a key that is not in a known map


class FeaturePlan:
    """A declaration compiled to array operations, with its fitted state.

    Parameters
    ----------
    declaration : Declaration
    user_encoder, row_encoder : TextEncoder
        Of `Columns.texts` and of `Columns.campaign_texts`.
    ranks : CohortRanks or None
    features : sequence of str, optional
        The features to compute, of those that are declared; the encoders and ranks are then theirs (`restricted`).

    Attributes
    ----------
    names, groups : tuple of str
        One a column of X.
    twin : Twin or None
        The compiled twin that answers instead of numpy, bit for bit.
    """

    def __init__(
        self,
        declaration: Declaration,
        user_encoder: TextEncoder,
        row_encoder: TextEncoder,
        ranks: CohortRanks | None,
        features: Sequence[str] | None = None,
    ) -> None:
        self.declaration = declaration
        self.layout = Layout(declaration)
        self.features = None if features is None else frozenset(features)
        inputs = None if features is None else needed(declaration, features)
        self._narrowed = None if inputs is None else NarrowLookups(self.layout, inputs)
        self.user_encoder, self.row_encoder, self.ranks = user_encoder, row_encoder, ranks
        self.twin: Twin | None = None
        self.scalars, self.aggregates = Scalars(self.layout), Aggregates(self.layout, inputs)
        self.user_ages = _temporal(self.layout, self.layout.user_lookups)
        self.row_ages = _temporal(self.layout, self.layout.row_lookups)
        base = self._base_features()
        self._all = {name: i for i, (name, _) in enumerate(base)}
        on = {n: g for n, g in base if declaration.group(g) and self._declared(n, g)}
        kept = [(n, g) for n, g in on.items() if self._wanted(n)]
        self.ratios, self.products = (self._pairs(s, on) for s in ("ratios", "products"))
        self._ranked = self._ranked_names(on)
        self.ranked = np.array([self._all[n] for n in self._ranked], dtype=np.int64)
        self.keep = np.array([self._all[n] for n, _ in kept], dtype=np.int64)
        derived = [(n, "ratios") for n in self.ratios[0]] + [(n, "products") for n in self.products[0]]
        derived += [(n + RANK, "ranks") for n in self._ranked]
        places = {f.name: (True, j) for j, f in enumerate(self.layout.texts)}
        places |= {f.name: (False, j) for j, f in enumerate(self.layout.campaign_texts)}
        self.cohort_places = [places[key] for key in self._cohort_keys()]
        self.names = tuple(n for n, _ in kept + derived)
        self.groups = tuple(g for _, g in kept + derived)
        if len(set(self.names)) != len(self.names):
            twice = next(n for n in self.names if self.names.count(n) > 1)
            raise DeclarationError(f"features: expected distinct names, {twice} is declared twice")
        if unknown := sorted((self.features or frozenset()).difference(self.names)):
            raise DeclarationError(f"features: expected names of declared features, received {unknown[0]!r}")

    @classmethod
    def fit(cls, declaration: Declaration, columns: Columns, gate: Floats, revenue: Floats) -> FeaturePlan:
        """Fit vocabularies, target statistics and ranks on training rows.

        Parameters
        ----------
        declaration : Declaration
        columns : Columns with one row a user
        gate : ndarray of shape (n_rows,), float64, 0 or 1
        revenue : ndarray of shape (n_rows,), float64, US dollars, ≥ 0
        """
        layout = Layout(declaration)
        min_count, smoothing = declaration.encoder
        encoders = [
            TextEncoder.fit(texts, used, gate[at], revenue[at], min_count=min_count, smoothing=smoothing)
            for texts, used, at in (
                (columns.texts, _encoded(declaration, layout.texts), columns.owner),
                (columns.campaign_texts, _encoded(declaration, layout.campaign_texts), slice(None)),
            )
        ]
        plan = cls(declaration, encoders[0], encoders[1], None)
        plan.ranks = plan._fit_ranks(columns)
        return plan

    @classmethod
    def unfitted(cls, declaration: Declaration) -> FeaturePlan:
        """The plan with empty vocabularies: its names, before any data are read."""
        layout, (_, smoothing) = Layout(declaration), declaration.encoder
        used = _encoded(declaration, layout.texts), _encoded(declaration, layout.campaign_texts)
        encoders = [TextEncoder(u, [Vocabulary({}, np.zeros((FIRST, 3)))] * len(u), smoothing) for u in used]
        return cls(declaration, encoders[0], encoders[1], None)

    def restricted(self, features: Sequence[str]) -> FeaturePlan:
        """The plan of some of its features: their columns of X, in the same order and to the last bit.

        What only the others needed is not computed any more; what requests and histories look like does not change.

        Parameters
        ----------
        features : sequence of str
            Any of `names`, in any order.

        Raises
        ------
        DeclarationError
            Where a name is none of the plan's.
        """
        base, layout = needed(self.declaration, features), self.layout
        places = [i for i, name in enumerate(self._ranked) if name + RANK in features]
        return FeaturePlan(
            self.declaration,
            needed_texts(self.user_encoder, layout.texts, base),
            needed_texts(self.row_encoder, layout.campaign_texts, base),
            needed_ranks(self.ranks, places),
            features,
        )

    def transform(self, columns: Columns) -> Floats:
        """X of shape (n_rows, len(names)): float64, C order, float32 grid, missing as `MISSING`."""
        if self._narrowed is not None:
            columns = self._narrowed(columns)
        if self.twin is not None and self.twin.accepts(columns):
            return self.twin.transform(columns)
        encoded = self.user_encoder.transform(columns.texts), self.row_encoder.transform(columns.campaign_texts)
        return self._finish(columns, *encoded)

    def transform_requests(self, requests: Sequence[RawRequest]) -> tuple[Floats, Ints, dict[str, int]]:
        """Features of requests as they were parsed.

        Parameters
        ----------
        requests : sequence of RawRequest, length ≥ 1

        Returns
        -------
        X : ndarray of shape (n_rows, len(names)), as of `transform`
        state : ndarray of shape (n_rows,), int64
            The history state of each row.
        unseen : dict of str to int
            As of `unseen`.
        """
        if self.twin is not None and (found := self.twin.requests.transform(requests)) is not None:
            return found
        columns = assemble(self.layout, requests)
        return self.transform(columns), columns.row_state, self.unseen(columns)

    def transform_out_of_fold(self, columns: Columns, gate: Floats, revenue: Floats, fold: Ints) -> Floats:
        """X of the training rows, target statistics taken from the other folds only.

        Parameters
        ----------
        columns : the Columns that `fit` saw, one row a user
        gate, revenue : ndarray of shape (n_rows,), float64
        fold : ndarray of shape (n_rows,), int64
        """
        user = self.user_encoder.transform_out_of_fold(columns.texts, gate, revenue, fold)
        row = self.row_encoder.transform_out_of_fold(columns.campaign_texts, gate, revenue, fold)
        return self._finish(columns, user, row)

    def unseen(self, columns: Columns) -> dict[str, int]:
        """Encoded field → number of cells whose text was never seen in training; fields without such are left out."""
        blocks = ((self.user_encoder, self.layout.texts, columns.texts),
                  (self.row_encoder, self.layout.campaign_texts, columns.campaign_texts))  # fmt: skip
        return {fields[column].name: n for encoder, fields, texts in blocks for column, n in encoder.unseen(texts)}

    def _finish(self, columns: Columns, user_encoded: Floats, row_encoded: Floats) -> Floats:
        if self._narrowed is not None:
            columns = self._narrowed(columns)
        base = self._base(columns, user_encoded, row_encoded)
        parts = [base.take(self.keep, axis=1)]  # take keeps C order, fancy indexing does not
        for (names, left, right), ratio in ((self.ratios, True), (self.products, False)):
            if names:
                a, b = base.take(left, axis=1), base.take(right, axis=1)
                parts.append(a / np.where(b == 0.0, np.nan, b) if ratio else a * b)
        if self._ranked and self.ranks is not None:
            values = base.take(self.ranked, axis=1)
            parts.append(self.ranks.transform(self.cohort_texts(columns), values))
        return _grid(np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0])

    def _base(self, columns: Columns, user_encoded: Floats, row_encoded: Floats) -> Floats:
        """(n_rows, n_base) every feature that needs no other one, in the order of `_base_features`."""
        now = columns.now[:, None]
        user = np.concatenate(
            (
                self.scalars.transform(columns),
                self.aggregates.transform(columns),
                _ages(columns.user_lookups, now, self.user_ages),
                user_encoded,
            ),
            axis=1,
        )
        row = (_ages(columns.row_lookups, now[columns.owner], self.row_ages), row_encoded, columns.campaign_numbers)
        # Rounded to float32 before anything derives from it, so that ratios see what the trees see.
        return _rounded(np.concatenate((user[columns.owner], *row), axis=1))

    def _base_features(self) -> list[tuple[str, str]]:
        layout = self.layout
        aggregates = ("recency" if r else "aggregates" for r in self.aggregates.recency)
        return [
            *zip(self.scalars.names, self.scalars.groups, strict=True),
            *zip(self.aggregates.names, aggregates, strict=True),
            *((k.name, "lookups") for k in layout.user_lookups),
            *_encoding_names(self.user_encoder, [f.name for f in layout.texts]),
            *((k.name, "lookups") for k in layout.row_lookups),
            *_encoding_names(self.row_encoder, [f.name for f in layout.campaign_texts]),
            *((f.name, "context") for f in layout.campaign_numbers),
        ]

    def _declared(self, name: str, group: str) -> bool:
        if group != "encodings":
            return True
        field, _, kind = name.rpartition(".")
        return kind in self.declaration.encodings[field]

    def _wanted(self, name: str) -> bool:
        return self.features is None or name in self.features

    def _pairs(self, section: str, on: dict[str, str]) -> tuple[list[str], list[int], list[int]]:
        """Declared pairs whose two features are switched on: names, and positions of both in the base."""
        names, left, right = [], [], []
        for name, pair in self.declaration.pairs(section).items():
            if not self._wanted(name):
                continue
            self._known(f"{section}.{name}", pair)
            if self.declaration.group(section) and all(p in on for p in pair):
                names.append(name)
                left.append(self._all[pair[0]])
                right.append(self._all[pair[1]])
        return names, left, right

    def _ranked_names(self, on: dict[str, str]) -> list[str]:
        names = [n for n in map(str, self.declaration.ranks.get("features", ())) if self._wanted(n + RANK)]
        self._known("ranks.features", names)
        return [n for n in names if n in on] if self.declaration.group("ranks") else []

    def _known(self, where: str, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._all:
                raise DeclarationError(f"{where}: expected the name of a feature, received {name!r}")

    def _fit_ranks(self, columns: Columns) -> CohortRanks | None:
        if not self._ranked:
            return None
        section = self.declaration.ranks
        encoded = self.user_encoder.transform(columns.texts), self.row_encoder.transform(columns.campaign_texts)
        values = self._base(columns, *encoded).take(self.ranked, axis=1)
        return CohortRanks.fit(
            self._cohort_keys(),
            [c for c in section.get("cohorts", ()) if c],
            self.cohort_texts(columns),
            values,
            min_rows=int(section.get("min_rows", 500)),
            n_quantiles=int(section.get("quantiles", 32)),
        )

    def _cohort_keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(k for cohort in self.declaration.ranks.get("cohorts", ()) for k in cohort))

    def cohort_texts(self, columns: Columns) -> list[tuple[Sequence[str | None], Ints | None]]:
        """For each cohort key the entries of its column, and the rows' codes among them.

        Codes are None where entry i is row i's.
        """
        found: list[tuple[Sequence[str | None], Ints | None]] = []
        one_row_each = columns.one_row_each
        for of_user, j in self.cohort_places:
            texts = columns.texts if of_user else columns.campaign_texts
            entries = texts.entries[texts.starts[j] : texts.starts[j + 1]]
            if texts.plain and (one_row_each or not of_user):
                found.append((entries, None))
            else:
                codes = texts.codes[:, j] - texts.starts[j]
                found.append((entries, codes[columns.owner] if of_user else codes))
        return found

    @property
    def fingerprint(self) -> str:
        """sha256 over the declaration, the names and the fitted state."""
        digest = hashlib.sha256(self.declaration.fingerprint.encode())
        digest.update("\n".join(self.names).encode())
        for part in self._fitted.parts():
            digest.update(part)
        return digest.hexdigest()

    @property
    def _fitted(self) -> Fitted:
        chosen = None if self.features is None else self.names
        return Fitted(self.user_encoder, self.row_encoder, self.ranks, chosen)

    def save(self, directory: Path) -> None:
        """Write the fitted state (`app.features.fitted`)."""
        self._fitted.save(directory)

    @classmethod
    def load(cls, declaration: Declaration, directory: Path) -> FeaturePlan:
        """Read what `save` wrote, and the compiled twin where the directory holds one.

        Raises
        ------
        BundleCorrupt
            The files are missing or are no fitted state of this declaration.
        """
        fitted = Fitted.load(directory)
        try:
            plan = cls(declaration, fitted.user_encoder, fitted.row_encoder, fitted.ranks, fitted.features)
        except (IndexError, KeyError) as fault:
            raise BundleCorrupt(f"{directory}: encoders of another declaration ({type(fault).__name__})") from fault
        except DeclarationError as fault:
            raise BundleCorrupt(f"{directory}: {fault}") from fault
        if (directory / LIBRARY).exists():
            plan.twin = Twin(directory / LIBRARY, plan)
        return plan


def _temporal(layout: Layout, lookups: Sequence[Lookup]) -> Floats:
    return np.array([layout.lookup_kind(k).temporal for k in lookups], dtype=np.float64)


def _ages(found: Floats, now: Floats, temporal: Floats) -> Floats:
    """Lookups as features: seconds as hours before now, a lacking key as -1, unknown as NaN."""
    hours = np.maximum((found - now) * HOURS, 0.0)
    return np.where(found == NOT_FOUND, _LACKING, np.where(temporal == 1.0, hours, found))


def _encoded(declaration: Declaration, fields: Sequence[Field]) -> list[int]:
    return [j for j, f in enumerate(fields) if f.name in declaration.encodings]


def _encoding_names(encoder: TextEncoder, fields: Sequence[str]) -> list[tuple[str, str]]:
    return [(f"{fields[c]}.{kind}", "encodings") for c in encoder.columns for kind in ENCODINGS]


def _rounded(values: Floats) -> Floats:
    """Onto the float32 grid, within its range, +0.0 for -0.0."""
    clipped = np.minimum(np.maximum(values, -FLOAT32_MAX), FLOAT32_MAX)
    return clipped.astype(np.float32).astype(np.float64) + 0.0


def _grid(values: Floats) -> Floats:
    out = np.ascontiguousarray(_rounded(values))
    out[np.isnan(out)] = MISSING
    return out
