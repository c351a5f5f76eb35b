"""`POST /features` stores histories, `POST /features/delete` erases them. Users enter; what became of each leaves."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

import orjson
from pydantic import ValidationError

from app.api.openrtb import HOUR_S, Readers, identity, whole_as_of
from app.api.problems import input_error
from app.api.schemas import identity_model, user_model
from app.api.slices import Pace, entries
from app.errors import InputError
from app.features.history import History, parse_history
from app.features.layout import Layout
from app.serving.cache import HistoryCache
from app.serving.identity import Identity
from app.serving.store import BundleStore

T = TypeVar("T")

_HISTORY: Final = (b"history",)
_STAND_IN: Final = b'{"as_of":0}'  # which a stored history must have
_WHO: Final = "expected an ifa that is not all zeros, or a user_id"


class Features:
    """The calls behind `POST /features` and `POST /features/delete`.

    Parameters
    ----------
    store : BundleStore
    readers : Readers
    cache : HistoryCache
    hashed : Identity
    layout : Layout
    most : int
        Users in a body.
    """

    def __init__(
        self,
        *,
        store: BundleStore,
        readers: Readers,
        cache: HistoryCache,
        hashed: Identity,
        layout: Layout,
        most: int,
    ) -> None:
        self._words = readers.of(layout).words
        self._store = store
        self._cache = cache
        self._hashed = hashed
        self._most = most
        self._user = user_model(layout.declaration)
        self._identity = identity_model()

    async def save(self, body: bytes) -> bytes:
        """Store histories, all or none of a body: an invalid user refuses it before anything is written.

        Raises
        ------
        InputError
            Naming the user and the field.
        StoreUnavailable
            Redis could not confirm.
        """
        users: list[tuple[bytes, History]] = []
        async for place, (user, taken) in self._users(body, self._read_user):
            key = self._keys(place, user)[0]
            users.append((key, self._history(place, user["history"], taken)))
        stored = await self._cache.store(users)
        statuses = ["stored" if one else "older" for one in stored]
        return orjson.dumps({"stored": sum(stored), "older": len(stored) - sum(stored), "statuses": statuses})

    async def delete(self, body: bytes) -> bytes:
        """Erase users; where an ifa and a user_id are given, under both.

        Raises
        ------
        InputError
        StoreUnavailable
            Redis could not confirm; the call must be repeated.
        """
        keys: list[bytes] = []
        count = 0
        async for place, user in self._users(body, self._identity.validate_json):
            keys += self._keys(place, user)
            count += 1
        await self._cache.delete(keys)
        return orjson.dumps({"deleted": count})

    async def _users(self, body: bytes, read: Callable[[bytes], T]) -> AsyncIterator[tuple[int, T]]:
        pace = Pace()
        for place, (start, end) in enumerate(await entries(body, "users", self._most)):
            try:
                yield place, read(body[start:end])
            except ValidationError as error:
                raise input_error(error, self._words, f"users.{place}") from None
            await pace.rest()

    def _read_user(self, part: bytes) -> tuple[dict[str, Any], History | None]:
        """The user, and the history where compiled code has read it: then the user's own says nothing."""
        twin = self._store.live.layout.histories
        taken = None if twin is None else twin.take(part, _HISTORY, _STAND_IN)
        if taken is not None and taken[1].as_of is not None:
            try:
                return self._user.validate_json(taken[0]), taken[1]
            except ValidationError:
                pass  # what is wrong with it is told of the user as it came
        return self._user.validate_json(part), None

    def _keys(self, place: int, user: dict[str, Any]) -> list[bytes]:
        """Digests of all that the entry names, the one that `/predict` looks for first."""
        names = [identity(user.get("ifa")), identity(None, user.get("user_id"))]
        keys = [self._hashed.of(name) for name in names if name is not None]
        if not keys:
            raise InputError(_WHO, f"users.{place}")
        return keys

    def _history(self, place: int, sent: dict[str, Any], taken: History | None) -> History:
        as_of = whole_as_of(sent) if taken is None else taken.as_of
        if as_of is None:
            raise InputError("expected a number, received null", f"users.{place}.history.as_of")
        if as_of > time.time() + HOUR_S:
            raise InputError("expected at most an hour from now", f"users.{place}.history.as_of")
        return parse_history(self._store.live.layout, sent) if taken is None else taken
