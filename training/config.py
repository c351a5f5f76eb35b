"""The section `training:` of a declaration file: a YAML file enters, a checked declaration and configuration leave."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import Field, ValidationError, model_validator

from app.errors import DeclarationError
from app.features.spec import Declaration
from training.data.schema import outcomes
from training.data.weights import Weighting
from training.learning.options import (
    BasesConfig,
    BoosterConfig,
    CalibrationConfig,
    ClassifierConfig,
    Count,
    MetaConfig,
    Positive,
    RegressorConfig,
    Section,
    SelectionConfig,
    Share,
    Strategy,
)
from training.tracking.options import TrackingConfig

FORMS_OF: Final[dict[Strategy, tuple[str, ...]]] = {
    "two_stage": ("ratios", "separate", "chain", "smeared", "increments", "experts"),
    "converting_only": ("ratios", "separate"),
    "direct": ("separate", "increments"),
}
"""Forms of the regressors that go with a strategy."""


class SplitConfig(Section):
    """Where in time the rows are cut: shares of the hour partitions, or the first hours of the later two parts.

    `train_until` and `calibration_until` are exclusive ends; both or none.
    """

    calibration: Share = 0.15
    validation: Share = 0.2
    train_until: datetime | date | None = None
    calibration_until: datetime | date | None = None

    @model_validator(mode="after")
    def _fits(self) -> SplitConfig:
        if (self.train_until is None) != (self.calibration_until is None):
            raise ValueError("train_until and calibration_until go together")
        if self.calibration + self.validation >= 1.0:
            raise ValueError("calibration and validation leave nothing to train on")
        return self

    def options(self) -> dict[str, Any]:
        """As `training.data.splits.temporal_split` reads it."""
        if self.train_until is not None:
            return {"train_until": self.train_until, "calibration_until": self.calibration_until}
        return {"calibration": self.calibration, "validation": self.validation}


class MaturityConfig(Section):
    """`as_of` is the time the labels were read; None counts every label as mature.

    `embargo` trains what could have been deployed: training and calibration know only the labels that were mature when
    the validation begins, and the validation is judged by all that are known by `as_of`.
    """

    as_of: datetime | date | None = None
    embargo: bool = False


class SamplingConfig(Section):
    """Fewer rows, for machines that are small.

    `max_partitions` hours evenly over time are all that is read; of the training part a `train_frac` share of the
    rows, drawn one by one, and of calibration and validation about `heldout_rows` each, which are held in memory.
    """

    train_frac: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    max_partitions: Annotated[int, Field(ge=3)] | None = None
    heldout_rows: Count | None = 500_000


class SampleWeightConfig(Section):
    """Rows that stand for more or fewer than themselves: `column` of the data, a weight above `clip` counting as that.

    Learners, calibration and the figures of the report honour it (`training.data.weights`).
    """

    column: str
    clip: Positive | None = None


class MultiplierConfig(Section):
    """clip((ltv / reference)^alpha, lo, hi), with a reference a value of the campaign's column `by`.

    A reference is shrunk to that of all rows as if by `prior_rows` more rows.
    """

    by: str
    horizon: Count = 7
    alpha: Positive = 1.0
    lo: Positive = 0.1
    hi: Positive = 10.0
    prior_rows: Positive = 200.0

    @model_validator(mode="after")
    def _ordered(self) -> MultiplierConfig:
        if self.lo >= self.hi:
            raise ValueError("lo must be below hi")
        return self


class PriorConfig(Section):
    """Cohorts that answer in the model's place, most specific first, shrunk to the next level by `prior_rows` rows."""

    levels: tuple[tuple[str, ...], ...] = ()
    prior_rows: Positive = 100.0


class ReportConfig(Section):
    """The validation report: bootstrap replicates of its intervals, trees a baseline, columns to look at bias in.

    No baseline is fitted with `baseline_rounds: 0`, and nothing is drawn with `pictures: false`.
    """

    replicates: Count = 200
    baseline_rounds: Annotated[int, Field(ge=0)] = 120
    pictures: bool = True
    cohorts: tuple[str, ...] = ()


class TrainingConfig(Section):
    """All of `training:`. `threads` is fixed so that the same data and seed give the same models.

    `strategy`: `two_stage` multiplies P(buy) by what buyers pay; `converting_only` learns from buyers and leaves the
    gate out of the price; `direct` learns from all rows (`training.learning.strategies`).

    With `tracking` every training is told to MLflow, as by `pltv train --track`.
    """

    split: SplitConfig = SplitConfig()
    maturity: MaturityConfig = MaturityConfig()
    sampling: SamplingConfig = SamplingConfig()
    sample_weight: SampleWeightConfig | None = None
    history_mask: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.15
    folds: Annotated[int, Field(ge=2)] = 5
    seed: Annotated[int, Field(ge=0)] = 7
    threads: Count = 2
    strategy: Strategy = "two_stage"
    classifier: ClassifierConfig
    regressors: RegressorConfig
    log_mean: BoosterConfig | None = None
    meta: MetaConfig | None = None
    bases: BasesConfig | None = None
    selection: SelectionConfig | None = None
    calibration: CalibrationConfig = CalibrationConfig()
    multiplier: MultiplierConfig
    prior: PriorConfig = PriorConfig()
    report: ReportConfig = ReportConfig()
    tracking: TrackingConfig | None = None

    @model_validator(mode="after")
    def _has_log_mean(self) -> TrainingConfig:
        if self.log_mean is None and (self.meta is None or self.meta.ship != "always"):
            raise ValueError("log_mean, or meta with `ship: always`, must be there to learn E[log1p y]")
        return self

    @model_validator(mode="after")
    def _bases_are_read(self) -> TrainingConfig:
        if self.bases is not None and self.meta is None:
            raise ValueError("bases expects meta, which reads their scores")
        return self

    @model_validator(mode="after")
    def _strategy_fits(self) -> TrainingConfig:
        own = self.regressors
        forms = FORMS_OF[self.strategy]
        if own.form not in forms:
            expected = " or ".join(forms)
            raise ValueError(f"strategy {self.strategy} expects regressors.form {expected}, received {own.form!r}")
        if self.strategy == "direct" and own.objective != "tweedie":
            raise ValueError(f"strategy direct expects regressors.objective tweedie, received {own.objective!r}")
        if self.strategy == "direct" and own.resampling is not None:
            raise ValueError("strategy direct expects no regressors.resampling, which is of buyers")
        return self

    @property
    def weighting(self) -> Weighting | None:
        """The column of weights, where there is one."""
        found = self.sample_weight
        return None if found is None else Weighting(found.column, found.clip)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], declaration: Declaration) -> TrainingConfig:
        """Check a parsed section.

        Raises
        ------
        DeclarationError
            One line: the key, what was expected and what came.
        """
        try:
            config = cls.model_validate(dict(raw))
        except ValidationError as error:
            raise DeclarationError(_one_line(error)) from None
        horizons = declaration.targets.horizons
        if config.multiplier.horizon not in horizons:
            received = f"received {config.multiplier.horizon}"
            raise DeclarationError(f"training.multiplier.horizon: expected one of {list(horizons)}, {received}")
        texts = {f.name for s in ("request", "campaign") for f in declaration.scope(s) if f.kind == "category"}
        named = {
            "prior.levels": [name for level in config.prior.levels for name in level],
            "report.cohorts": config.report.cohorts,
            "multiplier.by": [config.multiplier.by],
        }
        for key, names in named.items():
            if unknown := [name for name in names if name not in texts]:
                expected = "a category of the request or campaign"
                raise DeclarationError(f"training.{key}: expected {expected}, received {unknown[0]!r}")
        used = {f.name for f in declaration.fields} | outcomes(declaration) | {declaration.row_id}
        if config.sample_weight is not None and (column := config.sample_weight.column) in used:
            expected = "a column that is neither feature nor target nor identity"
            raise DeclarationError(f"training.sample_weight.column: expected {expected}, received {column!r}")
        return config

    def sampled(self, **sampling: float | int | None) -> TrainingConfig:
        """Return the configuration with other sampling; None leaves what was configured.

        Raises
        ------
        DeclarationError
            One line: the key, what was expected and what came.
        """
        given = {key: value for key, value in sampling.items() if value is not None}
        try:
            section = SamplingConfig.model_validate({**self.sampling.model_dump(), **given})
        except ValidationError as error:
            raise DeclarationError(_one_line(error, "training.sampling")) from None
        return self.model_copy(update={"sampling": section})


def load(path: Path) -> tuple[Declaration, TrainingConfig]:
    """Read a declaration file.

    Parameters
    ----------
    path : Path
        YAML, such as `config/smadex.yaml`.

    Raises
    ------
    DeclarationError
        One line that names the file and, where it can, the line or the key.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeclarationError(f"{path}: can not be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not text"
        raise DeclarationError(f"{path}{where}: not YAML ({problem})") from None
    if not isinstance(raw, dict):
        raise DeclarationError(f"{path}: expected a mapping, received {type(raw).__name__}")
    try:
        declaration = Declaration.from_dict(raw)
        section = raw.get("training")
        if not isinstance(section, dict):
            raise DeclarationError(f"training: expected a mapping, received {type(section).__name__}")
        return declaration, TrainingConfig.from_dict(section, declaration)
    except DeclarationError as error:
        raise DeclarationError(f"{path}: {error}") from None


def _one_line(error: ValidationError, section: str = "training") -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join((section, *(str(part) for part in first["loc"])))
    if first["type"] == "extra_forbidden":
        return f"{where}: no such key"
    if first["type"] == "missing":
        return f"{where}: is missing"
    received = "" if first["type"] == "value_error" else f", received {first['input']!r}"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{received}"
