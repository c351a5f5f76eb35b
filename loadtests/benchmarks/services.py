"""Servers on the first core: ours and its peers started, asked until they answer, looked into, ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtests.benchmarks.processes import SERVER_CORE, free_port, running

_START_S: Final = 60.0
_POLL_S: Final = 0.005
_KB: Final = 1024
_MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers.

    Parameters
    ----------
    port : int
    process : subprocess.Popen
    ready_s : float
        Seconds from its start to its first good answer.
    """

    port: int
    process: subprocess.Popen[bytes]
    ready_s: float

    def post(self, path: str, body: bytes) -> Any:
        """The JSON of a good answer.

        Raises
        ------
        RuntimeError
            On any other status than 200.
        """
        status, text = _ask(self.port, "POST", path, body)
        if status != 200:
            raise RuntimeError(f"{path} was answered {status}: {text[:300]!r}")
        return json.loads(text)

    def refuses(self, body: bytes) -> bool:
        """Whether a body is refused as invalid."""
        return _ask(self.port, "POST", "/predict", body)[0] in (400, 422)

    def counted(self) -> dict[str, float]:
        """Every sample of its `/metrics`, by series."""
        lines = _ask(self.port, "GET", "/metrics")[1].decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {series: float(value) for series, _, value in pairs}

    def rss_mb(self) -> float:
        """Resident memory of the process, MB."""
        found = subprocess.run(["ps", "-o", "rss=", "-p", str(self.process.pid)], capture_output=True, check=True)
        return int(found.stdout) * _KB / _MB


@contextlib.contextmanager
def ours(bundle: Path, log: Path, *, workers: int = 1, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`python -m app` with its defaults, and `settings` (`PLTV_*`) on top."""
    port = free_port()
    command = [sys.executable, "-m", "app", "--bundle", str(bundle), "--port", str(port), "--workers", str(workers)]
    environment = {"PLTV_IDENTITY_KEY": "of the benchmarks", "PLTV_LOG_LEVEL": "error", **(settings or {})}
    with served(command, port, "/health/ready", log, environment) as server:
        yield server


@contextlib.contextmanager
def peer(name: str, bundle: Path, log: Path) -> Iterator[Server]:
    """`fastapi` or `echo`."""
    port = free_port()
    command = [sys.executable, "-m", "loadtests.benchmarks.candidates.peers", name, str(port), str(bundle)]
    with served(command, port, "/", log, {}) as server:
        yield server


@contextlib.contextmanager
def served(
    command: Sequence[str], port: int, probe: str, log: Path, environment: Mapping[str, str], **options: Any
) -> Iterator[Server]:
    """A server that answers `probe`; `options` are those of `subprocess.Popen`.

    Raises
    ------
    RuntimeError
        It ended, or did not answer in a minute.
    """
    start = time.perf_counter()
    with running(command, core=SERVER_CORE, log=log, environment=environment, **options) as process:
        while not _answers(port, probe):
            if process.poll() is not None or time.perf_counter() - start > _START_S:
                raise RuntimeError(f"{' '.join(command[1:4])} did not start; {log} says why")
            time.sleep(_POLL_S)
        yield Server(port, process, time.perf_counter() - start)


def _answers(port: int, path: str) -> bool:
    try:
        return _ask(port, "GET", path)[0] in (200, 404)
    except OSError:
        return False


def _ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60.0)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
