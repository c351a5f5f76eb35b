"""Callers of a service that goes on under them, and which bundles may have answered them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from tests.support.market import Json
from tests.support.service_process import STOP_SECONDS, ServiceProcess

CALLERS = 4
TOKEN = "the operator's token"
ADMIN = {"authorization": f"Bearer {TOKEN}"}
ADMIN_DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()


@dataclass(frozen=True)
class Swap:
    """Between `begin` and `end`, seconds of `time.perf_counter`, `name` came into service."""

    begin: float
    end: float
    name: str


@dataclass(frozen=True)
class Told:
    """An answer, and when it was asked for and had."""

    sent: float
    received: float
    answer: Json


class Callers:
    """Threads that call /predict over connections of their own until they are told to stop, or are refused."""

    def __init__(self, service: ServiceProcess, bodies: Sequence[bytes], *, keep: bool = True) -> None:
        self.told: list[Told] = []
        self.dropped: list[str] = []
        self._service, self._bodies = service, bodies
        self._headers = {} if keep else {"connection": "close"}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(i,)) for i in range(CALLERS)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def answers(self) -> list[Json]:
        """What they were told so far."""
        return [told.answer for told in self.told]

    def wait(self, enough: Callable[[], bool]) -> None:
        """Let them go on until something is so."""
        deadline = time.monotonic() + STOP_SECONDS
        while not enough() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert enough()

    def more(self, n: int) -> None:
        """Let them go on until they have so many answers more."""
        seen = len(self.told)
        self.wait(lambda: len(self.told) > seen + n)

    def _call(self, place: int) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=60.0)) as line:
            while not self._stop.is_set():
                place = (place + CALLERS) % len(self._bodies)
                try:
                    if line.sock is None:  # at first, and whenever the answer before said `Connection: close`
                        line.connect()
                except OSError:
                    return  # nobody listens any more: nothing was sent
                sent = time.perf_counter()
                try:
                    line.request("POST", "/predict", self._bodies[place], self._headers)
                    answer = line.getresponse()
                    text = answer.read()
                except (OSError, http.client.HTTPException) as error:
                    self.dropped.append(repr(error))
                    return
                if answer.status != 200:
                    self.dropped.append(text.decode())
                self.told.append(Told(sent, time.perf_counter(), json.loads(text)))


def reload(service: ServiceProcess, name: str | None = None) -> httpx.Response:
    """POST /models/reload as the operator, over a connection that any worker may take."""
    with httpx.Client(base_url=service.url, timeout=60.0, trust_env=False) as client:
        return client.post("/models/reload", json=None if name is None else {"bundle": name}, headers=ADMIN)


def swap(service: ServiceProcess, name: str, workers: int) -> Swap:
    """Put a bundle into service by name; every worker must say that it has it."""
    begin = time.perf_counter()
    told = reload(service, name)
    end = time.perf_counter()
    assert told.status_code == 200, told.text
    assert {key: told.json()[key] for key in ("outcome", "bundle", "workers", "pending")} == {
        "outcome": "swapped",
        "bundle": name,
        "workers": workers,
        "pending": 0,
    }
    return Swap(begin, end, name)


def of_no_live_bundle(told: Sequence[Told], first: str, swaps: Sequence[Swap]) -> list[Told]:
    """Answers that name a bundle which was live at no time between their request and their arrival."""
    spans = []
    begin, name = float("-inf"), first
    for one in swaps:
        spans.append((begin, one.end, name))
        begin, name = one.begin, one.name
    spans.append((begin, float("inf"), name))
    return [
        one
        for one in told
        if not any(
            name == one.answer["bundle"] and begin <= one.received and one.sent <= end for begin, end, name in spans
        )
    ]
