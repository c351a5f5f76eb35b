"""What the bundle is: where it comes from, what it scored when it was made, and its model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.inference.manifest import Manifest
from training.dashboard.views.chosen import Chosen
from training.evaluation.blocks import figure

CARD = "MODEL_CARD.md"
CLASSIFIER = ("auc", "pr_auc", "log_loss", "ece", "brier")
AMOUNTS = ("normalised_gini", "spearman", "msle", "decile_mape", "bias_oracle", "bias_realised")


def show(chosen: Chosen) -> None:
    """Draw the page."""
    manifest = chosen.bundle.predictor.manifest
    st.title(chosen.bundle.name)
    st.caption("Sound: signature where one is asked for, hashes, certificate and golden rows agree.")
    window = manifest.data_window
    places = st.columns(4)
    places[0].metric("Made", manifest.created[:10])
    places[1].metric("Features", f"{len(manifest.feature_names):,}")
    places[2].metric("Trained on", f"{window['train']['rows']:,} rows")
    places[3].metric("Per", f"{manifest.label_unit}, {manifest.currency}")
    left, right = st.columns(2)
    left.subheader("Hours")
    left.dataframe(hours(manifest), hide_index=True)
    right.subheader("Software")
    right.dataframe([{"library": k, "version": v} for k, v in sorted(manifest.versions.items())], hide_index=True)
    st.subheader("Validation when it was made")
    st.caption("Brackets hold 95 % intervals. `Calibration` computes the same on the rows chosen at the side.")
    st.dataframe(scores(manifest.metrics), hide_index=True)
    card = chosen.bundle.path / CARD
    if card.exists():
        with st.expander("Model card"):
            st.markdown(card.read_text(encoding="utf-8"))


def hours(manifest: Manifest) -> list[dict[str, Any]]:
    """First and last hour, and rows, of each part of the split."""
    return [
        {"part": name, "first": part["first"].partition("=")[2], "last": part["last"].partition("=")[2],
         "rows": part["rows"]}
        for name, part in manifest.data_window.items()
    ]  # fmt: skip


def scores(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The manifest's metrics with their intervals, one a line."""
    parts: list[tuple[str, Mapping[str, Any], Sequence[str]]] = [("P(buy)", metrics["p_buyer"], CLASSIFIER)]
    parts += [(f"revenue, day {day[1:]}", found, AMOUNTS) for day, found in metrics["ltv"].items()]
    return [
        {"of": of, "metric": name, "value": figure(found[name])}
        for of, found, names in parts
        for name in names
        if name in found
    ]
