"""The whole run. Peers enter; each is tried, started, and loaded beside ours and the references; results leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from loadtests.benchmarks.generator import Load
from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.plan import Bench
from loadtests.benchmarks.rounds import spread
from loadtests.peers import ours
from loadtests.peers.catalogue import Peer
from loadtests.peers.contest import TROUBLES, Candidate, best_setting, compete, serving
from loadtests.peers.results import OURS, Result, Trials
from loadtests.peers.rows import Job

_CALM: Final = 1.2
Entry = tuple[Result, AbstractContextManager[Candidate]]


def run(
    bench: Bench,
    peers: Sequence[Peer],
    pythons: Mapping[str, Path],
    task: Job,
    out: Measurements,
    tell: Callable[[str], None],
) -> list[Result]:
    """Choose each peer's setting, then load all in turn.

    Parameters
    ----------
    bench : Bench
    peers : sequence of Peer
        Installed ones, references among them.
    pythons : mapping of str to Path
        By the peer's name.
    task : Job
    out : Measurements
        Takes notes.
    tell : callable of str
        Takes what a waiting person may want to know.

    Returns
    -------
    list of Result
        The echo, the peers, ours; those that could not be started at the end.
    """
    chosen: dict[str, str] = {}
    trials: dict[str, Trials] = {}
    failed: list[Result] = []
    for peer in peers:
        try:
            chosen[peer.name], trials[peer.name] = best_setting(bench, peer, pythons[peer.name], task)
            tell(_told(peer, chosen[peer.name], trials[peer.name]))
        except TROUBLES as error:
            failed.append(Result(peer.name, peer.title, failure=str(error)))
    with ExitStack() as stack:
        candidates: list[Candidate] = []
        for result, starting in _entries(bench, peers, pythons, chosen, task):
            try:
                candidates.append(stack.enter_context(starting))
            except TROUBLES as error:
                failed.append(replace(result, failure=str(error)))
        results = compete(bench, candidates, trials)
    _note_unrest(results, out)
    return [*results, *failed]


def _entries(
    bench: Bench, peers: Sequence[Peer], pythons: Mapping[str, Path], chosen: Mapping[str, str], task: Job
) -> Iterator[Entry]:
    """Everybody who takes part, to be started, in the order of the table."""
    yield Result("echo", ours.ECHO_TITLE), ours.echo(bench, task)
    for peer in peers:
        if peer.name in chosen:
            setting = chosen[peer.name]
            yield Result(peer.name, peer.title, setting), serving(bench, peer, pythons[peer.name], setting, task)
    for corpus, bodies in bench.corpora.named().items():
        yield Result(OURS[corpus], ours.title(corpus)), ours.service(bench, corpus, bodies)


def _told(peer: Peer, setting: str, trials: Trials) -> str:
    if not trials:
        return f"{peer.title}: {setting}"
    return f"{peer.title}: {setting} of {'; '.join(f'{name}: {_trial(trial)}' for name, trial in trials.items())}"


def _trial(trial: Load | str) -> str:
    return trial if isinstance(trial, str) else f"{trial.rate:,.0f}/s, p99 {trial.p99_ms:.1f} ms"


def _note_unrest(results: Sequence[Result], out: Measurements) -> None:
    for result in results:
        if result.name == "echo" and result.loads and spread(result.rates) > _CALM:
            out.note(f"rounds of echo differ by {spread(result.rates):.2f} ×: other work ran, measure again")
