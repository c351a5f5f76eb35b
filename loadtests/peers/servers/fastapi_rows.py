"""Plain FastAPI, as its tutorial writes it: a row in, its scores out, by LightGBM, by tl2cgen, or none at all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from loadtests.peers.servers.boosters import Boosters, Compiled

Score = Callable[[list[float]], list[float]]


class Row(BaseModel):
    """What is sent."""

    features: list[float]


class Scores(BaseModel):
    """What is answered."""

    scores: list[float]


def _nothing(_: Path) -> Score:
    """The reference: a body is read and validated, and a constant answered."""
    return lambda features: [0.123456789, 0.23456789, 0.3456789, 0.456789]


MODELS: Final[dict[str, Callable[[Path], Score]]] = {
    "noop": _nothing,
    "booster": lambda directory: Boosters(directory).row,
    "tl2cgen": lambda directory: Compiled(directory).row,
}


def application(score: Score, *, threads: bool) -> FastAPI:
    """One endpoint; with `threads` FastAPI runs it in its pool (`def`), else in the event loop (`async def`)."""
    app = FastAPI()

    async def predict(row: Row) -> Scores:
        return Scores(scores=score(row.features))

    def predict_in_thread(row: Row) -> Scores:
        return Scores(scores=score(row.features))

    app.post("/predict")(predict_in_thread if threads else predict)
    return app


def main(model: str, setting: str, port: str, directory: str) -> None:
    """Serve, by the settings that our own service gives uvicorn."""
    uvicorn.run(
        application(MODELS[model](Path(directory)), threads=setting == "def"),
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
