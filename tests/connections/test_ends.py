"""Tests of app/connections/ends.py: connections in this process, where a test may say what time it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.connections import Connection
from app.serving.admission import Admission

KEEP_ALIVE_S = 75


class Host:
    """An application with one answer."""

    request_timeout_s = 10.0
    direct = None
    admission = Admission(1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """200, without a body."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def turn_away(self, path: bytes) -> None:
        """Nobody is."""

    def turned_away(self) -> bytes:
        """Not asked for here."""
        raise AssertionError

    def refusal(self, status: int, detail: str) -> bytes:
        """Not asked for here."""
        raise AssertionError(status)


async def rests(between: bytes, after_s: float) -> bool:
    """Whether a connection is closed that got an answer, sent `between`, and is looked at so many seconds later."""
    loop, made = asyncio.get_running_loop(), []
    config = uvicorn.Config(
        Host(),
        http=Connection,
        proxy_headers=False,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    config.load()

    def make() -> Connection:
        made.append(Connection(config, ServerState(), {}))
        return made[-1]

    server = await loop.create_server(make, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        ask = b"GET / HTTP/1.1\r\n\r\n"
        writer.write(ask)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(between)
        while made[0]._idle is None and between:
            await asyncio.sleep(0.001)
        made[0].sweep(loop.time() + after_s, float("inf"))
        closed = made[0].transport.is_closing()
        if not closed:  # then it still serves
            writer.write(ask)
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    return closed


@pytest.mark.parametrize(("after_s", "closed"), [(KEEP_ALIVE_S - 5.0, False), (KEEP_ALIVE_S + 1.0, True)])
def test_empty_lines_hold_no_connection(after_s: float, closed: bool) -> None:
    """What is sent between requests and begins none does not let a connection rest for longer than others."""
    assert asyncio.run(asyncio.wait_for(rests(b"\r\n", after_s), 60.0)) is closed
