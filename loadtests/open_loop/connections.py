"""A pool of keep-alive connections without a framework: what it costs per request is what the schedule can bear."""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from loadtests.open_loop import wire
from loadtests.open_loop.wire import Response

_CONNECT_S: Final = 5.0
_CHUNK: Final = 1 << 16


class Connection:
    """One socket; one request is under way at most.

    Parameters
    ----------
    sock : socket.socket
        Connected, not blocking.
    """

    __slots__ = ("due", "place", "received", "sock", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.unsent = b""
        self.place = -1
        self.due = 0.0

    @property
    def busy(self) -> bool:
        """Whether an answer is due."""
        return self.place >= 0


class Pool:
    """Connections to one address, each free, or waiting for its answer.

    Parameters
    ----------
    host : str
    port : int
    n : int
        Connections, at least one.
    answered : callable
        Told (place, due, answer) of each request; `free` holds the connection again by then.

    Raises
    ------
    OSError
        Nobody listens.
    """

    def __init__(self, host: str, port: int, n: int, answered: Callable[[int, float, Response], None]) -> None:
        self._address = (host, port)
        self._answered = answered
        self._selector = selectors.DefaultSelector()
        self._ready = [self._selector.fileno()]
        self.free: deque[Connection] = deque()
        self.under_way = 0
        for _ in range(n):
            self._open()

    def send(self, place: int, due: float, request: bytes) -> None:
        """Send on a free connection.

        Parameters
        ----------
        place : int
            What `answered` is told, at least 0.
        due : float
            The same.
        request : bytes
        """
        connection = self.free.popleft()
        connection.place, connection.due = place, due
        self.under_way += 1
        self._write(connection, request)

    def turn(self, wait_s: float) -> None:
        """Wait for the first answers, and take in all that are here.

        `select` on the selector waits to the microsecond, where epoll itself rounds up to milliseconds.
        """
        if wait_s > 0.0 and not select.select(self._ready, (), (), wait_s)[0]:
            return
        for key, events in self._selector.select(0):
            connection: Connection = key.data
            if events & selectors.EVENT_WRITE:
                self._write(connection, connection.unsent)
            if events & selectors.EVENT_READ:
                self._read(connection)

    def give_up(self) -> None:
        """Whatever is under way counts as unanswered; the pool is of no use afterwards."""
        for key in list(self._selector.get_map().values()):
            connection: Connection = key.data
            if connection.busy:
                self._answered(connection.place, connection.due, wire.NONE)

    def close(self) -> None:
        """Hang up."""
        for key in list(self._selector.get_map().values()):
            key.data.sock.close()
        self._selector.close()

    def _open(self) -> None:
        sock = socket.create_connection(self._address, _CONNECT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ, connection)
        self.free.append(connection)

    def _write(self, connection: Connection, data: bytes) -> None:
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # a broken socket is readable as well, and is found there
        left = data[sent:] if sent < len(data) else b""
        if bool(left) is not bool(connection.unsent):
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if left else 0)
            self._selector.modify(connection.sock, events, connection)
        connection.unsent = left

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(connection)
            return
        connection.received += data
        try:
            response = wire.read(connection.received)
        except ValueError:
            self._lose(connection)
            return
        if response is not None:
            self._finish(connection, response)

    def _finish(self, connection: Connection, response: Response) -> None:
        busy, place, due = connection.busy, connection.place, connection.due
        connection.received, connection.place = b"", -1
        if response.closes or not busy:  # what nobody asked for, such as a 408, comes from a server that hangs up
            self._renew(connection)
        else:
            self.free.append(connection)
        if busy:
            self.under_way -= 1
            self._answered(place, due, response)

    def _lose(self, connection: Connection) -> None:
        """The other side is gone: what was under way has no answer, and another connection takes the place."""
        self._finish(connection, wire.NONE)

    def _renew(self, connection: Connection) -> None:
        self._selector.unregister(connection.sock)
        connection.sock.close()
        with contextlib.suppress(ValueError):
            self.free.remove(connection)
        with contextlib.suppress(OSError):  # refused: the pool is smaller from now on, and those waiting say so
            self._open()
