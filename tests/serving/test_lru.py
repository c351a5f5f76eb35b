"""Tests of app/serving/lru.py."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from app.serving.lru import Lru

moves = st.lists(st.tuples(st.sampled_from(["put", "get", "pop"]), st.integers(0, 6), st.integers(1, 12)), max_size=60)


@given(moves, st.integers(0, 30))
def test_it_is_a_list_in_order_of_use(steps: list[tuple[str, int, int]], max_bytes: int) -> None:
    """Against a plain list: what is read or written moves to the end, what is too much goes from the front."""
    lru: Lru[int, str] = Lru(max_bytes, len)
    order: list[tuple[int, str]] = []
    actions: dict[str, Callable[[int, int], object]] = {
        "put": lambda key, n: lru.put(key, "x" * n),
        "get": lambda key, _: lru.get(key),
        "pop": lambda key, _: lru.pop(key),
    }
    for step, key, n in steps:
        known = dict(order).get(key)
        answer = actions[step](key, n)
        if step == "get":
            assert answer == known
        if step != "get" or known is not None:
            order = [(k, v) for k, v in order if k != key]
        if step == "get" and known is not None:
            order.append((key, known))
        if step == "put" and n <= max_bytes:
            order.append((key, "x" * n))
        while sum(len(v) for _, v in order) > max_bytes:
            del order[0]
        assert len(lru) == len(order)
        assert lru.held_bytes == sum(len(v) for _, v in order) <= max_bytes
    assert list(lru._values.items()) == order


def test_clearing_leaves_nothing() -> None:
    """Neither values nor bytes."""
    lru: Lru[str, bytes] = Lru(10, len)
    lru.put("a", b"123")
    lru.clear()
    assert (len(lru), lru.held_bytes, lru.get("a")) == (0, 0, None)
