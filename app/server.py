"""uvicorn that drops no call when it stops: what was sent before the port closed is answered.

uvicorn closes idle connections the moment it is told to stop, and a call that is on its way over one of them is lost;
so is one whose connection waits in the listening socket's queue. Here the queue is emptied in the same moment in which
the socket is closed, every answer from then on says `Connection: close`, and only what stays silent is closed.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import uvicorn
from uvicorn.supervisors import multiprocess

GRACE_S: Final = 1.0
"""Seconds for which an open connection without a call is kept after the port has closed."""

_TICK_S: Final = 0.02


class Server(uvicorn.Server):
    """Stops in this order: no new connection, calls on their way, calls under way, the application."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; called once, by uvicorn."""
        await self._leave(sockets or [])
        self.server_state.default_headers.append((b"connection", b"close"))
        loop = asyncio.get_running_loop()
        until = loop.time() + GRACE_S
        while self.server_state.connections and not self.force_exit and loop.time() < until:
            await asyncio.sleep(_TICK_S)
        await super().shutdown(sockets)

    async def _leave(self, sockets: list[socket.socket]) -> None:
        """Take who waits in the queue, and close it before anyone else can join."""
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


class Workers(multiprocess.Multiprocess):
    """Worker processes that share a listening socket, and a parent that replaces those which die."""

    def terminate_all(self) -> None:
        """Stop the workers. The parent's own hold on the socket goes first: nobody would answer those it kept."""
        for sock in self.sockets:
            sock.close()
        super().terminate_all()


# The supervisor makes its workers by this name and takes no other.
multiprocess.Process = Worker  # type: ignore[misc]


def _accept_all(sock: socket.socket) -> list[socket.socket]:
    taken: list[socket.socket] = []
    while True:
        try:
            connection = sock.accept()[0]
        except OSError:  # none waits
            return taken
        connection.setblocking(False)
        taken.append(connection)
