"""Tests of app/serving/pipe.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import hiredis
import pytest
import redis.exceptions

from app.serving.pipe import Pipe
from app.serving.remote import connect
from tests.serving.observed import until
from tests.support.redis_process import free_port


@contextlib.asynccontextmanager
async def piped(url: str) -> AsyncIterator[Pipe]:
    """A pipe to a Redis, closed at the end."""
    client = connect(url)
    pipe = Pipe(client, connect_s=5.0)
    try:
        yield pipe
    finally:
        pipe.close()
        await client.aclose()


def told(pipe: Pipe, *command: bytes) -> asyncio.Future[Any]:
    """Ask; what is told instead of a reply is the result too. Being told twice fails."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    pipe.ask(command, future.set_result)
    return future


class Scripted:
    """A server that says what a test has it say, whatever it is asked."""

    def __init__(self, say: Callable[[int], bytes]) -> None:
        self.connections = self.left = 0
        self._say = say

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        mine = self.connections
        try:
            while await reader.read(1 << 16):
                for byte in self._say(mine):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0)
        except ConnectionError:
            pass  # the pipe has hung up
        finally:
            self.left += 1
            writer.close()


def test_replies_reach_who_asked(redis_url: str) -> None:
    """Sent in one go, before there is a connection and after: texts, lists, nothing and errors, each to its own."""

    async def scenario() -> None:
        async with piped(redis_url) as pipe:
            for _ in range(2):
                asked = [told(pipe, b"ECHO", b"%d" % i) for i in range(50)]
                asked += [told(pipe, b"MGET", b"pipe: nobody", b"pipe: none"), told(pipe, b"ECHO"), told(pipe, b"PING")]
                *echoes, nothing, error, pong = await asyncio.gather(*asked)
                assert echoes == [b"%d" % i for i in range(50)]
                assert nothing == [None, None]
                assert isinstance(error, hiredis.ReplyError)
                assert pong == b"PONG"

    asyncio.run(scenario())


def test_a_reply_in_pieces() -> None:
    """Cut anywhere, with line ends and noise within the value."""
    value = b"a\r\n$-1\r\n\x00\xff"

    async def scenario() -> None:
        server = Scripted(lambda _: b"*2\r\n$%d\r\n%b\r\n$-1\r\n" % (len(value), value))
        async with server.listening() as url, piped(url) as pipe:
            assert await told(pipe, b"MGET", b"a", b"b") == [value, None]

    asyncio.run(scenario())


@pytest.mark.parametrize("noise", [b"noise\r\n", b"+OK\r\n+unasked\r\n", b"+OK\r\n?\r\n"])
def test_noise_ends_the_connection(noise: bytes) -> None:
    """After what is no reply, or nobody's, nothing is believed: who waits is told, and the next call connects again."""

    async def scenario() -> None:
        server = Scripted(lambda n: noise if n == 1 else b"+fine\r\n")
        async with server.listening() as url, piped(url) as pipe:
            first = await told(pipe, b"PING")
            assert first == b"OK" if noise.startswith(b"+") else isinstance(first, ConnectionError)
            await until(lambda: pipe._line is None or pipe._line.lost, "the connection ends")
            assert await told(pipe, b"PING") == b"fine"
            assert server.connections == 2

    asyncio.run(scenario())


def test_a_lost_connection_is_made_again(redis_url: str) -> None:
    """Who waits is told, all of them; who asks afterwards is answered."""

    async def scenario() -> None:
        async with piped(redis_url) as pipe:
            waiting = [told(pipe, b"BLPOP", b"pipe: never", b"0"), told(pipe, b"PING")]
            async with piped(redis_url) as other:
                clients = await told(other, b"CLIENT", b"LIST")
                while b"cmd=blpop" not in clients:
                    clients = await told(other, b"CLIENT", b"LIST")
                line = next(line for line in clients.splitlines() if b"cmd=blpop" in line)
                assert await told(other, b"CLIENT", b"KILL", b"ID", line.split(b" ")[0][3:]) == 1
            assert all(isinstance(one, ConnectionError) for one in await asyncio.gather(*waiting))
            assert await told(pipe, b"PING") == b"PONG"

    asyncio.run(scenario())


def test_an_absent_redis_is_told() -> None:
    """To all who asked meanwhile, by why; `open` raises it."""

    async def scenario() -> None:
        async with piped(f"redis://127.0.0.1:{free_port()}/0") as pipe:
            for _ in range(2):
                for one in await asyncio.gather(told(pipe, b"PING"), told(pipe, b"PING")):
                    assert isinstance(one, redis.exceptions.ConnectionError)
            with pytest.raises(redis.exceptions.ConnectionError):
                await pipe.open()

    asyncio.run(scenario())


def test_open_leaves_a_silent_connection() -> None:
    """One that never answers is given up, and its callers are told; the new one answers."""

    async def scenario() -> None:
        server = Scripted(lambda n: b"" if n == 1 else b"+PONG\r\n")
        async with server.listening() as url, piped(url) as pipe:
            silent = told(pipe, b"PING")
            await until(lambda: server.connections == 1, "it connects")
            assert not silent.done()
            await pipe.open()
            assert isinstance(await silent, ConnectionError)
            assert await told(pipe, b"PING") == b"PONG"

    asyncio.run(scenario())


def test_asking_while_it_is_opened_leaves_one_connection() -> None:
    """Either way of connecting may come first: the other's connection is not left open beside it."""

    async def scenario() -> None:
        server = Scripted(lambda _: b"+PONG\r\n")
        async with server.listening() as url, piped(url) as pipe:
            opening = asyncio.ensure_future(pipe.open())
            await asyncio.sleep(0)
            assert await told(pipe, b"PING") == b"PONG"
            await opening
            await until(lambda: server.connections - server.left == 1, "one connection is left")
            assert await told(pipe, b"PING") == b"PONG"

    asyncio.run(scenario())


def test_close_tells_who_waits() -> None:
    """Before the connection is made, and after."""

    async def scenario() -> None:
        server = Scripted(lambda _: b"")
        async with server.listening() as url, piped(url) as pipe:
            for connected in (False, True):
                asked = told(pipe, b"PING")
                await until(lambda: server.connections or not connected, "it connects")  # noqa: B023
                pipe.close()
                assert isinstance(await asked, ConnectionError)

    asyncio.run(scenario())
