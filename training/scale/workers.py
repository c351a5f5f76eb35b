"""A function and pieces enter, the answers leave in their order: on this machine's threads, or on a Dask cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import dask
from dask.callbacks import Callback

from app.errors import DataError, InputError

T = TypeVar("T")
Answer = TypeVar("Answer")
Shared = TypeVar("Shared")

CONNECT_S = 20
_dask: Any = dask  # typed in part only
# distributed gives its loggers a handler that keeps the stderr of its import, and writes tracebacks to it when
# interpreter and streams are going down. In this form of its configuration it leaves logging to the process.
_LOGGERS = {"tornado": {"level": "CRITICAL"}, "tornado.application": {"level": "ERROR"}}
_dask.config.set(logging={"version": 1, "disable_existing_loggers": False, "loggers": _LOGGERS})
_Callback: Any = Callback


class Workers(ABC):
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

        Raises
        ------
        DataError
            As the function raises it, or when workers elsewhere die of a piece.
        """
        run = uuid4().hex  # a cluster remembers keys, also those of other runs
        keys = [f"{function.__name__}-{run}-{i}" for i in range(len(pieces))]
        place = {key: i for i, key in enumerate(keys)}
        answers: dict[int, Answer] = {}

        def take(key: str, answer: Answer) -> None:
            answers[place[key]] = answer
            done(place[key])

        self._work(function, dict(zip(keys, pieces, strict=True)), shared, take)
        return [answers[i] for i in range(len(pieces))]

    @abstractmethod
    def _work(
        self,
        function: Callable[[T, Shared], Answer],
        pieces: Mapping[str, T],
        shared: Shared,
        take: Callable[[str, Answer], None],
    ) -> None:
        """Call the function with every piece and hand over each answer, by the piece's key, as it comes."""


class LocalWorkers(Workers):
    """Dask's threads of this process. numpy and Arrow let go of the interpreter while they compute.

    Parameters
    ----------
    threads : int
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def _work(
        self,
        function: Callable[[T, Shared], Answer],
        pieces: Mapping[str, T],
        shared: Shared,
        take: Callable[[str, Answer], None],
    ) -> None:
        # Bound, not passed: Dask would look into every field of an argument for further tasks.
        tasks = [
            _dask.delayed(partial(function, piece, shared), name=f"call-{key}", traverse=False)(dask_key_name=key)
            for key, piece in pieces.items()
        ]

        def finished(key: Any, answer: Any, *_: object) -> None:
            if key in pieces:
                take(key, answer)

        with _Callback(posttask=finished):
            _dask.compute(*tasks, scheduler="threads", num_workers=self._threads, optimize_graph=False)


class ClusterWorkers(Workers):
    """The workers of a Dask scheduler; they see the folders of data and features under the same paths.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def _work(
        self,
        function: Callable[[T, Shared], Answer],
        pieces: Mapping[str, T],
        shared: Shared,
        take: Callable[[str, Answer], None],
    ) -> None:
        import distributed

        as_completed: Any = distributed.as_completed
        there = self._client.scatter(shared, broadcast=True, hash=False)
        futures = [self._client.submit(function, piece, there, key=key) for key, piece in pieces.items()]
        try:
            for future in as_completed(futures, loop=self._client.loop):
                take(future.key, future.result())
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
    import distributed.comm

    comm: Any = distributed.comm
    connect: Any = distributed.Client
    try:
        comm.get_address_host_port(scheduler)  # a client that was never connected ends in a traceback of its own
        client = connect(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as fault:
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise InputError(
            f"expected a Dask scheduler such as tcp://127.0.0.1:8786, received {reason}", "scheduler"
        ) from fault
    with client:
        yield ClusterWorkers(client)
