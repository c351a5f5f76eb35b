"""How the answers are spread, by horizon and by group, and whether the rows are still those of training."""

from __future__ import annotations

import numpy as np
import streamlit as st

from training.dashboard import charts, session
from training.dashboard.distributions import by_group, concentration, histogram, log_edges
from training.dashboard.scoring import cohorts
from training.dashboard.views.chosen import Chosen
from training.evaluation.blocks import figure

TOP = 12
DRIFT_LINES = 40


def show(chosen: Chosen) -> None:
    """Draw the page."""
    st.title("Distributions")
    rows = chosen.answered.rows
    st.caption(f"{len(rows):,} of {rows.total:,} rows, priced by {chosen.bundle.name}.")
    left, right = st.columns([3, 2])
    with left:
        st.subheader("Expected revenue")
        _prices(chosen)
    with right:
        st.subheader("Concentration")
        _concentration(chosen)
    st.subheader("By group")
    _groups(chosen)
    st.subheader("Drift since training")
    _drift(chosen)


def _prices(chosen: Chosen) -> None:
    ltv = chosen.answered.predictions.ltv
    edges, names = log_edges(ltv.ravel()), [f"day {h}" for h in chosen.horizons]
    lines = [line for i, name in enumerate(names) for line in histogram(ltv[:, i], edges, name)]
    st.vega_lite_chart(charts.histograms(lines, "expected revenue, US dollars per install", names), width="stretch")


def _concentration(chosen: Chosen) -> None:
    day = chosen.bundle.predictor.declaration.targets
    lines = concentration(chosen.answered.predictions.ltv[:, day.log_mean_index])
    st.vega_lite_chart(charts.shares(lines), width="stretch")
    st.caption(f"Day {day.log_mean}: how much of what is expected of all rows the dearest bring.")


def _groups(chosen: Chosen) -> None:
    groups, predictions = cohorts(chosen.answered), chosen.answered.predictions
    answers = {
        **{f"day {h}": (predictions.ltv[:, i], "US dollars per install") for i, h in enumerate(chosen.horizons)},
        "P(buy)": (predictions.p_buyer, "P(buy)"),
        "log_mean": (predictions.log_mean, "log_mean, US dollars"),
    }
    left, right = st.columns(2)
    group = left.selectbox("Group", [*groups])
    what = right.selectbox("Of", [*answers], index=[*chosen.horizons].index(chosen.horizons[len(chosen.horizons) // 2]))
    values, title = answers[what]
    lines = by_group(np.maximum(values, 1e-6), groups[group], TOP)
    st.vega_lite_chart(charts.quantiles(lines, title), width="stretch")
    st.caption("Thin: 10 to 90 % of the rows; thick: 25 to 75 %; white tick: the median; red dot: the mean.")
    with st.expander("As a table"):
        st.dataframe(lines, hide_index=True)


def _drift(chosen: Chosen) -> None:
    found = session.drifted(chosen.source, chosen.answered)
    if found is None:
        st.info("The bundle does not hold the distribution of its training rows: drift can not be computed.")
        return
    words = ("stable", "moved", "shifted")
    count = {word: sum(one["verdict"] == word for one in found) for word in words}
    for place, word in zip(st.columns(3), words, strict=True):
        place.metric(f"Columns {word}", f"{count[word]:,}")
    st.caption(
        "Population stability index against the training rows: up to 0.1 stable, above 0.25 shifted. Hours and "
        "weekdays shift by themselves where the data are short."
    )
    st.dataframe(
        [
            {
                "column": one["feature"],
                "verdict": one["verdict"],
                "PSI": figure(one["psi"]),
                "missing in training": one["missing_then"],
                "missing now": one["missing_now"],
            }
            for one in found[:DRIFT_LINES]
        ],
        hide_index=True,
        column_config={
            n: st.column_config.NumberColumn(format="percent") for n in ("missing in training", "missing now")
        },
    )  # fmt: skip
