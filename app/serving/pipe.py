"""One connection to Redis for reads: commands are written at once, replies come back in order, each to its callback.

redis-py connects (its URL says how: TLS, a socket's path, a password, a database), then hands the socket over: its own
way of a command costs a task, two locks and some forty calls, several times what the reply takes to read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis

Command = Sequence[bytes]
Done = Callable[[Any], None]
"""Gets the reply, or the exception that took its place; must not raise."""

_GONE: Final = "the connection to Redis is gone"
_pack: Callable[[tuple[bytes, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # declared for one word


class Pipe:
    """A connection that is made when it is needed, and made again after it was lost.

    Parameters
    ----------
    client : redis.asyncio.Redis
        Whose pool knows how to connect; no connection of its own is used.
    connect_s : float
        The longest that a connection may take to be made.
    """

    def __init__(self, client: Any, *, connect_s: float) -> None:
        self._pool = client.connection_pool
        self._connect_s = connect_s
        self._line: _Line | None = None
        self._unsent: list[tuple[Command, Done]] = []
        self._connecting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect anew, whatever there was: one that is silent may never speak again.

        Raises
        ------
        RedisError, OSError, TimeoutError
            Why it could not.
        """
        self.close()
        await self._connect()

    def ask(self, command: Command, done: Done) -> None:
        """Send a command. In place of a reply `done` may get a `hiredis.ReplyError`, or why there is no connection."""
        if self._line is not None and not self._line.lost:
            self._line.ask(command, done)
            return
        self._unsent.append((command, done))
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._reconnect())

    def close(self) -> None:
        """Disconnect. Whoever waits is told."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self._fail(ConnectionError(_GONE))

    async def _connect(self) -> None:
        connection = self._pool.make_connection()
        try:
            async with asyncio.timeout(self._connect_s):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        if self._line is not None and not self._line.lost:  # somebody asked meanwhile, or opened: one is enough
            await connection.disconnect(nowait=True)
            return
        self._line = _Line(connection)

    async def _reconnect(self) -> None:
        try:
            await self._connect()
        except Exception as fault:  # whatever keeps it from connecting, whoever waits must be told
            self._connecting = None
            self._fail(fault)
            return
        self._connecting = None
        unsent, self._unsent = self._unsent, []
        for command, done in unsent:
            self.ask(command, done)

    def _fail(self, why: Exception) -> None:
        unsent, self._unsent = self._unsent, []
        for _, done in unsent:
            done(why)


class _Line(asyncio.Protocol):
    """A socket that redis-py has connected."""

    def __init__(self, connection: Any) -> None:
        self._writer = connection._writer  # kept: a stream that nobody holds closes its socket
        connection._writer = connection._reader = None
        self._reader = hiredis.Reader()
        self._waiting: deque[Done] = deque()
        self.lost = False
        self._writer.transport.set_protocol(self)
        self.lost = self._writer.transport.is_closing()

    def ask(self, command: Command, done: Done) -> None:
        self._waiting.append(done)
        self._writer.transport.write(_pack(tuple(command)))

    def close(self) -> None:
        self._writer.transport.abort()
        self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._next()) is not False:
            self._waiting.popleft()(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        waiting, self._waiting = self._waiting, deque()
        for done in waiting:
            done(exc or ConnectionError(_GONE))

    def _next(self) -> Any:
        """The next whole reply, False where there is none. After noise nothing can be told apart: it ends the line."""
        try:
            reply = self._reader.gets()
        except hiredis.ProtocolError:
            self.close()
            return False
        if reply is not False and not self._waiting:
            self.close()  # nobody has asked
            return False
        return reply
