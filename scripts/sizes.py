"""Sizes that capacity rests on. Lines of `pltv generate --requests` enter, bytes a user or a request leave.

Redis is measured, not estimated: one of its own is filled with the histories as the service stores them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import redis
import yaml

from app.features.history import held_history, parse_history
from app.features.layout import Layout
from app.features.spec import Declaration
from app.serving.near import MARKER_SHARE, NearTier

CONFIG: Final = Path(__file__).parent.parent / "config" / "smadex.yaml"
USERS: Final = 100_000
TTL_MS: Final = 35 * 86_400 * 1000
_NEAR_BYTES: Final = 1 << 30


def measure(lines: Sequence[str], users: int = USERS) -> dict[str, float]:
    """Mean bytes of what the requests carry and of what the service keeps of it.

    Parameters
    ----------
    lines : sequence of str
        Bodies of /predict with their history inline.
    users : int
        How many Redis is filled with.

    Returns
    -------
    dict of str to float
        By the names of the page's inputs. `redis_user_bytes` is missing where redis-server is not installed.
    """
    layout = Layout(Declaration.from_dict(yaml.safe_load(CONFIG.read_text(encoding="utf-8"))))
    bodies = [json.loads(line) for line in lines]
    histories = [h for h in (_history(body) for body in bodies) if h]
    # Those that are kept have an as_of; a request need not name one.
    packed = [parse_history(layout, {"as_of": 0, **history}).packed for history in histories]
    near_packed, near_parsed = near_entry_bytes(packed)
    sizes = {
        "bare_request_bytes": _mean([len(_compact(_bare(body))) for body in bodies]),
        "history_json_bytes": _mean([len(_compact(history)) for history in histories]),
        "packed_bytes": _mean([len(blob) for blob in packed]),
        "near_packed_bytes": near_packed,
        "near_parsed_bytes": near_parsed,
    }
    if shutil.which("redis-server"):
        sizes["redis_user_bytes"] = redis_user_bytes(layout, packed, users)
    return sizes


def near_entry_bytes(packed: Sequence[bytes]) -> tuple[float, float]:
    """What the near tier counts for an entry before and after its first hit."""
    near = NearTier(max_bytes=_NEAR_BYTES, ttl_s=3600, marker_ttl_s=3600)
    keys = [_digest(i) for i in range(len(packed))]
    for key, blob in zip(keys, packed, strict=True):
        near.put(key, held_history(blob))
    before = near.held_bytes / len(near)
    for key in keys:
        near.get(key)
    return before, near.held_bytes / len(near)


def near_share() -> float:
    """The part of PLTV_NEAR_BYTES that holds histories."""
    return 1 - 1 / MARKER_SHARE


def redis_user_bytes(layout: Layout, packed: Sequence[bytes], users: int) -> float:
    """Memory that Redis takes for a user: value, key, expiry, its tables and its allocator's rounding."""
    prefix = b"pltv:" + layout.fingerprint[:16].encode()
    with _own_redis() as client:
        empty = client.info("memory")["used_memory"]
        for start in range(0, users, 1000):
            pipeline = client.pipeline(transaction=False)
            for i in range(start, min(start + 1000, users)):
                pipeline.set(prefix + _digest(i), packed[i % len(packed)], px=TTL_MS)
            pipeline.execute()
        return float(client.info("memory")["used_memory"] - empty) / users


def _history(body: dict[str, Any]) -> dict[str, Any]:
    history: dict[str, Any] = body.get("user", {}).get("ext", {}).get("history") or {}
    return {k: v for k, v in history.items() if v is not None}


def _bare(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "user"}


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(i: int) -> bytes:
    return hashlib.sha256(str(i).encode()).digest()


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers)


@contextmanager
def _own_redis() -> Iterator[redis.Redis]:
    """A server on a socket in a directory of its own, without persistence, ended afterwards."""
    with TemporaryDirectory(prefix="pltv-sizes-") as directory:
        place = f"{directory}/redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", place, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([*command, "--dir", directory], stdout=subprocess.DEVNULL)
        try:
            with redis.Redis(unix_socket_path=place) as client:
                _await(client, server)
                yield client
        finally:
            server.kill()
            server.wait()


def _await(client: redis.Redis, server: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if server.poll() is not None:
                break
            time.sleep(0.02)
    raise SystemExit("capacity: redis-server did not start")
