"""The Redis tier: packed histories shared by all workers, newest `as_of` wins.

A value is a packed history, or an erasure marker: the header of one with `ERASED` for its magic. Both carry their time
at `AS_OF_OFFSET`, where the scripts read it. Whatever else lies under a key is no history, and is overwritten.
Outcomes told to the observer: `hit`, `miss`, `erased`, `corrupt`, `stale` (by the cache), `timeout`, `deadline`,
`error`, `open` (not asked: the breaker is open), and those of `writing`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis.asyncio as redis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from app.errors import StoreUnavailable
from app.features.history import AS_OF_OFFSET, FINGERPRINT_BYTES, MAGIC
from app.features.layout import Layout
from app.serving.breaker import Breaker
from app.serving.erasures import ErasureFeed
from app.serving.joins import Done, JoinedReads, Lost, Values
from app.serving.pipe import Pipe

ERASED: Final = b"PLX1"
STORED: Final = 1
ERASED_SINCE: Final = -1
_STAMP: Final = struct.Struct("<q")
_HEAD_BYTES: Final = AS_OF_OFFSET + _STAMP.size
_log = structlog.get_logger("pltv")

# KEYS: the entry. Defines `stored`, the time under it, and `erased`, whether that is an erasure's.
_LOOK: Final = f"""
local head = redis.pcall('GETRANGE', KEYS[1], 0, {_HEAD_BYTES - 1})
local stored, erased = nil, false
if type(head) == 'string' and #head == {_HEAD_BYTES} then
  local kind = string.sub(head, 1, {AS_OF_OFFSET})
  erased = kind == ARGV[1]
  if erased or kind == ARGV[2] then stored = struct.unpack('<i8', head, {AS_OF_OFFSET + 1}) end
end
"""
# ARGV: marker's head, history's head, time to live in ms, the packed history.
# Returns 1 stored, 0 a newer one is there, -1 erased since; and the time of what is there.
_SWAP: Final = (
    _LOOK
    + f"""
local as_of = struct.unpack('<i8', ARGV[4], {AS_OF_OFFSET + 1})
if erased and stored >= as_of then return {{-1, stored}} end
if stored and stored > as_of then return {{0, stored}} end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3])
return {{1, as_of}}
"""
)
# ARGV: marker's head, history's head, time to live in ms, time of the erasure. The data go first: where memory is
# full the marker is refused, and the erasure is not confirmed, but nothing of the user is left.
_ERASE: Final = (
    _LOOK
    + """
local at = tonumber(ARGV[4])
if stored and stored > at then at = stored end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1] .. struct.pack('<i8', at), 'PX', ARGV[3])
return at
"""
)


class RedisTier:
    """Histories in Redis, behind a circuit breaker.

    Parameters
    ----------
    url : str
        `redis://`, `rediss://` (its `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` name PEM files) or `unix://`.
    layout : Layout
        Its fingerprint is part of every key: another declaration never meets these entries.
    timeout_s : float
        The longest that a prediction waits.
    write_timeout_s : float
        The longest that a write, an erasure or a probe waits.
    ttl_s : float
        Seconds that an entry or a marker is kept. A marker that outlives the maximum age of a history outlives
        everything that it has to refuse; under `allkeys-lru` a full Redis may evict it earlier.
    feed_s : float
        Seconds that an erasure stays announced to other workers; at least the time to live of their near entries.
    breaker : Breaker
    on_erased, on_gap : callable
        As `ErasureFeed` takes them.
    """

    def __init__(
        self,
        url: str,
        layout: Layout,
        *,
        timeout_s: float,
        write_timeout_s: float,
        ttl_s: float,
        feed_s: float,
        breaker: Breaker,
        on_erased: Callable[[bytes, int], None],
        on_gap: Callable[[], None],
    ) -> None:
        fingerprint = bytes.fromhex(layout.fingerprint)[:FINGERPRINT_BYTES]
        self.prefix = b"pltv:" + layout.fingerprint[:16].encode()
        self.breaker = breaker
        self._client = connect(url)
        self.feed = ErasureFeed(
            connect(url), self.prefix + b"erased", keep_s=feed_s, on_erased=on_erased, on_gap=on_gap
        )
        self._marker_head, self._history_head = ERASED + fingerprint, MAGIC + fingerprint
        self._timeout, self._write_timeout = timeout_s, write_timeout_s
        self._ttl_ms = int(1000 * ttl_s)
        self._pipe = Pipe(self._client, connect_s=write_timeout_s)
        self._reads = JoinedReads(self._mget, timeout_s=timeout_s, on_reply=breaker.succeed, on_failure=breaker.fail)
        self._probing: asyncio.Task[None] | None = None
        self._fault = ""  # why the last probe failed

    async def open(self) -> None:
        """Connect ahead of the first request. An absent Redis opens the breaker and nothing else."""
        await self._probe(self._write_timeout)
        self.feed.open()

    async def close(self) -> None:
        """End every wait and close the connections."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        self._reads.close()
        self._pipe.close()
        await self.feed.close()
        await self._client.aclose()

    def get(self, key: bytes, deadline: float, done: Done) -> None:
        """Ask for the value under a digest; `done` gets bytes, None, or why there is no reply."""
        if self.breaker.closed:
            self._reads.get(self.prefix + key, deadline, done)
            return
        self._probe_when_due()
        done(Lost.OPEN)

    async def swap(self, items: Sequence[tuple[bytes, bytes]]) -> list[tuple[int, int]]:
        """Store packed histories by compare-and-set, each for itself.

        Returns
        -------
        list of (int, int)
            1 stored, 0 a newer one is there, -1 erased since; and the time of what is there, unix seconds.

        Raises
        ------
        StoreUnavailable
            When any of them was not confirmed.
        """
        commands = [self._script(_SWAP, key, blob) for key, blob in items]
        return [(int(verdict), int(as_of)) for verdict, as_of in await self._run(commands, "store")]

    async def erase(self, keys: Sequence[bytes], erased_at: int) -> list[int]:
        """Erase, and leave markers that refuse what is as old as the erasure.

        Returns
        -------
        list of int
            The markers' times: the erasure's, or that of a newer entry which was there.

        Raises
        ------
        StoreUnavailable
            When any of them was not confirmed.
        """
        commands = [self._script(_ERASE, key, erased_at) for key in keys]
        commands += [self.feed.announcement(key, erased_at) for key in keys]
        return [int(at) for at in (await self._run(commands, "erasure"))[: len(keys)]]

    def erased_at(self, value: bytes) -> int | None:
        """The time of an erasure marker, None where the value is none."""
        if len(value) != _HEAD_BYTES or value[:AS_OF_OFFSET] != self._marker_head:
            return None
        at: int = _STAMP.unpack_from(value, AS_OF_OFFSET)[0]
        return at

    async def _run(self, commands: Sequence[tuple[Any, ...]], what: str) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            async with asyncio.timeout(self._write_timeout):
                replies = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as fault:
            self.breaker.fail()
            raise StoreUnavailable(f"Redis did not confirm the {what}: {type(fault).__name__}") from fault
        for reply in replies:
            if isinstance(reply, Exception):  # its text may quote the command, its type says enough
                raise StoreUnavailable(f"Redis refused the {what}: {type(reply).__name__}") from reply
        return list(replies)

    def _script(self, script: str, key: bytes, argument: bytes | int) -> tuple[Any, ...]:
        # The whole script each time: EVALSHA would have to be repaired after every restart of Redis.
        heads = (self._marker_head, self._history_head)
        return ("EVAL", script, 1, self.prefix + key, *heads, self._ttl_ms, argument)

    def _mget(self, keys: Sequence[bytes], done: Callable[[Values], None]) -> None:
        self._pipe.ask((b"MGET", *keys), done)

    def _probe_when_due(self) -> None:
        if self.breaker.take_probe():
            self._probing = asyncio.get_running_loop().create_task(self._probe(self._timeout))

    async def _probe(self, answer_s: float) -> None:
        """Connect at leisure, then ask for an answer in the time that a prediction would give it."""
        try:
            await self._pipe.open()
            async with asyncio.timeout(answer_s):
                await self._ping()
        except Exception as fault:  # a probe only reports: it belongs to no request that could fail by it
            self.breaker.probed(answered=False)
            self._tell(f"{type(fault).__name__}: {fault}".removesuffix(": "))
        else:
            self.breaker.probed(answered=True)
            self._tell("")

    async def _ping(self) -> None:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(reply: bytes | Exception) -> None:
            if answered.done():  # by the timeout
                return
            if isinstance(reply, Exception):
                answered.set_exception(reply)
            else:
                answered.set_result(None)

        self._pipe.ask((b"PING",), done)
        await answered

    def _tell(self, fault: str) -> None:
        """Log why Redis can not be used, once for each reason, and that it can again."""
        if fault and fault != self._fault:
            _log.warning("Redis is left alone", reason=fault)
        elif self._fault and not fault:
            _log.info("Redis answers again")
        self._fault = fault


def connect(url: str) -> Any:  # redis-py annotates its replies for both kinds of client at once
    """A client that waits for nothing by itself: no retries, no timeouts (each caller bounds its own wait).

    redis-py's own socket timeout costs 20 µs a call on Python 3.11 (`wait_for` makes a task of every write), its
    defaults (5 s, 10 retries) cost a dead Redis 4 s a call; RESP 2 without driver info spares two round trips of
    every connect.
    """
    return redis.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
