"""The section `tracking:` of `training:`: whether a training is told to MLflow, and under which names."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from training.learning.options import Section

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/:]+$")]


class TrackingConfig(Section):
    """The experiment that trainings belong to, and the registered model that their bundles are versions of.

    With `register_bundles: false` runs are kept and nothing is registered.
    """

    experiment: Name = "pltv"
    model: Name = "pltv"
    register_bundles: bool = True
