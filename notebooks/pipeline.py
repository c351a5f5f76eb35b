"""From raw rows to a proven bundle, stage by stage, on a market small enough to watch."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A tour of the pipeline")


@app.cell
def _():
    import json
    import tempfile
    from collections import Counter
    from pathlib import Path

    import marimo as mo
    import numpy as np
    import yaml

    from app.features.matrix import FeaturePlan
    from app.inference.predictor import Predictor
    from training.config import load
    from training.dashboard.explanation import contributions, steps, waterfall
    from training.dashboard.judging import figures
    from training.dashboard.rows import default_hours, read_rows
    from training.dashboard.scoring import Loaded, answer
    from training.data.dataset import Dataset
    from training.data.splits import temporal_split
    from training.data.synthetic import generate
    from training.evaluation.contributions import load_models
    from training.pipeline import train
    from training.samples import gate_horizon, read_sample, time_folds

    return (
        Counter,
        Dataset,
        FeaturePlan,
        Loaded,
        Path,
        Predictor,
        answer,
        contributions,
        default_hours,
        figures,
        gate_horizon,
        generate,
        json,
        load,
        load_models,
        mo,
        np,
        read_rows,
        read_sample,
        steps,
        temporal_split,
        tempfile,
        time_folds,
        train,
        waterfall,
        yaml,
    )


@app.cell
def _(mo):
    mo.md("""
    # A tour of the pipeline

    `pltv train` in slow motion: rows, split, features, models, the compiled bundle and its proofs. Everything here is
    the code that ships; only the market and the trees are small. `--rows N` makes the market larger.
    """)
    return


@app.cell
def _(Dataset, Path, generate, load, mo, tempfile, yaml):
    home = Path(tempfile.mkdtemp(prefix="pltv-tour-"))
    trees = {"rounds": 20, "leaves": 8, "learning_rate": 0.15, "min_leaf": 20}
    raw = yaml.safe_load((mo.notebook_dir().parent / "config" / "smadex.yaml").read_text(encoding="utf-8"))
    raw["training"] |= {
        "folds": 2,
        "threads": 1,
        "classifier": trees,
        "regressors": {**trees, "ratio_rounds": 5},
        "log_mean": trees,
        "meta": {**trees, "ship": "auto"},
    }
    raw["training"]["report"] |= {"replicates": 20, "baseline_rounds": 10}
    (home / "small.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    declaration, config = load(home / "small.yaml")

    summary = generate(int(mo.cli_args().get("rows") or 8_000), home / "day", seed=7, hours=12)
    dataset = Dataset(summary.out, declaration)
    mo.md(f"""
    ## 1. Rows

    `pltv generate` drew **{summary.rows:,} rows** in {summary.partitions} hours with {summary.buyers_d7:,} buyers, and
    kept the truth E[y | x] that it drew them from: ${summary.expected_d7:,.0f} were due within seven days,
    ${summary.revenue_d7:,.0f} came. `training.data.dataset` reads hourly parquet into flat arrays without making
    a Python object a row.
    """)
    return config, dataset, declaration, home


@app.cell
def _(config, dataset, mo, temporal_split):
    split = temporal_split(dataset.partitions, config.split.options())
    mo.vstack(
        [
            mo.md("""
            ## 2. Split

            In time, by whole hours. What is judged is later than what was learned.
            """),
            mo.ui.table(
                [
                    {"part": name, "from": part[0].name, "to": part[-1].name, "rows": sum(p.rows for p in part)}
                    for name, part in split.parts.items()
                ],
                selection=None,
            ),
        ]
    )
    return (split,)


@app.cell
def _(Counter, FeaturePlan, config, dataset, declaration, gate_horizon, mo, np, read_sample, split, time_folds):
    sample = read_sample(dataset, split.train, None, lambda rows: None)
    revenue = np.nan_to_num(sample.labels.revenue[:, gate_horizon(declaration)])
    plan = FeaturePlan.fit(declaration, sample.columns, sample.labels.buyer, revenue)
    folds = time_folds(sample.columns.now, config.folds)
    X = plan.transform_out_of_fold(sample.columns, sample.labels.buyer, revenue, folds)
    mo.vstack(
        [
            mo.md(f"""
            ## 3. Features

            The declaration becomes a plan of **{X.shape[1]} features**: X is {X.shape[0]:,} × {X.shape[1]},
            float64 on the float32 grid, {np.isnan(X).mean():.0%} of it missing. What an encoding says of a row
            in training was fitted on the other folds, so that no row sees its own outcome. The service
            computes the same plan, to the last bit.
            """),
            mo.ui.table([{"group": g, "features": n} for g, n in Counter(plan.groups).most_common()], selection=None),
        ]
    )
    return


@app.cell
def _(Loaded, Predictor, config, dataset, declaration, home, mo, train):
    trained = train(declaration, config, dataset.path, home / "models" / "tour")
    bundle = Loaded(trained.bundle, Predictor.load(trained.bundle))
    files = trained.manifest.files
    mo.vstack(
        [
            mo.md(f"""
            ## 4. Training and the bundle

            A classifier of buyers, a regressor a horizon, E[log1p y], a meta-learner where it helps,
            calibration, and then the trees become C and a shared library. `Predictor.load` has just checked
            every hash, the certificate that the compiled trees equal LightGBM's, and the golden rows.
            {len(files)} files, {sum(file.bytes for file in files.values()) / 1e6:.1f} MB:
            """),
            mo.ui.table([{"file": name, "bytes": file.bytes} for name, file in files.items()], selection=None),
        ]
    )
    return bundle, trained


@app.cell
def _(figures, mo, trained):
    shown = ("reliability", "calibration", "gains", "residuals")
    mo.vstack(
        [
            mo.md("""
            ## 5. Judged on later hours

            Beside a constant, boosters of other losses, and the truth. Brackets hold 95 % intervals: on a
            market this small they are wide, and most differences mean nothing. `report.html` in the bundle
            holds it all.
            """),
            *(
                mo.vstack([mo.md(f"**{title}**"), mo.ui.table(lines, selection=None)])
                for title, lines in figures(trained.evaluation).items()
                if title != "Revenue, day 1"
            ),
            *(mo.image((trained.bundle / "plots" / f"{name}.png").read_bytes()) for name in shown),
        ]
    )
    return


@app.cell
def _(answer, bundle, dataset, default_hours, np, read_rows):
    hours = default_hours(dataset.partitions, bundle.predictor.manifest)
    answered = answer(bundle, read_rows(dataset, *hours, 1_000))
    ltv = answered.predictions.ltv
    dearest = int(np.argmax(ltv[:, 1]))
    return answered, dearest, ltv


@app.cell
def _(answered, bundle, dearest, declaration, ltv, mo, np, steps):
    _row = np.ascontiguousarray(answered.X[dearest : dearest + 1])
    alone = bundle.predictor.ensemble.predict(_row, answered.rows.sample.columns.row_state[dearest : dearest + 1])
    same = bool(np.array_equal(alone.ltv[0], ltv[dearest]))
    ordered = bool((np.diff(ltv, axis=1) >= 0.0).all())
    mo.vstack(
        [
            mo.md(f"""
            ## 6. A price

            How the dearest of {len(ltv):,} later rows gets its price.

            - The same bits alone as among all: **{same}**.
            - No price falls from one horizon to the next: **{ordered}**.
            """),
            mo.ui.table(
                [
                    {
                        "step": step.what,
                        "P(buy)": round(step.p_buyer, 5),
                        **{
                            f"day {h}, $": round(v, 4)
                            for h, v in zip(declaration.targets.horizons, step.ltv, strict=True)
                        },
                    }
                    for step in steps(
                        bundle.predictor.ensemble, _row, int(answered.rows.sample.columns.row_state[dearest])
                    )
                ],
                selection=None,
            ),
        ]
    )
    return


@app.cell
def _(answered, bundle, contributions, dearest, load_models, mo, waterfall):
    gate, *_ = contributions(answered, load_models(bundle.path, bundle.predictor.plan.names), dearest)
    mo.vstack(
        [
            mo.md("""
            ## 7. Why

            Exact TreeSHAP of the classifier for that row, in log-odds: the contributions add up from the mean
            of training to the row's score.
            """),
            mo.ui.table(
                [
                    {
                        "what": p.label,
                        "value": p.value,
                        "adds": None if p.total else round(p.phi, 4),
                        "to": round(p.end, 4),
                    }
                    for p in waterfall(gate, 12)
                ],
                selection=None,
            ),
        ]
    )
    return


@app.cell
def _(bundle, json, mo):
    proof = json.loads((bundle.path / "certificate.json").read_text())
    mo.vstack(
        [
            mo.md("""
            ## 8. The proof

            What the service asks of a bundle before it goes live. To serve this one:
            `python -m app --bundle` and its folder; to look at it: `make dashboard`.
            """),
            mo.json(proof),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
