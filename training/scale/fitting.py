"""Texts and labels of all training rows enter; the fitted plan, and a plan a fold that knows nothing of it, leave.

To the last bit what `FeaturePlan.fit` and `transform_out_of_fold` give for the same rows in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.features.columns import Columns, Texts
from app.features.encoders import TextEncoder, Vocabulary
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.ranks import CohortRanks
from app.features.spec import Declaration, Field
from app.features.subset import RANK
from training.learning.boosting import Floats, Ints, Mask

Ranked = Callable[[FeaturePlan], NDArray[np.float32]]


@dataclass(frozen=True)
class FittedPlans:
    """The plan of all training rows, and for each fold the one whose target statistics leave it out."""

    plan: FeaturePlan
    by_fold: dict[int, FeaturePlan]


def ranked_inputs(plan: FeaturePlan) -> FeaturePlan | None:
    """The plan of the features that are ranked; None where there are none."""
    names = ranked_names(plan)
    return plan.restricted(names) if names else None


def ranked_names(plan: FeaturePlan) -> list[str]:
    """Features that are ranked, in the order of their ranks."""
    return [name.removesuffix(RANK) for name, group in zip(plan.names, plan.groups, strict=True) if group == "ranks"]


def needs_encodings(plan: FeaturePlan) -> bool:
    """Whether a ranked feature is an encoding, which has to be fitted first."""
    groups = dict(zip(plan.names, plan.groups, strict=True))
    return any(groups[name] == "encodings" for name in ranked_names(plan))


def fit_plans(
    declaration: Declaration,
    blocks: tuple[Texts, Texts],
    gate: Floats,
    revenue: Floats,
    fold: Ints,
    ranked: Ranked,
) -> FittedPlans:
    """Fit vocabularies, target statistics and ranks.

    Parameters
    ----------
    declaration : Declaration
    blocks : tuple of two Texts of n rows
        Of the user and the request, and of the campaign.
    gate, revenue : ndarray of shape (n,), float64
        As of `FeaturePlan.fit`.
    fold : ndarray of shape (n,), int64
    ranked : callable
        (n, n_ranked) features that are ranked, float32, of the plan that computes them; asked where there are any.
    """
    layout, (min_count, smoothing) = Layout(declaration), declaration.encoder
    user, row = (
        TextEncoder.fit(block, _encoded(declaration, fields), gate, revenue, min_count=min_count, smoothing=smoothing)
        for block, fields in zip(blocks, (layout.texts, layout.campaign_texts), strict=True)
    )
    plan = FeaturePlan(declaration, user, row, None)
    if (inputs := ranked_inputs(plan)) is not None:
        plan.ranks = _fit_ranks(plan, _bare(layout, *blocks), _in_rank_order(plan, inputs, ranked(inputs)))
    weights = np.stack((np.ones_like(gate), gate, np.log1p(revenue) * gate), axis=1)
    by_fold: dict[int, FeaturePlan] = {}
    for k in np.unique(fold).tolist():
        others = [without(e, block, weights, fold == k) for e, block in zip((user, row), blocks, strict=True)]
        by_fold[k] = FeaturePlan(declaration, others[0], others[1], plan.ranks)
    return FittedPlans(plan, by_fold)


def without(encoder: TextEncoder, texts: Texts, weights: Floats, rows: Mask) -> TextEncoder:
    """The encoder with the target statistics of the other rows.

    Parameters
    ----------
    encoder : TextEncoder
    texts : Texts of the n rows that it was fitted on
    weights : ndarray of shape (n, 3)
        What each row counts for: 1, its gate, log1p of its revenue.
    rows : ndarray of shape (n,), bool
        The rows that are left out.
    """
    if not encoder.columns:
        return encoder
    total, own_weights = encoder.sums, weights[rows]
    own = np.zeros_like(total)
    # A column at a time: the places of all at once would take more memory than the texts.
    for column, vocabulary, first in zip(encoder.columns, encoder.vocabularies, encoder.offsets.tolist(), strict=True):
        start, stop = texts.starts[column], texts.starts[column + 1]
        known = np.array(vocabulary.of(texts.entries[start:stop]), dtype=np.int64)
        np.add.at(own, first + known[texts.codes[rows, column] - start], own_weights)
    parts = np.split(total - own, encoder.offsets[1:])
    codes = [vocabulary.codes for vocabulary in encoder.vocabularies]
    left = [Vocabulary(c, sums) for c, sums in zip(codes, parts, strict=True)]
    found = TextEncoder(encoder.columns, left, encoder.smoothing)
    found.table[:, 2] = encoder.table[:, 2]  # the frequency knows no target: it stays the whole training set's
    return found


def _encoded(declaration: Declaration, fields: Sequence[Field]) -> list[int]:
    return [j for j, field in enumerate(fields) if field.name in declaration.encodings]


def _in_rank_order(plan: FeaturePlan, inputs: FeaturePlan, values: NDArray[np.float32]) -> Floats:
    """The ranked features in the order of the ranks; a narrowed plan has them in the order of the plan."""
    return values[:, [inputs.names.index(name) for name in ranked_names(plan)]].astype(np.float64)


def _fit_ranks(plan: FeaturePlan, columns: Columns, values: Floats) -> CohortRanks:
    section = plan.declaration.ranks
    cohorts = [cohort for cohort in section.get("cohorts", ()) if cohort]
    return CohortRanks.fit(
        tuple(dict.fromkeys(key for cohort in cohorts for key in cohort)),
        cohorts,
        plan.cohort_texts(columns),
        values,
        min_rows=int(section.get("min_rows", 500)),
        n_quantiles=int(section.get("quantiles", 32)),
    )


def _bare(layout: Layout, texts: Texts, campaign_texts: Texts) -> Columns:
    """Columns of which nothing but the texts is known."""
    n = len(texts.codes)
    return Columns(
        owner=np.arange(n, dtype=np.int64),
        now=np.zeros(n),
        state=np.zeros(n, dtype=np.int64),
        numbers=np.empty((n, 0)),
        campaign_numbers=np.empty((n, 0)),
        texts=texts,
        campaign_texts=campaign_texts,
        counts=np.empty((n, 0), dtype=np.int64),
        values=np.empty(0),
        segment_major=True,
        user_lookups=np.empty((n, 0)),
        row_lookups=np.empty((n, 0)),
    )
