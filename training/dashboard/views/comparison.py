"""Two bundles on the same rows: how far their prices agree, where they do not, and which is right."""

from __future__ import annotations

import numpy as np
import streamlit as st

from training.dashboard import charts, comparing, judging, scoring, session
from training.dashboard.distributions import histogram, log_edges
from training.dashboard.scoring import Answered
from training.dashboard.views.calibration import warn_of_taught_hours
from training.dashboard.views.chosen import Chosen

TOP = 12
FURTHEST = 15


def show(chosen: Chosen) -> None:
    """Draw the page."""
    st.title("Comparison")
    others = [name for name in chosen.bundles if name != chosen.bundle.name]
    if not others:
        st.info("There is one bundle only. `make train NAME=second` makes another.")
        return
    name = st.selectbox(f"{chosen.bundle.name} beside", others)
    second = session.answers(session.bundle_at(chosen.bundles[name], chosen.key), chosen.source)
    comparing.check(chosen.answered, second)
    st.subheader("Agreement")
    _agreement(chosen.answered, second)
    horizon = st.segmented_control(
        "Day", chosen.horizons, default=chosen.horizons[len(chosen.horizons) // 2], required=True
    )
    column = chosen.horizons.index(horizon)
    left, right = st.columns(2)
    with left:
        st.subheader("Row by row")
        _scatter(chosen.answered, second, column)
    with right:
        st.subheader("Ratio of the prices")
        _ratios(chosen.answered, second, column)
    st.subheader("By group")
    _groups(chosen.answered, second, column)
    st.subheader("Rows furthest apart")
    _furthest(chosen.answered, second, column)
    st.subheader("Which is right")
    _verdicts(chosen, second)


def _agreement(first: Answered, second: Answered) -> None:
    a, b = first.bundle.name, second.bundle.name
    lines = [
        {
            "day": one.horizon,
            f"mean, {a}": one.mean_first,
            f"mean, {b}": one.mean_second,
            "rank correlation": one.spearman,
            "within 10 %": one.close,
            "shared dearest tenth": one.shared_top,
        }
        for one in comparing.agreement(first, second)
    ]
    form = {f"mean, {name}": st.column_config.NumberColumn(format="$%.4f") for name in (a, b)}
    form |= {n: st.column_config.NumberColumn(format="percent") for n in ("within 10 %", "shared dearest tenth")}
    form["rank correlation"] = st.column_config.NumberColumn(format="%.4f")
    st.dataframe(lines, hide_index=True, column_config=form)


def _scatter(first: Answered, second: Answered, column: int) -> None:
    lines = comparing.pairs(first, second, column)
    st.vega_lite_chart(charts.scatter(lines, first.bundle.name, second.bundle.name), width="stretch")
    st.caption(f"{len(lines):,} rows; on the dashed line both bundles say the same.")


def _ratios(first: Answered, second: Answered, column: int) -> None:
    a, b = first.predictions.ltv[:, column], second.predictions.ltv[:, column]
    ratio = np.exp(comparing.log_ratio(a, b))
    title = f"{second.bundle.name} / {first.bundle.name}"
    lines = histogram(ratio, log_edges(ratio), title)
    st.vega_lite_chart(charts.histograms(lines, title, [title]), width="stretch")


def _groups(first: Answered, second: Answered, column: int) -> None:
    groups = scoring.cohorts(first)
    name = st.selectbox("Group", [*groups])
    lines = comparing.by_group(first, second, column, groups[name], TOP)
    st.vega_lite_chart(charts.dumbbells(lines, first.bundle.name, second.bundle.name), width="stretch")


def _furthest(first: Answered, second: Answered, column: int) -> None:
    rows = comparing.furthest(first, second, column, FURTHEST)
    texts, labels = scoring.texts(first), first.rows.sample.labels.revenue[:, column]
    a, b = first.bundle.name, second.bundle.name
    lines = [
        {
            "row_id": str(first.rows.sample.row_id[i]),
            a: float(first.predictions.ltv[i, column]),
            b: float(second.predictions.ltv[i, column]),
            **({"came": float(labels[i])} if first.rows.labelled else {}),
            **{name: values[i] for name, values in texts.items()},
        }
        for i in rows
    ]
    form = {name: st.column_config.NumberColumn(format="$%.4f") for name in (a, b, "came")}
    st.dataframe(lines, hide_index=True, column_config=form)


def _verdicts(chosen: Chosen, second: Answered) -> None:
    if (reason := judging.too_few(chosen.answered)) is not None:
        st.info(reason)
        return
    for one in (chosen.answered, second):
        warn_of_taught_hours(one)
    found = session.evaluation(chosen.source, chosen.answered, second)
    lines = judging.verdicts(found)
    counts = {word: sum(one["verdict"] == word for one in lines) for word in ("better", "indistinguishable", "worse")}
    st.caption(
        f"{chosen.bundle.name} against {second.bundle.name}, paired over the same bootstrap replicates; an improvement "
        "is positive where the first is better."
    )
    for place, (word, count) in zip(st.columns(3), counts.items(), strict=True):
        place.metric(f"{chosen.bundle.name} {word}", f"{count} of {len(lines)}")
    st.dataframe(lines, hide_index=True)
    with st.expander("Every figure"):
        for title, table in judging.figures(found).items():
            st.markdown(f"**{title}**")
            st.dataframe(table, hide_index=True)
