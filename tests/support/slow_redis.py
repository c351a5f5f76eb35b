"""A Redis whose every answer comes later: a relay before a real one, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from tests.support.redis_process import free_port


class SlowRedis:
    """Relays to a Redis, and holds back what it says for `delay_s` seconds, which may be changed at any time."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.delay_s = 0.0
        self._behind = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._listens = threading.Event()
        self._end = asyncio.Event()

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        assert self._listens.wait(30.0)

    def stop(self) -> None:
        """Drop all connections."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        relays: set[asyncio.Task[None]] = set()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            relays.add(asyncio.ensure_future(self._relay(reader, writer)))

        server = await asyncio.start_server(begin, "127.0.0.1", self.port)
        self._listens.set()
        await self._end.wait()
        server.close()
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, asked = await asyncio.open_connection("127.0.0.1", self._behind)
            try:
                await asyncio.gather(self._copy(reader, asked, slow=False), self._copy(answers, writer, slow=True))
            finally:
                asked.close()
        except OSError:
            pass  # one side is gone, and so is the other
        finally:
            writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool) -> None:
        while data := await reader.read(1 << 16):
            if slow and self.delay_s:
                await asyncio.sleep(self.delay_s)
            writer.write(data)
        raise ConnectionResetError  # so that the other direction ends too


@contextlib.contextmanager
def slowed(port: int) -> Iterator[SlowRedis]:
    """Such a relay, stopped at the end."""
    relay = SlowRedis(port)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
