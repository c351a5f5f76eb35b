"""uvicorn that drops no call when it stops, and workers that are replaced when they die, with patience.

uvicorn closes idle connections the moment it is told to stop, and a call that is on its way over one of them is lost;
so is one whose connection waits in the listening socket's queue when that closes. Here newcomers are kept out first,
then the queue is emptied, then the socket is closed: nobody can join between the last look and the end. Every answer
from then on says `Connection: close`, and only what stays silent is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Final

import structlog
import uvicorn
from uvicorn.supervisors import multiprocess

from app.connections import sweep_all

GRACE_S: Final = 1.0
"""Seconds for which an open connection without a call is kept after the port has closed."""

FIRST_PAUSE_S: Final = 1.0
"""Seconds before a worker that never served is started again; doubled by every failure in a row."""

LONGEST_PAUSE_S: Final = 60.0

HANDSHAKE_S: Final = 0.1
"""Seconds that a connection half way through its handshake has to join the queue, once newcomers are kept out."""

LAST_S: Final = 1.0
"""Seconds after that in which half a request may still become a whole one, and an answer be read."""

_TICK_S: Final = 0.02
_SWEEP_S: Final = 0.5
_TICKS_A_SWEEP: Final = 5  # uvicorn's ticks are 0.1 s
_LOOK_S: Final = 1.0

# Classic BPF over the TCP header, (code, true, false, operand): load the flags, drop a SYN, let all else pass.
_NO_NEWCOMERS: Final = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
_SO_ATTACH_FILTER: Final = 26  # of Linux; Python has no name for it

_log = structlog.get_logger("pltv")


class Server(uvicorn.Server):
    """Stops in this order: no new connection, calls on their way, calls under way, the application."""

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second; True to stop."""
        if counter % _TICKS_A_SWEEP == 0:
            sweep_all(self.server_state.connections)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; called once, by uvicorn."""
        await self._leave(sockets or [])
        self.server_state.default_headers.append((b"connection", b"close"))
        for _ in range(round(GRACE_S / _TICK_S)):  # turns, not a clock: after a stall what has arrived is read first
            if not self.server_state.connections or self.force_exit:
                break
            await asyncio.sleep(_TICK_S)
        sweeping = asyncio.create_task(self._sweep_to_the_end())
        await super().shutdown(sockets)
        sweeping.cancel()

    async def _sweep_to_the_end(self) -> None:
        """uvicorn ticks no more, and would wait for half a request until its patience ends; whole ones it waits for."""
        for _ in range(round(LAST_S / _TICK_S)):
            await asyncio.sleep(_TICK_S)
        while True:
            sweep_all(self.server_state.connections, LAST_S)
            await asyncio.sleep(_SWEEP_S)

    async def _leave(self, sockets: list[socket.socket]) -> None:
        """Keep newcomers out, take who waits in the queue, and close it."""
        for sock in sockets:
            _keep_out(sock)
        await asyncio.sleep(HANDSHAKE_S)
        waiting = [connection for sock in sockets for connection in _accept_all(sock)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        """As uvicorn makes one for each connection."""
        make = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg]


class Worker(multiprocess.Process):
    """A worker process with that server."""

    @property
    def server(self) -> Server:
        """Made in the worker, when it is first asked for."""
        if not isinstance(self._server, Server):
            self._server = Server(self.config)
        return self._server

    def always_pong(self) -> None:
        """Answer the parent's pings, in a thread; when the parent is gone, stop as if it had asked."""
        parent = multiprocessing.parent_process()
        while parent is None or parent.is_alive():
            if self.child_conn.poll(_LOOK_S):
                self.pong()
        os.kill(os.getpid(), signal.SIGTERM)

    def serves(self, timeout: float) -> bool | None:
        """Whether it has started to serve; None when it is dead or hung."""
        return self._healthcheck(timeout) if self.process.is_alive() else None


class Workers(multiprocess.Multiprocess):
    """Worker processes that share a listening socket, and a parent that replaces those which die.

    One that dies after it has served is replaced at once. One that dies while it starts would die again: the next try
    comes after a pause that doubles, and the parent stops when there is no other worker left.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.failed = False
        self._served: set[int | None] = set()  # process ids
        self._failures = 0
        self._due: dict[int, float] = {}  # place of a dead worker → when the next one is tried

    def keep_subprocess_alive(self) -> None:
        """Look at every worker; called by uvicorn twice a second."""
        for place, worker in enumerate(self.processes):
            assert isinstance(worker, Worker)
            if self.should_exit.is_set():
                return
            serves = worker.serves(self.config.timeout_worker_healthcheck)
            if serves:
                self._served.add(worker.pid)
                self._failures = 0
            elif serves is None:
                self._bury(place, worker)

    def terminate_all(self) -> None:
        """Stop the workers. The parent's own hold on the socket goes first: nobody would answer those it kept."""
        for sock in self.sockets:
            sock.close()
        super().terminate_all()

    def _bury(self, place: int, worker: Worker) -> None:
        if place not in self._due:
            worker.kill()  # it may only hang
            worker.join()
            self._due[place] = time.monotonic() + self._pause(worker)
        if not self.should_exit.is_set() and time.monotonic() >= self._due[place]:
            del self._due[place]
            self.processes[place] = Worker(self.config, self.sockets)
            self.processes[place].start()

    def _pause(self, worker: Worker) -> float:
        """Seconds until the next try in its place."""
        served = worker.pid in self._served
        self._served.discard(worker.pid)
        _log.error("worker died", pid=worker.pid, exitcode=worker.exitcode, served=served)
        if served:
            return 0.0
        if not any(other.process.is_alive() for other in self.processes):
            self.failed = True
            self.should_exit.set()
        self._failures += 1
        return float(min(FIRST_PAUSE_S * 2 ** (self._failures - 1), LONGEST_PAUSE_S))


def raise_file_limit() -> None:
    """Let this process, and those that it starts, hold as many connections as the system allows it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# The supervisor makes its workers by this name and takes no other.
multiprocess.Process = Worker  # type: ignore[misc]


def _keep_out(sock: socket.socket) -> None:
    """Let nobody join a listening socket's queue any more, in one step and for every process that shares it.

    Who knocks meanwhile hears nothing, knocks again after a second, and is refused: nothing of his was sent. Where the
    system can not do that, whoever joins between the last look into the queue and its end is still lost.
    """
    with contextlib.suppress(OSError):
        if sock.family == socket.AF_UNIX:
            Path(sock.getsockname()).unlink(missing_ok=True)
        elif sys.platform == "linux":
            steps = b"".join(struct.pack("HBBI", *step) for step in _NO_NEWCOMERS)
            program = ctypes.create_string_buffer(steps, len(steps))
            which = struct.pack("HP", len(_NO_NEWCOMERS), ctypes.addressof(program))
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, which)


def _accept_all(sock: socket.socket) -> list[socket.socket]:
    taken: list[socket.socket] = []
    while True:
        try:
            connection = sock.accept()[0]
        except OSError:  # none waits
            return taken
        connection.setblocking(False)
        taken.append(connection)
