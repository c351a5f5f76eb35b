"""A function and pieces enter, the answers leave in their order: on this machine's threads, or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import dask
from dask.callbacks import Callback

from app.errors import DataError, InputError

T = TypeVar("T")
Answer = TypeVar("Answer")
Shared = TypeVar("Shared")

CONNECT_S = 20
_dask: Any = dask  # typed in part only
_Callback: Any = Callback


class Workers(Protocol):
    """Whoever works through pieces."""

    def map(
        self,
        function: Callable[[T, Shared], Answer],
        pieces: Sequence[T],
        shared: Shared,
        done: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Call the function with every piece and what they share.

        Parameters
        ----------
        function : callable
            Defined at the top of a module, so that another machine finds it.
        pieces : sequence
        shared : object
        done : callable
            Called with the position of each piece that is done, in any order.

        Returns
        -------
        list
            In the order of the pieces.
        """
        ...


class LocalWorkers:
    """Dask's threads of this process. numpy and Arrow let go of the interpreter while they compute.

    Parameters
    ----------
    threads : int
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def map(
        self,
        function: Callable[[T, Shared], Answer],
        pieces: Sequence[T],
        shared: Shared,
        done: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """As `Workers.map`."""
        names = [f"{function.__name__}-{i}" for i in range(len(pieces))]
        place = {name: i for i, name in enumerate(names)}
        # Bound, not passed: Dask would look into every field of an argument for further tasks.
        tasks = [
            _dask.delayed(partial(function, piece, shared), name=f"call-{name}", traverse=False)(dask_key_name=name)
            for piece, name in zip(pieces, names, strict=True)
        ]

        def finished(key: Any, *_: object) -> None:
            if key in place:
                done(place[key])

        with _Callback(posttask=finished):
            return list(_dask.compute(*tasks, scheduler="threads", num_workers=self._threads, optimize_graph=False))


class ClusterWorkers:
    """The workers of a Dask scheduler; they see the folders of data and features under the same paths.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def map(
        self,
        function: Callable[[T, Shared], Answer],
        pieces: Sequence[T],
        shared: Shared,
        done: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """As `Workers.map`.

        Raises
        ------
        DataError
            As the function raises it, or when workers die of a piece.
        """
        import distributed

        as_completed: Any = distributed.as_completed
        there = self._client.scatter(shared, broadcast=True, hash=False)
        futures = [self._client.submit(function, piece, there, pure=False) for piece in pieces]
        place = {future.key: i for i, future in enumerate(futures)}
        try:
            for future in as_completed(futures, loop=self._client.loop):
                future.result()
                done(place[future.key])
            return list(self._client.gather(futures))
        except (distributed.KilledWorker, CancelledError) as fault:
            raise DataError(
                f"scheduler: expected workers that live on, received {str(fault).splitlines()[0]}"
            ) from fault
        finally:
            self._client.cancel(futures)


@contextmanager
def workers(scheduler: str | None, threads: int) -> Iterator[Workers]:
    """Who works: the cluster of a scheduler, or this machine.

    Parameters
    ----------
    scheduler : str or None
        Address such as `tcp://10.0.0.1:8786`.
    threads : int
        Of this machine.

    Raises
    ------
    InputError
        When nobody answers there.
    """
    if scheduler is None:
        yield LocalWorkers(threads)
        return
    import distributed

    connect: Any = distributed.Client
    try:
        client = connect(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as fault:
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise InputError(
            f"expected a Dask scheduler such as tcp://127.0.0.1:8786, received {reason}", "scheduler"
        ) from fault
    with client:
        yield ClusterWorkers(client)
