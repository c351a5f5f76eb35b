"""A plan with fewer features: the names that are kept enter, what still has to be computed for them leaves.

Ratios, products and ranks need their inputs whether or not those are features themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from app.features.columns import Columns, Ints
from app.features.encoders import TextEncoder
from app.features.layout import Layout
from app.features.ranks import CohortRanks
from app.features.spec import Declaration, Field, Lookup

RANK = ".rank"


def needed(declaration: Declaration, features: Collection[str]) -> frozenset[str]:
    """The base features that these features are, or derive from."""
    pairs = declaration.pairs("ratios") | declaration.pairs("products")
    found: set[str] = set()
    for name in features:
        found.update(pairs[name] if name in pairs else (name.removesuffix(RANK),))
    return frozenset(found)


def needed_texts(encoder: TextEncoder, fields: Sequence[Field], base: Collection[str]) -> TextEncoder:
    """The encoder of the columns of which any statistic is needed."""
    fed = {name.rpartition(".")[0] for name in base}
    kept = [i for i, column in enumerate(encoder.columns) if fields[column].name in fed]
    vocabularies = [encoder.vocabularies[i] for i in kept]
    return TextEncoder([encoder.columns[i] for i in kept], vocabularies, encoder.smoothing)


def needed_ranks(ranks: CohortRanks | None, kept: Sequence[int]) -> CohortRanks | None:
    """The ranks of the features at these places; None where there are none."""
    return None if ranks is None or not kept else replace(ranks, quantiles=ranks.quantiles[:, list(kept)])


class NarrowLookups:
    """Looks up what is needed only: makes a layout do so, and cuts `Columns` of the whole layout down to it.

    Parameters
    ----------
    layout : Layout
        Its lookups become the needed ones. What a history keeps of its maps, and so its packed form, stays.
    base : collection of str
        Needed base features.
    """

    def __init__(self, layout: Layout, base: Collection[str]) -> None:
        self._user, self._row = (_places(every, base) for every in (layout.user_lookups, layout.row_lookups))
        self._whole = len(layout.user_lookups), len(layout.row_lookups)
        layout.user_lookups = tuple(layout.user_lookups[i] for i in self._user)
        layout.row_lookups = tuple(layout.row_lookups[i] for i in self._row)

    def __call__(self, columns: Columns) -> Columns:
        """The columns with the needed lookups: those of a data set hold every declared one, a request's do not."""
        if (columns.user_lookups.shape[1], columns.row_lookups.shape[1]) != self._whole:
            return columns
        user, row = columns.user_lookups.take(self._user, axis=1), columns.row_lookups.take(self._row, axis=1)
        return replace(columns, user_lookups=user, row_lookups=row)


def _places(lookups: Sequence[Lookup], base: Collection[str]) -> Ints:
    return np.array([i for i, lookup in enumerate(lookups) if lookup.name in base], dtype=np.int64)
