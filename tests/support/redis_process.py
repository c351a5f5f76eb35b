"""A redis-server of the test's own: started on a free port, stopped, hung and restarted by pid."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

START_SECONDS = 10.0


def binary() -> str | None:
    """Path of redis-server, None where it is not installed."""
    return shutil.which("redis-server")


def free_port() -> int:
    """A port that nobody listened on a moment ago: the system hands it out and takes it back."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisProcess:
    """One redis-server that keeps its port, and nothing else, across restarts.

    Parameters
    ----------
    directory : Path
        Where the server works; it persists nothing.
    options : str
        Further arguments of redis-server, such as `"--maxmemory", "2mb"`.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise RuntimeError("redis-server is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the server and return once it answers PING."""
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self._await_ping()

    def pause(self) -> None:
        """Hang the server (SIGSTOP): connections are accepted by the system, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a hung server go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server at once, whatever state it is in; connections to it are refused from here on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """End the server if it runs and start an empty one on the same port."""
        self.kill()
        self.start()

    def _command(self) -> list[str]:
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        return [binary() or "redis-server", *fixed, "--save", "", "--appendonly", "no", *self._options]

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("redis-server is not running")
        self._process.send_signal(number)

    def _await_ping(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with contextlib.closing(redis.Redis.from_url(self.url, socket_timeout=1)) as client:
            while not _answers(client):
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(f"redis-server did not start on port {self.port}")
                time.sleep(0.01)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@contextlib.contextmanager
def running(*options: str) -> Iterator[RedisProcess]:
    """A started server, killed at the end even when the test left it hung."""
    with TemporaryDirectory(prefix="pltv-redis-") as directory:
        server = RedisProcess(Path(directory), *options)
        try:
            server.start()
            yield server
        finally:
            server.kill()
