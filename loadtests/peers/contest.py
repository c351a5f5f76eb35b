"""One server after the other under the same load. Peers enter, rates with their tails and memory leave."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from loadtests.benchmarks.generator import Load
from loadtests.benchmarks.plan import Bench
from loadtests.benchmarks.processes import end, free_port
from loadtests.benchmarks.rounds import interleave
from loadtests.benchmarks.services import Server, served
from loadtests.peers import family
from loadtests.peers.answers import Question, Tally, check, watching
from loadtests.peers.catalogue import Peer, Place
from loadtests.peers.results import Result, Trials
from loadtests.peers.rows import Job
from loadtests.peers.wire import Wire

CHECKED: Final = 200
_TRIAL_S: Final = 1.0
_MICRO: Final = 1e6
_REASON: Final = 300  # characters of what a server said last
TROUBLES: Final = (RuntimeError, OSError, subprocess.SubprocessError)
"""What a peer may fail with; it is told and the others run."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server that runs, asleep, and what is asked of it.

    Parameters
    ----------
    name, title, setting : str
        In the results, for people, and which way of running it.
    server : Server
    path : str
    bodies : Path
        One a line, in turn.
    questions : sequence of Question
        Some of the bodies with the right answers; empty for a reference that answers a constant.
    wire : Wire
    whole : bool
        Whether it is our service, which counts itself what it could not do in time.
    """

    name: str
    title: str
    setting: str
    server: Server
    path: str
    bodies: Path
    questions: Sequence[Question]
    wire: Wire
    whole: bool = False

    @property
    def root(self) -> int:
        """Pid of what was started."""
        return self.server.process.pid


@dataclass(frozen=True, slots=True)
class Turn:
    """One load and what it cost.

    Parameters
    ----------
    load : Load
    cpu_us : float
        Microseconds of processor an answer, of all the server's processes.
    """

    load: Load
    cpu_us: float


@contextlib.contextmanager
def serving(bench: Bench, peer: Peer, python: Path, setting: str, job: Job) -> Iterator[Candidate]:
    """A peer that is ready, checked, and asleep.

    Raises
    ------
    RuntimeError
        It does not start, or not all its answers are good.
    """
    work = bench.work / f"{peer.name}-{setting.replace(' ', '-')}"
    work.mkdir(exist_ok=True)
    wire = peer.settings[setting]
    place = Place(python, free_port(), job.directory, work)
    launch = peer.launch(setting, place)
    encoded = [wire.encode(row) for row in job.X.tolist()]
    questions = [Question(body, scores) for body, scores in zip(encoded, job.scores.tolist(), strict=True)]
    log = work / "log.txt"
    with ExitStack() as stack:
        environment = {**launch.environment, "HOME": str(work)}
        try:
            server = stack.enter_context(served(launch.command, place.port, peer.ready, log, environment))
        except RuntimeError as error:
            raise RuntimeError(f"did not start: {_last_line(log)}") from error
        candidate = Candidate(
            peer.name, peer.title, setting, server, peer.path,
            bench.file(f"{work.name}-rows", encoded), questions[:CHECKED] if peer.checked else (), wire,
        )  # fmt: skip
        stack.enter_context(resting(candidate))
        yield candidate


@contextlib.contextmanager
def resting(candidate: Candidate) -> Iterator[None]:
    """Check a server's answers and let it sleep; end all of it afterwards."""
    root = candidate.root
    family.settle(root)
    try:
        with family.awake(root):
            if candidate.questions:
                check(candidate.server.port, candidate.path, candidate.questions, candidate.wire)
        yield
    finally:
        with family.ended(root):
            end(candidate.server.process)


def measure(bench: Bench, candidate: Candidate, tally: Tally) -> Turn:
    """One load, its answers watched."""
    before = family.cpu_s(candidate.root)
    with family.awake(candidate.root), _watched(candidate, tally):
        if candidate.whole:
            load = bench.load_ours(candidate.server, candidate.bodies)
        else:
            port, seconds = candidate.server.port, bench.pace.seconds
            load = bench.generator.load(port, candidate.bodies, seconds, candidate.path)
    return Turn(load, _MICRO * (family.cpu_s(candidate.root) - before) / max(1, load.answers))


def best_setting(bench: Bench, peer: Peer, python: Path, job: Job) -> tuple[str, Trials]:
    """The setting in which a peer was fastest in a trial of its own, and what each gave or why it could not.

    Raises
    ------
    RuntimeError
        It runs in none of them.
    """
    if len(peer.settings) == 1:
        return next(iter(peer.settings)), {}
    bench = replace(bench, pace=replace(bench.pace, seconds=_TRIAL_S))
    trials: Trials = {}
    for setting in peer.settings:
        try:
            with serving(bench, peer, python, setting, job) as candidate:
                measure(bench, candidate, Tally())  # warm-up
                trials[setting] = measure(bench, candidate, Tally()).load
        except TROUBLES as error:
            trials[setting] = str(error)
    rates = {setting: trial.rate for setting, trial in trials.items() if isinstance(trial, Load)}
    if not rates:
        raise RuntimeError("; ".join(f"{setting}: {trial}" for setting, trial in trials.items()))
    return max(rates, key=rates.__getitem__), trials


def compete(bench: Bench, candidates: Sequence[Candidate], trials: Mapping[str, Trials]) -> list[Result]:
    """Load all in turn, round by round.

    Parameters
    ----------
    bench : Bench
    candidates : sequence of Candidate
        Ready and asleep.
    trials : mapping of str to Trials
        By the candidate's name, where its setting was chosen.
    """
    tallies = {candidate.name: Tally() for candidate in candidates}
    failures: dict[str, str] = {}
    turns = {c.name: partial(_turn, bench, c, tallies[c.name], failures) for c in candidates}
    interleave(turns, bench.pace.warm)
    rounds = interleave(turns, bench.pace.loads)
    return [_result(c, rounds[c.name], tallies[c.name], failures.get(c.name), trials) for c in candidates]


def _turn(bench: Bench, candidate: Candidate, tally: Tally, failures: dict[str, str]) -> Turn | None:
    """A candidate that failed once is out, and the others go on."""
    if candidate.name in failures:
        return None
    try:
        turn = measure(bench, candidate, tally)
    except TROUBLES as error:
        failures[candidate.name] = str(error)
        return None
    if not turn.load.rate:
        failures[candidate.name] = f"no good answer in {bench.pace.seconds:g} s of load"
        return None
    return turn


def _result(
    candidate: Candidate, turns: Sequence[Turn | None], tally: Tally, failure: str | None, trials: Mapping[str, Trials]
) -> Result:
    own = family.members(candidate.root)
    tally.right += len(candidate.questions)
    named = (candidate.name, candidate.title, candidate.setting)
    tried = trials.get(candidate.name, {})
    if failure is not None:
        return Result(*named, checked=tally, trials=tried, failure=failure)
    good = [turn for turn in turns if turn is not None]
    loads, cpu_us = [turn.load for turn in good], [turn.cpu_us for turn in good]
    return Result(*named, loads, cpu_us, sum(own.values()), len(own), tally, tried)


@contextlib.contextmanager
def _watched(candidate: Candidate, tally: Tally) -> Iterator[None]:
    if not candidate.questions:
        yield
        return
    with watching(candidate.server.port, candidate.path, candidate.questions, candidate.wire, tally):
        yield


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][-_REASON:] if lines else "it said nothing"
