"""`pltv generate`, `cdnow`, `benchmark-cdnow`, `push-features`: rows made, prepared, judged by others, and sent."""

from __future__ import annotations

import datetime
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.errors import InputError
from training.commands.options import Bundle, Data, load_bundle, writable
from training.console import Bars


class Kind(StrEnum):
    """What an identity column holds."""

    user_id = "user_id"
    ifa = "ifa"


app = typer.Typer()


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

    predictor = load_bundle(bundle)
    dataset = Dataset(data, predictor.declaration)
    writable(out)
    found = compare(predictor, dataset, replicates=replicates, seed=seed, threads=threads, stages=Bars())
    predictor.close()
    paths = write(out, found)
    typer.echo(text(found))
    typer.echo(f"\n{' and '.join(map(str, paths))}")


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


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise InputError(f"expected a day such as 2025-10-01, received {text!r}", "start") from None
