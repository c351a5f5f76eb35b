"""Processes of a benchmark: pinned to a core, spoken to by lines of JSON, ended by pid."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent.parent
SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1
_STOP_S: Final = 15.0


def pin(pid: int, core: int) -> None:
    """Keep a process on one core, where the system can and has as many."""
    if hasattr(os, "sched_setaffinity") and core in os.sched_getaffinity(0) | _all_cores():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(pid, {core})


def can_pin() -> bool:
    """Whether a server and its load can have a core each."""
    return hasattr(os, "sched_setaffinity") and {SERVER_CORE, CLIENT_CORE} <= _all_cores()


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], *, core: int, log: Path, environment: Mapping[str, str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards; what it says on stderr goes to `log`.

    Parameters
    ----------
    command : sequence of str
    core : int
        The only one that it and its children may use.
    log : Path
    environment : mapping of str to str or None
        Added to a plain one: settings of this shell (`PLTV_*`) must not change what is measured.
    **options
        Of `subprocess.Popen`.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**_plain_environment(), **(environment or {})},
            stderr=output,
            **{"stdin": subprocess.DEVNULL, "stdout": output, **options},
        )
        pin(process.pid, core)
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, then make it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Worker:
    """A candidate that answers commands, one JSON line for one JSON line.

    Parameters
    ----------
    process : subprocess.Popen
        With pipes for stdin and stdout.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def ask(self, command: str, **arguments: Any) -> Any:
        """The answer to a command.

        Raises
        ------
        RuntimeError
            The process has ended.
        """
        self.send(command, **arguments)
        return self.receive()

    def send(self, command: str, **arguments: Any) -> None:
        """A command whose answer is received later."""
        if self.process.stdin is None:
            raise RuntimeError("a worker needs a pipe for its stdin")
        self.process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        """The next answer."""
        line = self.process.stdout.readline() if self.process.stdout else b""
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait(_STOP_S)}; its log says why")
        return json.loads(line)


@contextlib.contextmanager
def worker(module: str, *arguments: str, core: int, log: Path) -> Iterator[Worker]:
    """`python -m loadtests.benchmarks.MODULE ARGUMENTS` as a worker."""
    command = [sys.executable, "-m", f"loadtests.benchmarks.{module}", *arguments]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(command, core=core, log=log, **pipes) as process, process:
        yield Worker(process)


def answer_commands(handlers: Mapping[str, Any]) -> None:
    """Be a worker: call a handler for every line of stdin until it ends."""
    for line in sys.stdin:
        arguments = json.loads(line)
        answer = handlers[arguments.pop("command")](**arguments)
        print(json.dumps(answer), flush=True)


def _all_cores() -> set[int]:
    return set(range(os.cpu_count() or 1))


def _plain_environment() -> dict[str, str]:
    dropped = ("PLTV_", "PROMETHEUS_", "UVICORN_", "WEB_CONCURRENCY")
    # numpy and LightGBM must not spread over the cores behind our back.
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {k: v for k, v in os.environ.items() if not k.startswith(dropped)} | single
