"""Bundles and rows, looked at by people: prices and what drives them, distributions, calibration, two bundles.

    catalogue ─▶ rows ─▶ scoring ─▶ explanation, distributions, judging, comparing ─▶ charts ─▶ views

All but `session`, `frame`, `views` and `main` know nothing of Streamlit: they are functions of bundles and rows.
"""
