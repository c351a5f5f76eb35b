"""What stands around every page: the choice of bundle and rows at the side, the pages, and errors in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import partial
from pathlib import Path

import streamlit as st
from PIL import Image

from app.errors import PltvError
from training.dashboard import catalogue, session
from training.dashboard.options import Options
from training.dashboard.rows import default_hours
from training.dashboard.scoring import Loaded
from training.dashboard.session import Source, Stored, Uploaded
from training.dashboard.views import bundle, calibration, comparison, distributions, predictions
from training.dashboard.views.chosen import Chosen
from training.data.dataset import Dataset
from training.evaluation.pictures.canvas import COLOURS

LIMITS = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
DEFAULT_LIMIT = 5_000


@dataclass(frozen=True)
class Page:
    """A page: its title, its place in the URL, its symbol, and what draws it."""

    title: str
    place: str
    icon: str
    show: Callable[[Chosen], None]


PAGES = (
    Page("Bundle", "bundle", ":material/inventory_2:", bundle.show),
    Page("Predictions", "predictions", ":material/payments:", predictions.show),
    Page("Distributions", "distributions", ":material/bar_chart:", distributions.show),
    Page("Calibration", "calibration", ":material/target:", calibration.show),
    Page("Comparison", "comparison", ":material/compare_arrows:", comparison.show),
)


def run(options: Options, key: bytes | None) -> None:
    """Draw everything for one run of the script.

    Parameters
    ----------
    options : Options
    key : bytes or None
        That bundles must be signed with.
    """
    st.set_page_config("pltv", _icon(), layout="wide")
    try:
        chosen = _choose(options, key)
        if chosen is None:
            return
        pages = [
            st.Page(partial(one.show, chosen), title=one.title, icon=one.icon, url_path=one.place) for one in PAGES
        ]
        st.navigation(pages).run()
    except PltvError as error:
        st.error(str(error))


def _icon() -> Image.Image:
    """Three rising bars: the page's own symbol would be fetched from elsewhere."""
    image = Image.new("RGB", (32, 32), "white")
    for left, top in ((3, 20), (12, 12), (21, 3)):
        image.paste(COLOURS[0], (left, top, left + 7, 29))
    return image


def _choose(options: Options, key: bytes | None) -> Chosen | None:
    """The choice; None where there is nothing to choose from, and a line says so."""
    found = catalogue.bundles(options.models)
    if not found:
        st.info(f"There is no bundle in `{options.models}`. `make train` makes one.")
        return None
    with st.sidebar:
        names = [*found]
        start = catalogue.current(options.models, found) or names[0]
        name = st.selectbox("Bundle", names, index=names.index(start), help=f"Folders of {options.models}.")
        loaded = session.bundle_at(found[name], key)
        source = _source(options.data, loaded)
    if source is None:
        return None
    return Chosen(found, key, loaded, source, session.answers(loaded, source))


def _source(data: Path, loaded: Loaded) -> Source | None:
    kind = st.radio("Rows", ("of a data set", "of a file"), horizontal=True)
    return _stored(data, loaded) if kind == "of a data set" else _uploaded()


def _stored(data: Path, loaded: Loaded) -> Source | None:
    found = catalogue.datasets(data)
    if not found:
        st.info(f"There is no data set in `{data}`. `make data` generates one; or look at a file.")
        return None
    path = found[st.selectbox("Data set", [*found], help=f"Folders of {data} with hourly partitions.")]
    partitions = Dataset(path, loaded.predictor.declaration).partitions
    names = [p.name for p in partitions]
    first, last = default_hours(partitions, loaded.predictor.manifest)
    if len(names) > 1:
        first, last = st.select_slider(
            "Hours", names, value=(first, last), format_func=_hour, key=f"hours of {path} for {loaded.name}",
            help="UTC. To begin with, those after the hours that the bundle learned from, where there are some.",
        )  # fmt: skip
    return Stored(path, first, last, _limit())


def _uploaded() -> Source | None:
    file = st.file_uploader("Parquet file", type="parquet", help="Rows of one hour, with the columns of the bundle.")
    now = datetime.now(UTC)
    day = st.date_input("Day", now.date(), help="UTC. Times of the history are counted back from this hour.")
    hour = st.number_input("Hour", 0, 23, now.hour)
    limit = _limit()
    if file is None:
        st.info("Choose a file.")
        return None
    return Uploaded(file.getvalue(), datetime.combine(day, time(int(hour)), UTC), limit)


def _limit() -> int:
    help_text = "A random sample where there are more."
    return int(st.select_slider("Rows at most", LIMITS, value=DEFAULT_LIMIT, format_func=_count, help=help_text))


def _count(rows: int) -> str:
    return f"{rows:,}"


def _hour(name: str) -> str:
    """`datetime=2025-10-06-14-00` as `10-06 14h`."""
    _, month, day, hour, _ = name.partition("=")[2].split("-")
    return f"{month}-{day} {hour}h"
