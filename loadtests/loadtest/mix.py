"""What is sent, as files. Corpora enter; calls with the ids that their answers must have leave."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from loadtests import payloads
from loadtests.loadtest.target import Target
from loadtests.payloads import Corpora

PREDICT: Final = "/predict"
BATCH: Final = "/predict/batch"
KINDS: Final = ("natural", "full", "known", "batch")
"""Natural and full histories inline; users whose history is stored and found by their identity; batches."""
BATCH_SIZE: Final = 20
_KNOWN: Final = 2_000
_STORE: Final = 500  # users in one call
_USERS: Final = "users"


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Parameters
    ----------
    path : str
    body : bytes
    ids : tuple of str
        Of the answers, in order.
    """

    path: str
    body: bytes
    ids: tuple[str, ...]


def write(corpora: Corpora, directory: Path) -> None:
    """Write a file a kind, and the histories that have to be stored."""
    directory.mkdir(parents=True, exist_ok=True)
    holders = [body for body in corpora.natural if payloads.history_of(body)][:_KNOWN]
    known = payloads.with_identity(holders, random.Random(f"{payloads.SEED} loadtest"))
    natural = [payloads.encode(body) for body in corpora.natural]
    lines = {
        "natural": natural,
        "full": [payloads.encode(body) for body in corpora.full],
        "known": [payloads.encode(body) for body in payloads.without_history(known)],
        "batch": payloads.batch_bodies(natural, BATCH_SIZE),
        _USERS: [payloads.encode(user) for user in payloads.stored_users(known)],
    }
    for name, bodies in lines.items():
        payloads.write_lines(path_of(directory, name), bodies)


def path_of(directory: Path, kind: str) -> Path:
    """Where a kind's bodies are."""
    return directory / f"{kind}.jsonl"


def read_calls(path: Path) -> list[Call]:
    """The calls of one file.

    Raises
    ------
    ValueError
        It holds none.
    """
    calls = [_call(body) for body in payloads.read_lines(path)]
    if not calls:
        raise ValueError(f"{path}: expected a body a line, received an empty file")
    return calls


@contextlib.contextmanager
def stored(target: Target, directory: Path) -> Iterator[None]:
    """The users' histories in the service, and out of it afterwards.

    Raises
    ------
    RuntimeError
        The service refuses, as several workers without a Redis do.
    """
    users = payloads.read_lines(path_of(directory, _USERS))
    identities = [orjson.dumps({"ifa": orjson.loads(user)["ifa"]}) for user in users]
    _post_all(target, "/features", users)
    try:
        yield
    finally:
        _post_all(target, "/features/delete", identities)


def _post_all(target: Target, path: str, users: Sequence[bytes]) -> None:
    for begin in range(0, len(users), _STORE):
        target.post(path, payloads.joined(_USERS, users[begin : begin + _STORE]))


def _call(body: bytes) -> Call:
    read: dict[str, Any] = orjson.loads(body)
    requests = read.get("requests")
    if requests is None:
        return Call(PREDICT, body, (read["id"],))
    return Call(BATCH, body, tuple(request["id"] for request in requests))
