"""What the learners are told: the sections of `training:` that configure them, checked and immutable."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Strategy = Literal["two_stage", "converting_only", "direct"]


class Section(BaseModel):
    """A part of the configuration: immutable, and every key must be known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BoosterConfig(Section):
    """A gradient-boosted model: trees, leaves a tree, and what keeps them from learning noise."""

    rounds: Count
    leaves: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    min_leaf: Count
    l2: Annotated[float, Field(ge=0.0)] = 1.0
    feature_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    bagging_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0


class ResamplingConfig(Section):
    """How rare revenue is made to count for more: `training.learning.resampling`.

    `histos` sees rare rows more often, `histus` common rows less often; as `weights`, or as `samples` that are drawn.
    `bins` of equal width over log1p revenue; `strength` is B and `decay` is A of the method.
    """

    method: Literal["histos", "histus"]
    mode: Literal["weights", "samples"] = "weights"
    bins: Count = 20
    strength: Positive = 1.0
    decay: Annotated[float, Field(ge=1.0)] = 1.02


class ClassifierConfig(BoosterConfig):
    """P(buy). `negatives_kept` is the share of the other rows that it sees, `positive_weight` what a buyer counts.

    The prior that either moves is given back exactly, as a constant on the logit. `resampling` of the buyers by their
    revenue has no such constant: an isotonic curve over rows as they came is served with the gate.
    """

    negatives_kept: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    positive_weight: Positive = 1.0
    resampling: ResamplingConfig | None = None

    @model_validator(mode="after")
    def _one_remedy(self) -> ClassifierConfig:
        if self.resampling is not None and (self.negatives_kept != 1.0 or self.positive_weight != 1.0):
            raise ValueError("resampling goes with neither negatives_kept nor positive_weight")
        return self


class ExpertsConfig(Section):
    """Segments of payers' revenue: how many, the share of payers that are whales (the last segment), and the trees that
    weigh the segments (the regressors' unless given).
    """

    segments: Annotated[int, Field(ge=2, le=16)] = 4
    whales: Share = 0.01
    selector: BoosterConfig | None = None


class RegressorConfig(BoosterConfig):
    """Revenue by horizon. `form`: how the horizons come of the trees.

    `ratios` learns the gate's horizon, and the others as ratios to it; `separate` each by itself; `chain` each from the
    one before; `smeared` each by least squares on log1p, with the factor that gives the mean back; `increments` what
    each adds to the one before; `experts` the gate's horizon as a sum over segments of payers, the others as ratios.

    `objective`, on payers: `lognormal` is least squares on log revenue, `huber` (beyond `huber_delta` linear) and
    `quantile` its robust kin, `gamma` the mean with a log link. On all buyers, those without revenue among them:
    `tweedie` is the mean, `msle` least squares and `huber_log` a pseudo-Huber loss on log1p of it. `ratio_rounds`
    trees a horizon are added for the ratio of its revenue to the gate's horizon's (`ratios`, `experts`).
    `order_penalised` is MSLE of all horizons at once, without ratios: what a horizon exceeds the next by, in units of
    mean revenue, costs `order_weight` times that.
    """

    objective: Literal["lognormal", "gamma", "tweedie", "quantile", "huber", "msle", "huber_log", "order_penalised"] = (
        "lognormal"
    )
    tweedie_power: Annotated[float, Field(gt=1.0, lt=2.0)] = 1.7
    quantile: Share = 0.5
    huber_delta: Positive = 1.0
    order_weight: Positive = 1.0
    ratio_rounds: Annotated[int, Field(ge=0)] = 30
    resampling: ResamplingConfig | None = None
    form: Literal["ratios", "separate", "chain", "smeared", "increments", "experts"] = "ratios"
    experts: ExpertsConfig | None = None

    @model_validator(mode="after")
    def _fits(self) -> RegressorConfig:
        needed = {"smeared": "msle", "increments": "tweedie", "experts": "gamma"}.get(self.form, self.objective)
        if self.objective != needed:
            raise ValueError(f"form {self.form} expects objective {needed}, received {self.objective!r}")
        if self.form == "chain" and self.objective in ("quantile", "order_penalised"):
            raise ValueError(
                f"form chain expects an objective of one horizon by gradients, received {self.objective!r}"
            )
        if self.resampling is not None and self.form not in ("ratios", "separate"):
            raise ValueError(f"resampling expects form ratios or separate, received {self.form!r}")
        if self.experts is not None and self.form != "experts":
            raise ValueError(f"experts expects form experts, received {self.form!r}")
        if self.form == "experts" and self.ratio_rounds == 0:
            raise ValueError("form experts expects ratio_rounds of at least 1, received 0")
        return self


class CalibrationConfig(Section):
    """At most `max_knots` knots a curve, each standing for at least `min_events` buyers.

    `probability` is the curve of P(buy): `binned` ratios that are shrunk by their noise, `isotonic`, or `beta`.
    """

    probability: Literal["binned", "isotonic", "beta"] = "binned"
    max_knots: Annotated[int, Field(ge=1, le=64)] = 24
    min_events: Count = 100


class EliminationConfig(Section):
    """Recursive elimination: a `drop` share of the features left goes in each step, the weakest first.

    It stops after `patience` steps in a row whose out-of-fold loss exceeds the best one by more than `tolerance` of it.
    """

    drop: Share = 0.2
    patience: Count = 2
    tolerance: Annotated[float, Field(ge=0.0)] = 0.002


class SelectionConfig(Section):
    """Which features the plan keeps: `training.learning.feature_selection`.

    A feature goes if its variance is at most `least_variance` of its mean square, if its rank correlation with a
    stronger one is above `most_correlation`, or if it is beyond the fewest that hold `importance_kept` of the `gain` or
    `shap` of probes of `rounds` trees. Judged on at most `rows` rows.
    """

    least_variance: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    most_correlation: Annotated[float, Field(gt=0.0, le=1.0)] = 0.995
    importance: Literal["gain", "shap"] = "shap"
    importance_kept: Annotated[float, Field(gt=0.0, le=1.0)] = 0.999
    elimination: EliminationConfig | None = None
    rounds: Count = 60
    rows: Count = 100_000


class MetaConfig(BoosterConfig):
    """The meta-learner. `ship`: `auto` keeps it where it wins on the calibration rows, `always` in any case.

    `log_loss` of its head of E[log1p y]: `squared`, or `huber`, which is linear beyond `huber_delta` and so estimates
    something between the mean and the median. `auto` fits both and answers with the one whose squared error is smaller
    out of fold.
    """

    ship: Literal["auto", "always"] = "auto"
    log_loss: Literal["squared", "huber", "auto"] = "squared"
    huber_delta: Positive = 1.0


class LinearConfig(Section):
    """An elastic net: `alpha` times (`l1_ratio` · |w| + (1 - l1_ratio)/2 · w²), on standardised features."""

    alpha: Positive = 0.05
    l1_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5


class ForestConfig(Section):
    """A random forest: trees, leaves a tree, the fewest rows of a leaf, and the share of features a split may see.

    A tree grows on a `bagging_fraction` of the rows, drawn with replacement.
    """

    trees: Count = 20
    leaves: Annotated[int, Field(ge=2)] = 8
    min_leaf: Count = 20
    feature_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.33
    bagging_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25


class BasesConfig(Section):
    """Base learners of another kind, whose scores the meta-learner reads too: `training.learning.bases`.

    Each learns log1p revenue of all rows; null leaves one out. They are fitted on at most `rows` rows, evenly over
    time. Small, since trees cost microseconds online.
    """

    linear: LinearConfig | None = LinearConfig()
    forest: ForestConfig | None = ForestConfig()
    xgboost: BoosterConfig | None = BoosterConfig(rounds=30, leaves=6, learning_rate=0.15, min_leaf=20)
    rows: Count = 200_000

    @model_validator(mode="after")
    def _any(self) -> BasesConfig:
        if self.linear is None and self.forest is None and self.xgboost is None:
            raise ValueError("linear, forest or xgboost must be there")
        return self
