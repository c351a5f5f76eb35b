"""The rows' prices in a table, and for one of them how its price comes about."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import streamlit as st

from training.dashboard import charts, scoring, session
from training.dashboard.explanation import contributions, steps, waterfall
from training.dashboard.views.chosen import Chosen
from training.evaluation.contributions import Contributions
from training.evaluation.pictures.explanations import beeswarm

BARS = 14
UNITS = {"gate": "log-odds of a purchase"}
DOLLARS = "logarithm of US dollars"


def show(chosen: Chosen) -> None:
    """Draw the page."""
    st.title("Predictions")
    _totals(chosen)
    row = _pick(chosen)
    if row is not None:
        _explain(chosen, row)
    _drivers(chosen)


def _totals(chosen: Chosen) -> None:
    found, rows = scoring.totals(chosen.answered), chosen.answered.rows
    st.caption(
        f"{len(rows):,} of {rows.total:,} rows. Expected revenue in US dollars per "
        f"{chosen.bundle.predictor.declaration.label_unit}; means of the rows shown."
    )
    places = st.columns(2 + len(chosen.horizons))
    places[0].metric("Rows", f"{len(rows):,}")
    realised = f"{found['buyers']:.2%} bought" if "buyers" in found else None
    places[1].metric("P(buy)", f"{found['p_buyer']:.2%}", realised, delta_color="off", delta_arrow="off")
    for place, horizon in zip(places[2:], chosen.horizons, strict=True):
        came = f"${found[f'revenue_d{horizon}']:.3f} came" if f"revenue_d{horizon}" in found else None
        label = f"Day {horizon}"
        place.metric(label, f"${found[f'ltv_d{horizon}']:.3f}", came, delta_color="off", delta_arrow="off")


def _pick(chosen: Chosen) -> int | None:
    """The table, and the position of the row that was chosen in it or asked for; the dearest to begin with."""
    targets = chosen.bundle.predictor.declaration.targets
    lines = scoring.table(chosen.answered)
    order = np.argsort(-chosen.answered.predictions.ltv[:, targets.log_mean_index], kind="stable")
    shown = lines.take(order)
    dollars = [name for name in lines.column_names if name.startswith(("ltv_", "log_mean", "revenue_", "expected_"))]
    numbers: dict[str, Any] = {name: st.column_config.NumberColumn(format="$%.4f") for name in dollars}
    numbers["hour"] = st.column_config.DatetimeColumn(format="YYYY-MM-DD HH[h]", timezone="UTC")
    numbers["p_buyer"] = st.column_config.NumberColumn(format="%.4f")
    picked = st.dataframe(
        shown, hide_index=True, on_select="rerun", selection_mode="single-row", column_config=numbers, height=330
    )
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    wanted = left.text_input("Row", placeholder="a row_id; or choose a line of the table", key="row_id").strip()
    content = scoring.csv_of(lines)
    right.download_button("Download as CSV", content, "predictions.csv", "text/csv", width="stretch")
    if wanted:
        place = pc.index(lines["row_id"], wanted).as_py()
        if place < 0:
            st.warning("No row that is shown has this row_id.")
            return None
        return int(place)
    chosen_lines = picked["selection"]["rows"]
    return int(order[chosen_lines[0] if chosen_lines else 0])


def _explain(chosen: Chosen, row: int) -> None:
    answered, predictor = chosen.answered, chosen.bundle.predictor
    st.subheader(f"How the price of {answered.rows.sample.row_id[row]} comes about")
    state = int(answered.rows.sample.columns.row_state[row])
    found = steps(predictor.ensemble, np.ascontiguousarray(answered.X[row : row + 1]), state)
    lines = [
        {"step": s.what, "P(buy)": s.p_buyer, **dict(zip((f"day {h}" for h in chosen.horizons), s.ltv, strict=True))}
        for s in found
    ]
    form = {f"day {h}": st.column_config.NumberColumn(format="$%.4f") for h in chosen.horizons}
    st.dataframe(lines, hide_index=True, column_config={"P(buy)": st.column_config.NumberColumn(format="%.5f"), **form})
    explained = contributions(answered, session.boosters(chosen.bundle), row)
    if not explained:
        st.info("The bundle holds no text of its models: contributions can not be computed.")
        return
    _contributions(explained)
    with st.expander("Every feature of the row"):
        st.dataframe(_features(explained, answered.X[row].tolist()), hide_index=True)


def _contributions(explained: list[Contributions]) -> None:
    by_name = {one.model: one for one in explained}
    model = st.segmented_control("Model", [*by_name], default=explained[0].model, required=True)
    one = by_name[model]
    st.vega_lite_chart(charts.waterfall(waterfall(one, BARS), UNITS.get(one.model, DOLLARS)), width="stretch")
    st.caption(
        "Exact TreeSHAP: contributions add up from the model's mean score in training to this row's raw score, before "
        "the steps above turn scores into dollars."
    )


def _features(explained: list[Contributions], values: list[float]) -> list[dict[str, object]]:
    """Value and contributions to each model, feature by feature, as the bundle orders them."""
    return [
        {
            "feature": name,
            "value": value if np.isfinite(value) else None,
            **{one.model: float(one.phi[0, i]) for one in explained},
        }
        for i, (name, value) in enumerate(zip(explained[0].names, values, strict=True))
    ]


def _drivers(chosen: Chosen) -> None:
    models = [*session.boosters(chosen.bundle)]
    if not models:
        return
    st.subheader("What drives the prices of all rows shown")
    model = st.segmented_control("Model of all rows", models, default=None)
    if model is None:
        st.caption("Choose a model to explain up to 2,000 of the rows: some seconds.")
        return
    one = session.explained(chosen.source, chosen.answered, model)
    with tempfile.TemporaryDirectory(prefix="pltv-pictures-") as place:
        path = Path(place) / "beeswarm.png"
        beeswarm(path, one)
        st.image(path.read_bytes(), caption="A dot is a row; its colour is the rank of the feature's value.")
