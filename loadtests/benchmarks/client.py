"""A load generator of our own: raw sockets under uvloop. Commands enter as lines of JSON, counts and latencies leave.

It runs where wrk is not installed, sends the batches, and asks at a fixed pace while they run.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import uvloop

from loadtests.benchmarks.processes import answer_commands
from loadtests.payloads import Rotation, read_lines

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_GRACE_S: Final = 30.0


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request is under way at a time."""

    def __init__(self) -> None:
        self._transport: Any = None  # uvloop's own class, which derives from none of asyncio's
        self._received = bytearray()
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Complete the answer when its last byte is here."""
        self._received += data
        status = _complete(self._received)
        if status is not None and self._answer is not None and not self._answer.done():
            self._received.clear()
            self._answer.set_result(status)

    def connection_lost(self, _: Exception | None) -> None:
        """An answer that was due will not come: status 0."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(0)

    def post(self, request: bytes) -> asyncio.Future[int]:
        """Send a whole HTTP request; the status of its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            self._answer.set_result(0)
        else:
            self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


class Client:
    """Posts the bodies of a file to one path of one server.

    Parameters
    ----------
    port : int
    path : str
    bodies : Path
        One a line.
    """

    def __init__(self, port: int, path: str, bodies: Path) -> None:
        self._port = port
        self._requests = Rotation([_request(path, body) for body in read_lines(bodies)])

    async def closed(self, connections: int, seconds: float) -> dict[str, Any]:
        """Ask again on every connection as soon as it answered."""
        opened = [await self._connect() for _ in range(connections)]
        start = perf_counter()
        answers: list[tuple[float, int]] = []
        await asyncio.gather(*(self._ask_until(c, start + seconds, answers) for c in opened))
        elapsed = perf_counter() - start
        for connection in opened:
            connection.close()
        return _summary(answers, elapsed)

    async def paced(self, rate: float, seconds: float, connections: int = 16) -> dict[str, Any]:
        """Ask at a fixed pace whatever the answers do; latency counts from when a request was due."""
        idle = deque([await self._connect() for _ in range(connections)])
        every, start = list(idle), perf_counter()
        answers: list[tuple[float, int]] = []
        tasks = []
        for i in range(int(rate * seconds)):
            due = start + i / rate
            await asyncio.sleep(max(0.0, due - perf_counter()))
            tasks.append(asyncio.create_task(self._ask_due(idle, due, answers)))
        await asyncio.gather(*tasks)
        elapsed = perf_counter() - start
        for connection in every:
            connection.close()
        return _summary(answers, elapsed)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, "127.0.0.1", self._port))[1]

    async def _ask_until(self, connection: Connection, end: float, answers: list[tuple[float, int]]) -> None:
        while (start := perf_counter()) < end:
            status = await asyncio.wait_for(connection.post(self._next()), _GRACE_S)
            answers.append((perf_counter() - start, status))
            if not status:
                return

    async def _ask_due(self, idle: deque[Connection], due: float, answers: list[tuple[float, int]]) -> None:
        while not idle:
            await asyncio.sleep(0.0005)
        connection = idle.popleft()
        status = await asyncio.wait_for(connection.post(self._next()), _GRACE_S)
        answers.append((perf_counter() - due, status))
        idle.append(connection)

    def _next(self) -> bytes:
        return next(self._requests.take(1))


def _request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _complete(received: bytearray) -> int | None:
    """The status of an answer that is here as a whole."""
    end = received.find(_END)
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    place = head.find(_LENGTH)
    length = int(head[place + len(_LENGTH) :].split(b"\r\n", 1)[0]) if place >= 0 else 0
    return int(head[9:12]) if len(received) >= end + len(_END) + length else None


def _summary(answers: list[tuple[float, int]], seconds: float) -> dict[str, Any]:
    good = [1000.0 * latency for latency, status in answers if status == 200]
    broken = sum(not status for _, status in answers)
    return {
        "answers": len(answers) - broken,
        "refused": len(answers) - broken - len(good),
        "broken": broken,
        "seconds": seconds,
        "latencies_ms": good,
    }


def main(port: str, path: str, bodies: str) -> None:
    """Be a worker with the commands `closed` and `paced`."""
    loop = uvloop.new_event_loop()
    client = Client(int(port), path, Path(bodies))
    answer_commands(
        {
            "closed": lambda **arguments: loop.run_until_complete(client.closed(**arguments)),
            "paced": lambda **arguments: loop.run_until_complete(client.paced(**arguments)),
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
