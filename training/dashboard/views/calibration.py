"""Whether the prices are right: figures with intervals, and the report's pictures, of the rows at hand."""

from __future__ import annotations

import streamlit as st

from training.dashboard import judging, session
from training.dashboard.rows import taught
from training.dashboard.scoring import Answered
from training.dashboard.views.chosen import Chosen


def show(chosen: Chosen) -> None:
    """Draw the page."""
    st.title("Calibration")
    if (reason := judging.too_few(chosen.answered)) is not None:
        st.info(reason)
        return
    warn_of_taught_hours(chosen.answered)
    found = session.evaluation(chosen.source, chosen.answered)
    truth = " Where the truth of generated rows is known, `oracle` is what would be best." * (
        chosen.answered.rows.oracle is not None
    )
    st.caption(
        f"{found['rows']:,} rows, {found['buyers']:,} buyers. Brackets and bars are 95 % intervals of "
        f"{found['bootstrap']['replicates']} bootstrap replicates.{truth}"
    )
    for place, (title, value, interval) in zip(st.columns(4), judging.headline(found), strict=True):
        place.metric(title, value, interval, delta_color="off", delta_arrow="off")
    for title, (caption, picture) in session.pictures(chosen.source, chosen.answered).items():
        st.subheader(title)
        st.image(picture, caption=caption)
    for title, lines in judging.figures(found).items():
        st.subheader(title)
        st.dataframe(lines, hide_index=True)


def warn_of_taught_hours(answered: Answered) -> None:
    """Say so where the bundle has seen the answers."""
    hours = taught(answered.rows, answered.bundle.predictor.manifest)
    if hours:
        st.warning(
            f"{hours} of these {len(answered.rows.hours)} hours lie within those that {answered.bundle.name} "
            "learned from: if they are the same rows, it looks better here than it is. Choose later hours."
        )
