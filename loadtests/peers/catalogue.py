"""Who is measured, and how each runs at its best: one worker, no request log, uvloop and httptools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtests.benchmarks.processes import ROOT, free_port
from loadtests.peers.wire import BARE, MATRIX, OPEN_INFERENCE, ROW, Wire

_SERVERS: Final = "loadtests.peers.servers"
_QUIET: Final = {"version": 1, "disable_existing_loggers": True, "root": {"level": "ERROR"}}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one server runs.

    Parameters
    ----------
    python : Path
        Of the peer's environment.
    port : int
    models : Path
        The boosters.
    work : Path
        A directory of its own.
    """

    python: Path
    port: int
    models: Path
    work: Path


@dataclass(frozen=True, slots=True)
class Launch:
    """How one server is started.

    Parameters
    ----------
    command : list of str
    environment : mapping of str to str
        Added to a plain one.
    """

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """A stack that is measured.

    Parameters
    ----------
    name : str
        On the command line and in the results.
    title : str
        For people.
    environment : str
        Name of its environment and lock, `requirements/peers/NAME.txt`.
    packages : tuple of str
        Whose versions are told.
    settings : mapping of str to Wire
        Ways to run it, each with what it speaks; the fastest in a trial is measured.
    launch : callable of (str, Place) to Launch
        Start it in one of the settings.
    path : str
        Where rows are posted.
    ready : str
        Answers 200, or 404, when the server is ready.
    checked : bool
        Whether its answers are held against LightGBM; a constant's are not.
    """

    name: str
    title: str
    environment: str
    packages: tuple[str, ...]
    settings: Mapping[str, Wire]
    launch: Callable[[str, Place], Launch]
    path: str = "/predict"
    ready: str = "/"
    checked: bool = True


def _fastapi(model: str) -> Callable[[str, Place], Launch]:
    def launch(setting: str, place: Place) -> Launch:
        arguments = [model, setting, str(place.port), str(place.models)]
        return Launch([str(place.python), "-m", f"{_SERVERS}.fastapi_rows", *arguments])

    return launch


def _bentoml(setting: str, place: Place) -> Launch:
    """Access log, metrics and the probes of runners off; the models' directory by the environment."""
    service = {"workers": 1, "metrics": {"enabled": False}, "logging": {"access": {"enabled": False}}}
    overrides = {"services": {"Scores": service}, "api_server": service}
    command = [str(place.python), "-m", "bentoml", "serve", f"{_SERVERS}.bento:Scores", "--working-dir", str(ROOT)]
    return Launch(
        [*command, "--host", "127.0.0.1", "--port", str(place.port), "--quiet"],
        {
            "PEER_SETTING": setting,
            "PEER_MODELS": str(place.models),
            "BENTOML_CONFIG_OVERRIDES": json.dumps(overrides),
            "BENTOML_HOME": str(place.work),
            "BENTOML_DO_NOT_TRACK": "True",
        },
    )


def _mlserver(setting: str, place: Place) -> Launch:
    """Inference in the server's own process, no compression, no debug log; metrics stay where they are the default."""
    server: dict[str, Any] = {
        "debug": False, "host": "127.0.0.1", "http_port": place.port, "grpc_port": free_port(),
        "metrics_port": free_port(), "metrics_dir": str(place.work), "parallel_workers": 0, "gzip_enabled": False,
        "metrics_endpoint": None, "logging_settings": _QUIET, "environments_dir": str(place.work),
    }  # fmt: skip
    model: dict[str, Any] = {
        "name": "scores",
        "implementation": f"{_SERVERS}.mlserver_rows.Scores",
        "parameters": {"uri": str(place.models)},
    }
    if setting == "joined":
        model |= {"max_batch_size": 8, "max_batch_time": 0.001}
    (place.work / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    (place.work / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    return Launch([str(place.python), "-m", "mlserver.cli.main", "start", str(place.work)])


def _litserve(setting: str, place: Place) -> Launch:
    return Launch(
        [str(place.python), "-m", f"{_SERVERS}.litserve_rows", setting, str(place.port), str(place.models)],
    )


FASTAPI: Final = ("fastapi", "pydantic", "uvicorn", "uvloop", "httptools", "numpy")

PEERS: Final[tuple[Peer, ...]] = (
    Peer(
        "fastapi",
        "FastAPI + Booster.predict",
        "fastapi",
        (*FASTAPI, "lightgbm"),
        {"async def": ROW, "def": ROW},
        _fastapi("booster"),
    ),
    Peer(
        "tl2cgen",
        "FastAPI + tl2cgen.Predictor",
        "tl2cgen",
        (*FASTAPI, "tl2cgen", "treelite"),
        {"async def": ROW},
        _fastapi("tl2cgen"),
    ),
    Peer(
        "bentoml",
        "BentoML",
        "bentoml",
        ("bentoml", "pydantic", "starlette", "uvicorn", "uvloop", "httptools", "numpy", "lightgbm"),
        {"async": BARE, "sync": BARE, "array": MATRIX, "joined": MATRIX},
        _bentoml,
        ready="/readyz",
    ),
    Peer(
        "mlserver",
        "MLServer",
        "mlserver",
        ("mlserver", "fastapi", "pydantic", "uvicorn", "uvloop", "httptools", "orjson", "numpy", "lightgbm"),
        {"alone": OPEN_INFERENCE, "joined": OPEN_INFERENCE},
        _mlserver,
        path="/v2/models/scores/infer",
        ready="/v2/models/scores/ready",
    ),
    Peer(
        "litserve",
        "LitServe",
        "litserve",
        ("litserve", "fastapi", "uvicorn", "uvloop", "httptools", "pyzmq", "numpy", "lightgbm"),
        {"queue": ROW, "fast queue": ROW, "fast queue, batch": ROW},
        _litserve,
        ready="/health",
    ),
)

NOOP: Final = Peer(
    "noop",
    "FastAPI no-op (reference)",
    "fastapi",
    FASTAPI,
    {"async def": ROW},
    _fastapi("noop"),
    checked=False,
)
