"""`pltv promote` and `retrain`: which bundle is in use."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import Bundle, Data, Processed, ProcessedGb, Track, make_room, open_tracker, signing_key
from training.console import Bars

app = typer.Typer()

Models = Annotated[Path, typer.Option(help="Folder of bundles; its link `current` is the one in use.")]


class Metric(StrEnum):
    """What decides between two bundles."""

    msle = "msle"
    log_loss = "log_loss"
    gini = "gini"
    bias = "bias"


Deciding = Annotated[
    Metric,
    typer.Option(
        metavar="<figure>",
        help="What must be better: msle of the log answer, log_loss of p_buyer, gini or bias of the mean.",
    ),
]


@app.command()
def promote(
    bundle: Bundle,
    data: Annotated[
        Path | None, typer.Option(help="Hourly partitions with labels, later than either bundle learned from.")
    ] = None,
    models: Models = Path("models"),
    force: Annotated[bool, typer.Option("--force", help="Whatever the figures say; the bundle must be sound.")] = False,
    metric: Deciding = Metric.msle,
    as_of: Annotated[str | None, typer.Option(help="When the labels were read; all are mature unless given.")] = None,
    replicates: Annotated[int, typer.Option(min=10, help="Bootstrap replicates of the intervals.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 7,
    track: Track = False,
    model_name: Annotated[str, typer.Option(help="The registered model of --track.")] = "pltv",
) -> None:
    """Move models/current to a bundle that beats the one in use on later rows. Exit code 1 when it does not."""
    from training.releasing.duel import Terms
    from training.releasing.promotion import promote as run
    from training.tracking.options import TrackingConfig

    tracker = open_tracker(track, TrackingConfig(model=model_name) if track else None)
    terms = Terms(metric.value, as_of, replicates, seed)
    outcome = run(bundle, data, models, terms, Bars(), force=force, key=signing_key())
    typer.echo(outcome.why)
    if not outcome.promoted:
        raise typer.Exit(1)
    if tracker is not None:
        tracker.promoted(bundle)


@app.command()
def retrain(
    config: Annotated[Path, typer.Option(help="Declaration with a section `training:`, config/smadex.yaml.")],
    data: Data,
    models: Models = Path("models"),
    prefix: Annotated[str, typer.Option(help="Bundles are called PREFIX-YYYYMMDDTHHMMSS.")] = "retrained",
    refresh: Annotated[
        str | None, typer.Option(help="Command that brings new partitions into DATA; run without a shell.")
    ] = None,
    service: Annotated[
        list[str] | None, typer.Option(help="URL of a service to reload; may be given more than once.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="Newest bundles of the prefix that stay.")] = 5,
    processed: Processed = Path("data/processed"),
    processed_gb: ProcessedGb = 50.0,
    force: Annotated[bool, typer.Option("--force", help="Train and promote whatever data and figures say.")] = False,
    metric: Deciding = Metric.msle,
    replicates: Annotated[int, typer.Option(min=10, help="Bootstrap replicates of the intervals.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 7,
    track: Track = False,
) -> None:
    """Refresh data, train, verify, promote and reload, once: for cron. The admin token is read from PLTV_TOKEN.

    Exit code 0 also where the new bundle does not win, or nothing is new: the one in use stays.
    """
    from training.config import load
    from training.releasing.duel import Terms
    from training.releasing.retraining import Recipe
    from training.releasing.retraining import retrain as run

    training = load(config)[1]
    tracker = open_tracker(track, training.tracking)
    as_of = None if training.maturity.as_of is None else training.maturity.as_of.isoformat()
    make_room(processed, processed_gb)
    recipe = Recipe(config, data, models, prefix, refresh, tuple(service or ()), keep, force, processed)
    terms = Terms(metric.value, as_of, replicates, seed)
    run(
        recipe,
        terms,
        Bars(),
        typer.echo,
        key=signing_key(),
        token=os.environ.get("PLTV_TOKEN"),
        tracker=tracker,
    )
