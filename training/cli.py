"""`pltv`, the offline side on the command line: a mistake is one line and exit code 2, a bad bundle exit code 1."""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from app.errors import BundleError, InputError, PltvError
from training.console import Bars, description, fail, summary


class Commands(TyperGroup):
    """Turns what goes wrong into one line and an exit code."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, and exit."""
        # A job that is evicted tidies up as one that is interrupted does.
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except PltvError as error:
            code = fail(str(error), 1 if isinstance(error, BundleError) else 2)
        except (typer.Abort, KeyboardInterrupt):
            code = fail("interrupted", 130)
        except Exception as error:
            if not hasattr(error, "format_message"):  # not what a wrong command line raises
                raise
            code = fail(f"{error.format_message()} (see pltv --help)", 2)
        finally:
            signal.signal(signal.SIGTERM, before)
        sys.exit(code if isinstance(code, int) else 0)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


class Objective(StrEnum):
    """What the single column of `predict` answers."""

    mean = "mean"
    msle = "msle"


class Kind(StrEnum):
    """What an identity column holds."""

    user_id = "user_id"
    ifa = "ifa"


app = typer.Typer(
    name="pltv",
    cls=Commands,
    help="Train, verify and use bundles that price the next days of a mobile user.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Bundle = Annotated[Path, typer.Option(help="Directory of the bundle, models/NAME.")]
Data = Annotated[Path, typer.Option(help="Folder of hourly parquet partitions.")]


@app.command()
def generate(
    rows: Annotated[int, typer.Option(min=1, help="Rows in all.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder; rows generated there earlier give way. The oracle: OUT.oracle.parquet."),
    ],
    seed: Annotated[int, typer.Option(min=0, help="Draws the rows: another seed is another day of the market.")] = 0,
    world: Annotated[int, typer.Option(min=0, help="Draws the market: vocabularies, coefficients, effects.")] = 0,
    start: Annotated[str, typer.Option(help="First day, YYYY-MM-DD.")] = "2025-10-01",
    hours: Annotated[int, typer.Option(min=1, help="Hourly partitions from the first day's midnight on.")] = 144,
    requests: Annotated[Path | None, typer.Option(help="Also write the rows as /predict bodies, one a line.")] = None,
) -> None:
    """Generate rows of the bid-request table, with their truth beside them."""
    from training.data.synthetic import generate as generate_rows

    with Bars().stage("generate", rows) as advance:
        done = 0

        def progress(total: int) -> None:
            nonlocal done
            advance(total - done)
            done = total

        day = _day(start)
        summary = generate_rows(
            rows, out, seed=seed, world=world, start=day, hours=hours, requests=requests, progress=progress
        )
    typer.echo(
        f"{summary.out}: {summary.rows} rows in {summary.partitions} hours, {summary.buyers_d7} buyers, "
        f"{summary.revenue_d7:.2f} USD of D7 revenue (expected {summary.expected_d7:.2f}); oracle: {summary.oracle}"
    )


@app.command()
def train(
    config: Annotated[Path, typer.Option(help="Declaration with a section `training:`, config/smadex.yaml.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="The bundle's place, models/NAME; replaced in one step when all is well.")],
) -> None:
    """Train, compile, certify and judge a bundle, and put it into its place."""
    from training.config import load
    from training.pipeline import train as run

    declaration, training = load(config)
    trained = run(declaration, training, data, out, stages=Bars(), key=_signing_key())
    typer.echo(summary(trained.evaluation))
    typer.echo(f"{trained.bundle}: {len(trained.manifest.files)} files; report: {trained.bundle / 'report.md'}")


@app.command()
def evaluate(
    bundle: Bundle,
    data: Data,
    as_of: Annotated[str | None, typer.Option(help="When the labels were read; all are mature unless given.")] = None,
    replicates: Annotated[int, typer.Option(min=10, help="Bootstrap replicates of the intervals.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of bootstrap and baselines.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="LightGBM's.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
) -> None:
    """Score a bundle on data with labels: every metric with intervals, beside baselines and the oracle where known."""
    from training.assessing import Settings, assess

    predictor = _load(bundle)
    evaluation = assess(predictor, data, Settings(as_of, replicates, seed, threads), Bars()).evaluation
    predictor.close()
    typer.echo(json.dumps(evaluation, indent=1) if as_json else summary(evaluation))


@app.command()
def report(
    bundle: Bundle,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for report.html, report.md, report.json and plots.")],
    beside: Annotated[
        list[Path] | None, typer.Option(help="Another bundle to judge on the same rows; may be given more than once.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="When the labels were read; all are mature unless given.")] = None,
    replicates: Annotated[int, typer.Option(min=10, help="Bootstrap replicates of the intervals.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of bootstrap, baselines and samples.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="LightGBM's.")] = 2,
) -> None:
    """Write what `evaluate` finds as a page to read: with pictures, what drives the models, errors, bias and drift."""
    from training.assessing import Settings
    from training.reporting import report as run

    predictor, others = _load(bundle), [_load(path) for path in beside or []]
    settings = Settings(as_of, replicates, seed, threads)
    written = run(bundle, predictor, data, out, settings, Bars(), others)
    for one in (predictor, *others):
        one.close()
    typer.echo("\n".join(str(path) for path in written if path.parent == out))


@app.command()
def ablate(
    config: Annotated[Path, typer.Option(help="The default: declaration with a section `training:`.")],
    data: Data,
    out: Annotated[
        Path, typer.Option(help="Folder for configurations, bundles and tables; bundles there are used again.")
    ],
    variants: Annotated[Path, typer.Option(help="What to change, one variant a line.")] = Path("config/ablations.yaml"),
    replicates: Annotated[int, typer.Option(min=10, help="Bootstrap replicates of the intervals.")] = 200,
    rounds: Annotated[int, typer.Option(min=5, help="Rounds of timing; each asks every bundle for 256 rows.")] = 40,
) -> None:
    """Train methods on and off, and tabulate error, interval and microseconds online of each against the default."""
    from training.evaluation.ablation import Plan
    from training.evaluation.ablation import ablate as run
    from training.evaluation.ablation_table import conclusions, write
    from training.evaluation.variants import load_ablations

    plan = Plan(config, data, out, load_ablations(variants), replicates, rounds)
    found = run(plan, Bars(), key=_signing_key())
    written = write(out, found)
    typer.echo("\n".join([*conclusions(found), "", *map(str, written)]))


@app.command()
def predict(
    bundle: Bundle,
    data: Data,
    out: Annotated[Path, typer.Option(help="File to write, .csv or .parquet.")],
    objective: Annotated[
        Objective, typer.Option(help="mean: expected revenue; msle: expm1(E[log1p y]), for submissions.")
    ] = Objective.mean,
    everything: Annotated[
        bool, typer.Option("--all", help="Probability, mean of every horizon and log mean instead.")
    ] = False,
) -> None:
    """Predict every row of a data set."""
    from training.data.dataset import Dataset
    from training.publishing.scoring import predict as run

    if everything and objective is Objective.msle:
        raise InputError("--all writes both answers: leave --objective out")
    predictor = _load(bundle)
    dataset = Dataset(data, predictor.declaration)
    with Bars().stage("predict", dataset.rows) as advance:
        rows = run(predictor, dataset, out, objective=objective.value, everything=everything, progress=advance)
    predictor.close()
    typer.echo(f"{out}: {rows} rows")


@app.command()
def verify(bundle: Bundle) -> None:
    """Check a bundle: hashes, certificate, golden rows. Exit code 1 on any failure."""
    predictor = _load(bundle)
    files = len(predictor.manifest.files)
    predictor.close()
    typer.echo(f"{bundle}: sound ({files} files, certificate and golden rows agree)")


@app.command()
def inspect(
    bundle: Bundle,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show what is in a bundle, without running anything of it."""
    from app.inference.manifest import read_manifest

    manifest = read_manifest(bundle)
    typer.echo(json.dumps(manifest.to_json(), indent=1) if as_json else description(manifest.to_json()))


@app.command("push-features")
def push_features(
    config: Annotated[Path, typer.Option(help="Declaration, config/smadex.yaml.")],
    data: Data,
    id_column: Annotated[str, typer.Option(help="Column that identifies the user; rows without are left out.")],
    url: Annotated[str, typer.Option(help="Of the service.")] = "http://127.0.0.1:8000",
    kind: Annotated[Kind, typer.Option(help="What the identity is.")] = Kind.user_id,
    chunk: Annotated[int, typer.Option(min=1, max=1000, help="Users a call.")] = 200,
) -> None:
    """Load histories from parquet into the service's store. A bearer token is read from PLTV_TOKEN."""
    from training.config import load
    from training.data.dataset import Dataset
    from training.publishing.pushing import push_features as push

    dataset = Dataset(data, load(config)[0])
    token = os.environ.get("PLTV_TOKEN")
    with Bars().stage("push", dataset.rows) as advance:
        stored, older = push(
            dataset, url, id_column=id_column, kind=kind.value, token=token, chunk=chunk, progress=advance
        )
    typer.echo(f"{url}: {stored} histories stored, {older} older than what was there")


@app.command()
def recompile(bundle: Bundle) -> None:
    """Compile a bundle's models for this machine, certify them anew, and replace the bundle."""
    from training.publishing.compilation import recompile as run

    with Bars().stage("recompile"):
        manifest = run(bundle, key=_signing_key())
    typer.echo(f"{bundle}: compiled for {manifest.platform['system']} {manifest.platform['machine']}")


@app.command()
def cdnow(
    raw: Annotated[Path, typer.Option(help="CDNOW_master.txt: customer_id, date, number_of_cds, dollar_value.")],
    out: Annotated[Path, typer.Option(help="Folder; customers prepared there earlier give way.")],
    seed: Annotated[int, typer.Option(min=0, help="Deals the customers: another seed is another split.")] = 0,
) -> None:
    """Prepare the CDNOW benchmark: purchases until 30 September 1997 as histories, revenue after it as labels."""
    from training.data.cdnow import prepare

    done = prepare(raw, out, seed=seed)
    typer.echo(
        f"{done.out}: {done.customers} customers in {done.partitions} partitions; {done.lines} lines are "
        f"{done.purchases} purchases, {done.free} of them free; {done.late} customers came after the cut"
    )


@app.command("benchmark-cdnow")
def benchmark_cdnow(
    bundle: Bundle,
    data: Annotated[Path, typer.Option(help="Folder that `pltv cdnow` wrote and the bundle was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder for cdnow.json and cdnow.md.")],
    replicates: Annotated[int, typer.Option(min=10, help="Bootstrap replicates of the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of bootstrap and boosters.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="LightGBM's.")] = 1,
) -> None:
    """Judge a bundle beside BG/NBD + Gamma-Gamma, Tweedie, ZILN and a constant, on customers held out from all."""
    from training.benchmarks.cdnow import compare
    from training.benchmarks.tables import text, write
    from training.data.dataset import Dataset

    predictor = _load(bundle)
    dataset = Dataset(data, predictor.declaration)
    found = compare(predictor, dataset, replicates=replicates, seed=seed, threads=threads, stages=Bars())
    predictor.close()
    paths = write(out, found)
    typer.echo(text(found))
    typer.echo(f"\n{' and '.join(map(str, paths))}")


def _load(bundle: Path) -> Any:
    from app.inference.predictor import Predictor

    return Predictor.load(bundle, key=_signing_key())


def _signing_key() -> bytes | None:
    """The key that bundles are signed with, as the service's: PLTV_BUNDLE_KEY."""
    key = os.environ.get("PLTV_BUNDLE_KEY")
    return key.encode() if key else None


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise InputError(f"expected a day such as 2025-10-01, received {text!r}", "start") from None


if __name__ == "__main__":
    app()
