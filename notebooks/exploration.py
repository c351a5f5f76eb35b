"""What the rows are: labels, history, categories and time, before any model."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Exploration of the data")


@app.cell
def _():
    import tempfile
    from datetime import UTC, datetime
    from pathlib import Path

    import marimo as mo
    import numpy as np

    from app.features.columns import ABSENT
    from app.features.spec import HistoryState
    from training.config import load
    from training.dashboard.distributions import by_group, concentration, log_edges
    from training.dashboard.rows import read_rows
    from training.data.dataset import Dataset
    from training.data.synthetic import generate
    from training.evaluation.pictures.canvas import COLOURS, GREY, canvas, legend
    from training.samples import cohort

    return (
        ABSENT,
        COLOURS,
        Dataset,
        GREY,
        HistoryState,
        Path,
        UTC,
        by_group,
        canvas,
        cohort,
        concentration,
        datetime,
        generate,
        legend,
        load,
        log_edges,
        mo,
        np,
        read_rows,
        tempfile,
    )


@app.cell
def _(mo):
    mo.md("""
    # Exploration of the data

    A row is one bid request: who asked, what is known of them, which campaign would be shown, and, for training, what
    they spent within 1, 7 and 14 days of the install. This notebook looks at the rows that a data set holds. It reads
    `--data DIR` where that is given, else the first data set in `data/`, else it generates a small one of its own.
    """)
    return


@app.cell
def _(Dataset, Path, generate, load, mo, tempfile):
    def _chosen() -> Path:
        given = mo.cli_args().get("data")
        if given:
            return Path(str(given))
        found = sorted(path.parent for path in Path("data").glob("*/datetime=*"))
        if found:
            return found[0]
        made = Path(tempfile.mkdtemp(prefix="pltv-exploration-")) / "day"
        generate(6_000, made, seed=7, hours=24)
        return made

    declaration, _ = load(mo.notebook_dir().parent / "config" / "smadex.yaml")
    dataset = Dataset(_chosen(), declaration)
    horizons = declaration.targets.horizons
    mo.md(
        f"`{dataset.path}`: **{dataset.rows:,} rows** in {len(dataset.partitions)} hours, from "
        f"`{dataset.partitions[0].name}` to `{dataset.partitions[-1].name}`. The declaration names "
        f"{len(declaration.fields)} raw fields and the horizons {list(horizons)} days."
    )
    return dataset, declaration, horizons


@app.cell
def _(mo):
    limit = mo.ui.slider(1_000, 50_000, step=1_000, value=20_000, label="Rows to look at, at most", show_value=True)
    mo.hstack([limit], justify="start")
    return (limit,)


@app.cell
def _(dataset, limit, read_rows):
    rows = read_rows(dataset, dataset.partitions[0].name, dataset.partitions[-1].name, limit.value)
    labels, columns, layout = rows.sample.labels, rows.sample.columns, dataset.layout
    return columns, labels, layout, rows


@app.cell
def _(concentration, declaration, horizons, labels, mo, np):
    def _line(horizon: int, revenue: np.ndarray) -> dict[str, object]:
        payers = revenue[revenue > 0.0]
        return {
            "day": horizon,
            "rows with revenue": f"{len(payers) / len(revenue):.2%}",
            "mean of all, $": round(float(revenue.mean()), 4),
            "mean of payers, $": round(float(payers.mean()), 2),
            "median of payers, $": round(float(np.median(payers)), 2),
            "99 % of payers below, $": round(float(np.quantile(payers, 0.99)), 2),
            "largest, $": round(float(revenue.max()), 2),
            "held by the dearest 1 %": f"{concentration(revenue)[0]['share']:.0%}",
        }

    falling = int((np.diff(labels.revenue, axis=1) < 0.0).any(axis=1).sum())
    mo.vstack(
        [
            mo.md(f"""
            ## Labels

            {labels.buyer.mean():.2%} of the rows have `{declaration.targets.gate}`. Almost everybody spends
            nothing, and of those who do a few spend nearly everything: a model of the mean must tell
            **whether** from **how much**, and no error that squares dollars can be read without its interval.
            Rows whose revenue falls from one horizon to the next: {falling}.
            """),
            mo.ui.table([_line(h, labels.revenue[:, i]) for i, h in enumerate(horizons)], selection=None),
        ]
    )
    return


@app.cell
def _(COLOURS, GREY, Path, canvas, horizons, labels, legend, log_edges, mo, np, tempfile):
    def _picture() -> bytes:
        path = Path(tempfile.mkdtemp(prefix="pltv-exploration-")) / "revenue.png"
        with canvas(path, 2, width=6.0) as (amounts, curve):
            edges = log_edges(labels.revenue.ravel(), 40)
            for colour, horizon, revenue in zip(COLOURS, horizons, labels.revenue.T, strict=False):
                amounts.hist(
                    revenue[revenue > 0.0], edges, histtype="step", color=colour, lw=1.5, label=f"day {horizon}"
                )
                dearest = np.sort(revenue)[::-1]
                share = np.cumsum(dearest) / max(float(dearest.sum()), 1e-12)
                curve.plot(np.arange(1, len(share) + 1) / len(share), share, color=colour, label=f"day {horizon}")
            amounts.set(
                xscale="log", xlabel="revenue of a payer, US dollars", ylabel="payers", title="What payers spend"
            )
            curve.axvline(0.01, color=GREY, lw=1)
            curve.set(xscale="log", xlabel="share of rows, dearest first", ylabel="share of revenue")
            curve.set_title("How concentrated it is")
            legend(amounts)
            legend(curve)
        return path.read_bytes()

    mo.image(_picture())
    return


@app.cell
def _(ABSENT, HistoryState, columns, labels, layout, mo, np):
    def _state(state: HistoryState) -> dict[str, object]:
        chosen = columns.row_state == state
        return {
            "history": state.label,
            "rows": int(chosen.sum()),
            "buyers": f"{labels.buyer[chosen].mean():.2%}" if chosen.any() else "—",
            "mean revenue, last horizon, $": round(float(labels.revenue[chosen, -1].mean()), 4)
            if chosen.any()
            else None,
        }

    def _field(segment: object, counts: np.ndarray) -> dict[str, object]:
        known = counts != ABSENT
        entries = counts[known]
        return {
            "field": segment.field.name + (" (inner)" if segment.inner else ""),
            "kind": segment.field.kind,
            "known": f"{known.mean():.1%}",
            "known and empty": f"{(entries == 0).mean():.1%}" if known.any() else "—",
            "entries, mean": round(float(entries.mean()), 2) if known.any() else None,
            "entries, most": int(entries.max()) if known.any() else None,
        }

    mo.vstack(
        [
            mo.md("""
            ## History

            What is known of a user comes as maps and lists of any length. **Absent, empty and zero are three
            things**: whether anything is known at all is a feature of the models, so that a lost history is not
            read as a new user.
            """),
            mo.ui.table([_state(state) for state in HistoryState], selection=None),
            mo.ui.table([_field(s, columns.counts[:, i]) for i, s in enumerate(layout.segments)], selection=None),
        ]
    )
    return


@app.cell
def _(layout, mo):
    names = [field.name for field in (*layout.campaign_texts, *layout.texts) if field.scope != "user"]
    category = mo.ui.dropdown(names, value=names[0], label="Category")
    mo.vstack([mo.md("## Categories"), category])
    return (category,)


@app.cell
def _(by_group, category, cohort, columns, labels, layout, mo):
    _texts = [str(t) if t is not None else "(missing)" for t in cohort(layout, columns, category.value)]
    _bought = {line["group"]: line["mean"] for line in by_group(labels.buyer, _texts, 15)}
    mo.ui.table(
        [
            {
                category.value: line["group"],
                "rows": line["rows"],
                "buyers": f"{_bought[line['group']]:.2%}",
                "mean revenue, last horizon, $": round(line["mean"], 4),
            }
            for line in by_group(labels.revenue[:, -1], _texts, 15)
        ],
        selection=None,
    )
    return


@app.cell
def _(columns, labels, layout, mo, np):
    def _lookup(j: int) -> dict[str, object]:
        lookup, found = layout.row_lookups[j], columns.row_lookups[:, j]
        hit, unknown = np.isfinite(found), np.isnan(found)
        miss = ~hit & ~unknown

        def rate(chosen: np.ndarray) -> str:
            return f"{labels.buyer[chosen].mean():.2%} of {chosen.sum():,}" if chosen.any() else "—"

        return {
            "map": lookup.field,
            "key": lookup.key,
            "buyers where the key is there": rate(hit),
            "where the map lacks it": rate(miss),
            "where the map is unknown": rate(unknown),
        }

    mo.vstack(
        [
            mo.md("""
            ## The request's own key in the user's map

            Has this user spent in **this** category, installed **this** app? Where the campaign's key is in
            the user's own map, buyers are several times as many: these lookups are the strongest features
            there are.
            """),
            mo.ui.table([_lookup(j) for j in range(len(layout.row_lookups))], selection=None),
        ]
    )
    return


@app.cell
def _(COLOURS, Path, UTC, canvas, columns, datetime, labels, mo, np, tempfile):
    def _by_hour() -> bytes:
        hours, code, counts = np.unique(columns.now, return_inverse=True, return_counts=True)
        bought = np.bincount(code, labels.buyer) / counts
        error = np.sqrt(bought * (1.0 - bought) / counts)
        at = [datetime.fromtimestamp(float(hour), UTC) for hour in hours]
        path = Path(tempfile.mkdtemp(prefix="pltv-exploration-")) / "hours.png"
        with canvas(path, 2, width=6.0) as (traffic, share):
            traffic.plot(at, counts, "o-", color=COLOURS[0], ms=3)
            traffic.set(ylabel="rows looked at", title="Traffic by hour, UTC", ylim=(0, None))
            share.errorbar(at, bought, 1.96 * error, fmt="o", color=COLOURS[1], ms=3, capsize=2)
            share.set(ylabel="share of buyers", title="Buyers by hour, with 95 % intervals")
            for axis in (traffic, share):
                axis.tick_params(axis="x", rotation=45)
        return path.read_bytes()

    mo.vstack(
        [
            mo.md("""
            ## Time

            Training, calibration and validation are cut in time: no row of a later hour teaches what is judged
            on an earlier one.
            """),
            mo.image(_by_hour()),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
