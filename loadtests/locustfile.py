# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False
# Where locust is not installed its classes and decorators are Any.
"""Bidders for locust: users who ask for predictions, each answer judged, refusals and degraded answers told apart.

`make loadtest` runs it; what an earlier run left in loadtests/results/bodies serves
`.venv/bin/locust -f loadtests/locustfile.py --host http://127.0.0.1:8000` as well, with its page for a browser.
"""

from __future__ import annotations

import gc
import json
import os
import random
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from locust import FastHttpUser, events, task

from loadtests.benchmarks.thresholds import judge, load
from loadtests.loadtest import answers, mix
from loadtests.loadtest.answers import Outcome
from loadtests.loadtest.closed import BOUNDS, TASKS, USER_RATE, Kept, metrics, seen
from loadtests.loadtest.curves import CURVES
from loadtests.loadtest.mix import Call
from loadtests.loadtest.plan import BODIES
from loadtests.loadtest.target import TOKEN, Target
from loadtests.payloads import SEED
from loadtests.shapes import Curved

__all__ = ["Bidder", "Curved"]  # locust takes its users and shapes from this module

KEPT = Kept()
_TIMEOUT_S = 5.0


class Bidder(FastHttpUser):
    """Asks again after a pause of exponential length, so that many of them are a stream without a beat."""

    connection_timeout = network_timeout = _TIMEOUT_S
    calls: dict[str, list[Call]]
    headers: dict[str, str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rng = random.Random(random.randrange(1 << 30))

    def wait_time(self) -> float:
        """Seconds until the next call."""
        return self._rng.expovariate(USER_RATE)

    @task(TASKS["natural"])
    def natural(self) -> None:
        """A user as they come, the history inline."""
        self._ask("natural")

    @task(TASKS["full"])
    def full(self) -> None:
        """A history of 4 KB."""
        self._ask("full")

    @task(TASKS["known"])
    def known(self) -> None:
        """A user whose history is stored, by identity."""
        self._ask("known")

    @task(TASKS["batch"])
    def batch(self) -> None:
        """Twenty at once."""
        self._ask("batch")

    def _ask(self, kind: str) -> None:
        call = self._rng.choice(self.calls[kind])
        name = f"{call.path} ({kind})"
        body: Any = call.body  # typed as text and forms, sent as it is
        with self.client.post(call.path, data=body, headers=self.headers, name=name, catch_response=True) as response:
            answer = response.content or b""
            retry_after = response.headers is not None and "retry-after" in response.headers
            outcome, reason = answers.judge(response.status_code, retry_after, answer, call.ids)
            KEPT.add(kind, outcome, response.request_meta["response_time"], reason, seen(kind, outcome, answer))
            if outcome in (Outcome.SHED, Outcome.DEGRADED):
                response.request_meta["name"] = f"{name}, {outcome}"  # a row of its own: neither failed nor throughput
            if outcome is Outcome.FAILED:
                response.failure(reason)
            else:
                response.success()


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    own = parser.add_argument_group("pltv")
    own.add_argument("--bodies", default=str(BODIES), help="directory of the bodies (%(default)s)")
    own.add_argument("--curve", choices=list(CURVES), default="steady", help="load over time (%(default)s)")
    own.add_argument("--curve-seconds", type=float, default=0.0, help="how long; 0: as the curve is drawn")
    own.add_argument("--capacity", type=float, default=1000.0, help="calls a second that are a load of 1 (%(default)s)")
    own.add_argument("--summary", default="", help="JSON file for what was measured")


_stored = ExitStack()


@events.init.add_listener
def _draw(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    curve = CURVES[options.curve]
    stretch = options.curve_seconds / curve.seconds if options.curve_seconds else 1.0
    Curved.draw(curve.stretched(stretch), options.capacity)


@events.test_start.add_listener
def _prepare(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    directory = Path(options.bodies)
    target = Target.of(options.host, os.environ.get(TOKEN, ""))
    Bidder.calls = {kind: mix.read_calls(mix.path_of(directory, kind)) for kind in mix.KINDS}
    Bidder.headers = target.headers
    random.seed(SEED)
    _stored.enter_context(mix.stored(target, directory))
    gc.collect()
    gc.freeze()  # a walk through all the bodies would pass for a pause of the service
    KEPT.begin(Curved.curve.seconds)


@events.test_stop.add_listener
def _erase(**_: Any) -> None:
    KEPT.end()
    _stored.close()


@events.quitting.add_listener
def _conclude(environment: Any, **_: Any) -> None:
    """Hold the run to its bounds: the exit code is 0 where all hold, else 1."""
    options = environment.parsed_options
    found = metrics(options.curve, KEPT)
    verdicts = judge(load(BOUNDS), found, [options.curve])
    environment.process_exit_code = 0 if all(verdict.passed for verdict in verdicts) else 1
    if options.summary:
        content = {"metrics": found, "busy": environment.runner.cpu_warning_emitted, **KEPT.as_json()}
        Path(options.summary).write_text(json.dumps(content))
