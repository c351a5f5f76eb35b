"""A server and the processes that it started: memory and processor that they take, sleep while others are measured."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loadtests.benchmarks.processes import SERVER_CORE, pin

_KB: Final = 1024
_MB: Final = 1e6
_PROC: Final = Path("/proc")
_USER: Final = 11  # utime and stime, counted after the name of the process (proc(5))
_SYSTEM: Final = 12


def members(root: int) -> dict[int, float]:
    """The processes of a tree.

    Parameters
    ----------
    root : int
        Pid of the process that was started.

    Returns
    -------
    dict of int to float
        Pid → resident memory in MB, the root first; empty when it has ended.
    """
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,rss=,stat="], capture_output=True, check=True, text=True)
    rss: dict[int, float] = {}
    children: defaultdict[int, list[int]] = defaultdict(list)
    for line in listed.stdout.splitlines():
        *numbers, state = line.split()
        if not state.startswith("Z"):
            pid, parent, kilobytes = map(int, numbers)
            rss[pid] = kilobytes * _KB / _MB
            children[parent].append(pid)
    found: dict[int, float] = {}
    waiting = [root] if root in rss else []
    while waiting:
        pid = waiting.pop()
        found[pid] = rss[pid]
        waiting += children[pid]
    return found


def cpu_s(root: int) -> float:
    """Seconds of processor that a tree has used so far, not a number where the system does not tell by process."""
    if not _PROC.exists():
        return float("nan")
    ticks = 0
    for pid in members(root):
        with contextlib.suppress(OSError):
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / os.sysconf("SC_CLK_TCK")


def settle(root: int) -> None:
    """Keep all of a tree on the servers' core, those too that were started before their parent was put there."""
    for pid in members(root):
        pin(pid, SERVER_CORE)


def sleep(root: int) -> None:
    """Stop a tree, so that what it does while it waits costs the others nothing."""
    _tell(root, signal.SIGSTOP)


@contextlib.contextmanager
def awake(root: int) -> Iterator[None]:
    """Let a tree run for a while."""
    _tell(root, signal.SIGCONT)
    try:
        yield
    finally:
        sleep(root)


@contextlib.contextmanager
def ended(root: int) -> Iterator[None]:
    """Wake a tree before its root is asked to stop, and let none of it outlive that.

    Around what stops the root: `with ended(pid): process.terminate(); process.wait()`.
    """
    _tell(root, signal.SIGCONT)
    own = [pid for pid in members(root) if pid != root]
    try:
        yield
    finally:
        for pid in own:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _tell(root: int, number: signal.Signals) -> None:
    for pid in members(root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
