"""`pltv tune`: a configuration within a budget of microseconds."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import (
    Data,
    Processed,
    ProcessedGb,
    Track,
    make_room,
    open_tracker,
    signing_key,
    writable,
)
from training.console import CONSOLE, Bars, summary

app = typer.Typer()

CHOSEN = "chosen.yaml"


class Error(StrEnum):
    """The first objective."""

    all = "all"
    log_loss = "log_loss"
    msle = "msle"
    deviance = "deviance"


@app.command()
def tune(
    config: Annotated[Path, typer.Option(help="Where to search from: declaration with a section `training:`.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the study, its front and the configuration that is chosen.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials in all; those that the study holds count.")] = 60,
    budget_us: Annotated[
        float | None,
        typer.Option(min=0.0, help="Microseconds a row that the ensemble may take; as the configuration's by default."),
    ] = None,
    model: Annotated[Path, typer.Option(help="Where the bundle of the chosen configuration goes.")] = Path(
        "models/tuned"
    ),
    space: Annotated[Path, typer.Option(help="What to vary, and between what.")] = Path("config/search.yaml"),
    error: Annotated[
        Error, typer.Option(metavar="<figure>", help="log_loss, msle, deviance, or all: their mean.")
    ] = Error.all,
    ceiling_us: Annotated[
        float | None, typer.Option(min=0.0, help="Dearer ones are not trained; twice the configuration's by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=5, help="Rounds of timing a trial; each asks for 256 rows.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Of what is tried.")] = 7,
    train: Annotated[bool, typer.Option(help="Train the chosen configuration on all rows.")] = True,
    processed: Processed = Path("data/processed"),
    processed_gb: ProcessedGb = 50.0,
    track: Track = False,
) -> None:
    """Search for less error and fewer microseconds, show the front, and train the best within the budget."""
    import yaml

    from training.config import load
    from training.evaluation.variants import read_yaml
    from training.pipeline import train as train_bundle
    from training.publishing.publish import check_place
    from training.search.front import choose, front_of, lines, write
    from training.search.space import Question, load_space
    from training.search.study import Settings, search

    tracker = open_tracker(track, load(config)[1].tracking)
    question = Question(read_yaml(config), load_space(space))
    settings = Settings(trials, error.value, ceiling_us, rounds, seed)
    if train:  # after hours of search
        check_place(model)
        writable(model.parent)
    writable(out)
    make_room(processed, processed_gb)
    study, reference = search(question, data, out, settings, Bars(), CONSOLE.print, processed)
    front = front_of(study, reference)
    chosen, budget = choose(front, budget_us)
    written = [*write(out, front, chosen, budget), out / CHOSEN]
    text = yaml.safe_dump(question.with_values(chosen.values), sort_keys=False, allow_unicode=True)
    written[-1].write_text(text, encoding="utf-8")
    typer.echo("\n".join([*lines(front, chosen), ""]))
    typer.echo(f"within {budget:.1f} µs: trial {chosen.trial}, {chosen.us:.1f} µs; {', '.join(map(str, written))}")
    if not train:
        return
    trained = train_bundle(*load(written[-1]), data, model, stages=Bars(), key=signing_key(), processed=processed)
    typer.echo(f"\n{summary(trained.evaluation)}\n\n{model}: report: {model / 'report.md'}")
    if tracker is not None:
        kept = tracker.trained(model, written[-1], load(written[-1])[1].model_dump(mode="json"))
        typer.echo(f"{tracker.place}: run {kept.run_id}" + (f", version {kept.version}" if kept.version else ""))
