"""Tests of app/api/refusals.py."""

from __future__ import annotations

import pytest

from app.api.refusals import leads_to_predict

FORMS = [
    b"/predict",
    b"/predict?",
    b"/predict?a=/health",
    b"/predict#a",
    b"http://pltv/predict",
    b"https://a:1/predict?x",
]
ESCAPED = [b"/%70redict", b"/predic%74?x", b"http://pltv/%70%72edict"]
PATHS = [
    b"/",
    b"/predict/",
    b"/predict/batch",
    b"/Predict",
    b"/health/live?/predict",
    b"http://predict/",
    b"http://pltv",
]
NONE = [b"", b"*", b"//predict", b"pltv:80", b"http://[", b"/\xffpredict", b"/%ff"]


@pytest.mark.parametrize("target", [*FORMS, *ESCAPED])
def test_every_form_of_the_target_leads_to_predict(target: bytes) -> None:
    """Whatever stands before or after the path, and however the path is escaped."""
    assert leads_to_predict(target)


@pytest.mark.parametrize("target", [*PATHS, *NONE])
def test_nothing_else_does(target: bytes) -> None:
    """Health and metrics are never turned away, nor is what is no target at all."""
    assert not leads_to_predict(target)
