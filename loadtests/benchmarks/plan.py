"""How long a run measures, and what all scenarios share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from loadtests.benchmarks.generator import Generator, Load
from loadtests.benchmarks.services import Server
from loadtests.payloads import Body, Corpora, encode, write_lines


@dataclass(frozen=True, slots=True)
class Pace:
    """Rounds, and the size of each.

    Parameters
    ----------
    rounds : int
        Of everything within a process.
    loads : int
        Of everything over HTTP.
    seconds : float
        Of one load.
    calls : int
        Of one round of single calls.
    batch_rows : int
        Of the models' matrix.
    warm : int
        Loads ahead of those that count.
    """

    rounds: int
    loads: int
    seconds: float
    calls: int
    batch_rows: int
    warm: int


FULL = Pace(rounds=9, loads=5, seconds=2.0, calls=1500, batch_rows=10_000, warm=1)
QUICK = Pace(rounds=3, loads=1, seconds=1.0, calls=400, batch_rows=2_000, warm=0)


@dataclass(frozen=True, slots=True)
class Bench:
    """One run.

    Parameters
    ----------
    bundle : Path
    pace : Pace
    corpora : Corpora
    work : Path
        A directory of this run for bodies and logs.
    generator : Generator
    """

    bundle: Path
    pace: Pace
    corpora: Corpora
    work: Path
    generator: Generator

    def file(self, name: str, bodies: list[Body] | list[bytes]) -> Path:
        """Bodies as a file, one a line."""
        path = self.work / f"{name}.jsonl"
        write_lines(path, [body if isinstance(body, bytes) else encode(body) for body in bodies])
        return path

    def log(self, name: str) -> Path:
        """Where a process writes what it has to say."""
        return self.work / f"{name}.log"

    def load(self, server: Server, bodies: Path) -> Load:
        """One load of the planned length."""
        return self.generator.load(server.port, bodies, self.pace.seconds)

    def load_ours(self, server: Server, bodies: Path, source: str | None = None) -> Load:
        """The same; what the service itself counts as less than was asked for is no good answer either.

        Parameters
        ----------
        server : Server
        bodies : Path
        source : str or None
            Where the histories have to come from.
        """
        before = server.counted()
        found = self.load(server, bodies)
        return short_of(found, _increase(before, server.counted()), source)


def short_of(load: Load, counted: Mapping[str, float], source: str | None) -> Load:
    """A load without the answers that the prior gave because time was over, or whose history came from elsewhere.

    Parameters
    ----------
    load : Load
    counted : mapping of str to float
        Series of `/metrics` → how much it rose meanwhile.
    source : str or None
    """
    histories = {k: n for k, n in counted.items() if k.startswith("pltv_history_total{")}
    elsewhere = sum(n for k, n in histories.items() if source is not None and f'source="{source}"' not in k)
    lacking = counted.get('pltv_degraded_total{reason="deadline"}', 0.0) + elsewhere
    share = min(1.0, lacking / max(1.0, sum(histories.values())))
    rows, flushes = (counted.get(f"pltv_batch_rows_{part}", 0.0) for part in ("sum", "count"))
    return replace(
        load,
        rate=load.rate * (1.0 - share),
        lacking=load.lacking + int(lacking),
        rows_per_flush=rows / flushes if flushes else None,
    )


def _increase(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {series: value - before.get(series, 0.0) for series, value in after.items()}
