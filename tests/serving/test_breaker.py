"""Tests of app/serving/breaker.py."""

from __future__ import annotations

from app.serving.breaker import Breaker


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def closed(breaker: Breaker) -> bool:
    """Asked anew each time."""
    return breaker.closed


def opened(clock: Clock, changes: list[bool] | None = None, spread: float = 0.5) -> Breaker:
    """A breaker that three failures have opened; its first pause is 1 s at spread 0.5."""
    tell = changes.append if changes is not None else (lambda _: None)
    breaker = Breaker(3, 1.0, 4.0, on_change=tell, clock=clock, spread=lambda: spread)
    for _ in range(3):
        assert closed(breaker)
        breaker.fail()
    assert not closed(breaker)
    return breaker


def test_only_failures_in_a_row_open_it() -> None:
    """A success in between starts the count again."""
    breaker = Breaker(limit=2)
    for _ in range(5):
        breaker.fail()
        breaker.succeed()
    assert closed(breaker)


def test_one_probe_after_the_pause() -> None:
    """Nobody probes during the pause, and one caller alone after it."""
    clock = Clock()
    breaker = opened(clock)
    clock.now = 0.99
    assert not breaker.take_probe()
    clock.now = 1.0
    assert [breaker.take_probe() for _ in range(3)] == [True, False, False]


def test_an_answered_probe_closes_on_trial() -> None:
    """After a probe one failure opens it again; after a real success it takes the limit."""
    clock, changes = Clock(), list[bool]()
    breaker = opened(clock, changes)
    clock.now = 1.0
    assert breaker.take_probe()
    breaker.probed(answered=True)
    breaker.fail()
    assert not closed(breaker)
    clock.now = 10.0
    assert breaker.take_probe()
    breaker.probed(answered=True)
    breaker.succeed()
    breaker.fail()
    assert closed(breaker)
    assert changes == [True, False, True, False]


def test_pauses_double_up_to_the_maximum() -> None:
    """1, 2, 4, 4 seconds; a real success starts again at 1."""
    clock = Clock()
    breaker = opened(clock)
    for pause in (1.0, 2.0, 4.0, 4.0):
        clock.now += pause - 0.01
        assert not breaker.take_probe()
        clock.now += 0.01
        assert breaker.take_probe()
        breaker.probed(answered=False)
    breaker.succeed()
    for _ in range(3):
        breaker.fail()
    clock.now += 1.0
    assert breaker.take_probe()


def test_late_failures_change_nothing() -> None:
    """Calls that were under way when it opened neither lengthen the pause nor spoil a probe."""
    clock = Clock()
    breaker = opened(clock)
    breaker.fail()
    clock.now = 1.0
    assert breaker.take_probe()
    breaker.fail()
    breaker.probed(answered=True)
    assert closed(breaker)


def test_pauses_are_spread() -> None:
    """Two workers whose Redis died together do not probe together."""
    early, late = Clock(), Clock()
    a, b = opened(early, spread=0.0), opened(late, spread=0.999)
    early.now = late.now = 0.8
    assert a.take_probe()
    assert not b.take_probe()


def test_one_stall_is_one_failure() -> None:
    """All that was under way fails at once; only a third stall opens it."""
    clock = Clock()
    breaker = Breaker(3, 1.0, 4.0, clock=clock, together_s=0.005)
    for stall in range(3):
        assert closed(breaker)
        clock.now = stall * 0.01
        for _ in range(4):
            breaker.fail()
    assert not closed(breaker)
