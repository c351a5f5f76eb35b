"""`pltv`, the offline side on the command line: a mistake is one line and exit code 2, a bad bundle exit code 1."""

from __future__ import annotations

import json
import signal
import sys
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from app.errors import BundleError, InputError, PltvError
from training.commands import releasing, rows, search
from training.commands.options import (
    Bundle,
    Data,
    Processed,
    ProcessedGb,
    Track,
    load_bundle,
    make_room,
    open_tracker,
    signing_key,
    writable,
)
from training.console import Bars, description, fail, summary

INTERRUPTED = 130


class Commands(TyperGroup):
    """Turns what goes wrong into one line and an exit code."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, and exit."""
        # A job that is evicted tidies up as one that is interrupted does.
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
            if code == INTERRUPTED:  # newer versions of typer answer an interrupt by the code alone
                raise KeyboardInterrupt
        except PltvError as error:
            code = fail(str(error), 1 if isinstance(error, BundleError) else 2)
        except (typer.Abort, KeyboardInterrupt):
            code = fail("interrupted", INTERRUPTED)
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


app = typer.Typer(
    name="pltv",
    cls=Commands,
    help="Train, verify and use bundles that price the next days of a mobile user.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(releasing.app)
app.add_typer(rows.app)
app.add_typer(search.app)


@app.callback()
def pltv(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version, and leave.")] = False,
) -> None:
    """Show what there is, where no command is named."""
    if version:
        typer.echo(f"pltv {metadata.version('pltv')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def train(
    config: Annotated[Path, typer.Option(help="Declaration with a section `training:`, config/smadex.yaml.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="The bundle's place, models/NAME; replaced in one step when all is well.")],
    scheduler: Annotated[
        str | None, typer.Option(help="Dask scheduler whose workers build features, tcp://HOST:8786, not this machine.")
    ] = None,
    processed: Processed = Path("data/processed"),
    processed_gb: ProcessedGb = 50.0,
    train_frac: Annotated[
        float | None, typer.Option(help="Share of the training rows to learn from, above 0 and up to 1.")
    ] = None,
    max_partitions: Annotated[
        int | None, typer.Option(help="Hours to read at most, evenly over time; 3 or more.")
    ] = None,
    track: Track = False,
) -> None:
    """Train, compile, certify and judge a bundle, and put it into its place."""
    from training.config import load
    from training.pipeline import train as run

    declaration, training = load(config)
    training = training.sampled(train_frac=train_frac, max_partitions=max_partitions)
    tracker = open_tracker(track, training.tracking)
    make_room(processed, processed_gb)
    bars, key = Bars(), signing_key()
    trained = run(declaration, training, data, out, stages=bars, key=key, processed=processed, scheduler=scheduler)
    typer.echo(summary(trained.evaluation))
    typer.echo(f"{trained.bundle}: {len(trained.manifest.files)} files; report: {trained.bundle / 'report.md'}")
    if tracker is not None:
        kept = tracker.trained(out, config, training.model_dump(mode="json"))
        typer.echo(f"{tracker.place}: run {kept.run_id}" + (f", version {kept.version}" if kept.version else ""))


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

    predictor = load_bundle(bundle)
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

    predictor, others = load_bundle(bundle), [load_bundle(path) for path in beside or []]
    writable(out)
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

    plan = Plan(config, data, writable(out), load_ablations(variants), replicates, rounds)
    found = run(plan, Bars(), key=signing_key())
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
    predictor = load_bundle(bundle)
    dataset = Dataset(data, predictor.declaration)
    with Bars().stage("predict", dataset.rows) as advance:
        rows = run(predictor, dataset, out, objective=objective.value, everything=everything, progress=advance)
    predictor.close()
    typer.echo(f"{out}: {rows} rows")


@app.command()
def verify(bundle: Bundle) -> None:
    """Check a bundle: hashes, certificate, golden rows. Exit code 1 on any failure."""
    predictor = load_bundle(bundle)
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


@app.command()
def recompile(bundle: Bundle) -> None:
    """Compile a bundle's models for this machine, certify them anew, and replace the bundle."""
    from training.publishing.compilation import recompile as run

    with Bars().stage("recompile"):
        manifest = run(bundle, key=signing_key())
    typer.echo(f"{bundle}: compiled for {manifest.platform['system']} {manifest.platform['machine']}")


@app.command()
def prune(
    processed: Processed = Path("data/processed"),
    keep_gb: Annotated[float, typer.Option(min=0.0, help="GB that the runs there may take.")] = 50.0,
) -> None:
    """Remove what earlier trainings left on disk, the run unused for longest first; none in use, and not the last."""
    from training.scale.pruning import prune as run

    removed = run(processed, keep_gb * 1e9)
    for one in removed:
        typer.echo(f"removed: {processed / one.name}, {one.size / 1e9:.2f} GB")
    if not removed:
        typer.echo(f"{processed}: nothing to remove")


if __name__ == "__main__":
    app()
