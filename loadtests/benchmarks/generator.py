"""Load on one server. A file of bodies enters, requests a second that were answered 200 and their latencies leave."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from loadtests.benchmarks.processes import CLIENT_CORE, ROOT, pin, worker
from loadtests.benchmarks.rounds import percentile

CONNECTIONS: Final = 8
_SCRIPT: Final = Path(__file__).parent / "rotating.lua"
_GRACE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """What came back.

    Parameters
    ----------
    rate : float
        Answers with status 200 a second; nothing else counts.
    refused : int
        Answers with another status.
    broken : int
        Requests without an answer.
    p50_ms, p95_ms, p99_ms : float
    lacking : int
        Answers with status 200 that are less than was asked for.
    rows_per_flush : float or None
        Campaigns that our service predicted in one call of the models, mean.
    answers : int
        All that came, whatever their status.
    """

    rate: float
    refused: int
    broken: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    lacking: int = 0
    rows_per_flush: float | None = None
    answers: int = 0

    @property
    def lost(self) -> int:
        """Requests that count nowhere."""
        return self.refused + self.broken + self.lacking

    def as_json(self) -> dict[str, Any]:
        """For the results."""
        return asdict(self)


class Generator:
    """wrk where it is installed, else the client of this package; on the core that no server uses.

    Parameters
    ----------
    log : Path
    """

    def __init__(self, log: Path) -> None:
        self._wrk = shutil.which("wrk")
        self._log = log
        self._sent = 0

    @property
    def name(self) -> str:
        """Which of the two."""
        return "wrk" if self._wrk else "the bundled client (uvloop, raw sockets)"

    def load(self, port: int, bodies: Path, seconds: float, path: str = "/predict") -> Load:
        """Closed loop on `CONNECTIONS` connections; the rotation goes on where the last call left it."""
        found = (self._by_wrk if self._wrk else self._by_client)(port, bodies, seconds, path)
        self._sent += found["answers"]
        return good(found)

    def _by_wrk(self, port: int, bodies: Path, seconds: float, path: str) -> dict[str, Any]:
        command = [self._wrk or "wrk", "--threads", "1", "--connections", str(CONNECTIONS)]
        command += ["--duration", f"{max(1, round(seconds))}s", "--timeout", "5s", "--script", str(_SCRIPT)]
        command += [f"http://127.0.0.1:{port}", "--", str(bodies), path, str(self._sent)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        pin(process.pid, CLIENT_CORE)
        try:
            output, trouble = process.communicate(timeout=seconds + _GRACE_S)
        finally:
            process.kill()
        if process.returncode:
            raise RuntimeError(f"wrk failed: {trouble.decode()[-500:]}")
        found: dict[str, Any] = json.loads(output.decode().strip().rpartition("\n")[2])
        return found

    def _by_client(self, port: int, bodies: Path, seconds: float, path: str) -> dict[str, Any]:
        with worker("client", str(port), path, str(bodies), core=CLIENT_CORE, log=self._log) as client:
            found: dict[str, Any] = client.ask("closed", connections=CONNECTIONS, seconds=seconds)
        return found


def good(found: dict[str, Any]) -> Load:
    """Count what was answered 200, and that alone."""
    latencies = found.get("latencies_ms")
    if latencies is None:
        spread = [found[f"p{share}_ms"] for share in (50, 95, 99)]
    else:
        spread = [percentile(latencies, share) if latencies else float("nan") for share in (0.50, 0.95, 0.99)]
    answered = found["answers"] - found["refused"]
    p50, p95, p99 = spread
    rate = answered / found["seconds"]
    return Load(rate, found["refused"], found["broken"], p50, p95, p99, answers=found["answers"])
