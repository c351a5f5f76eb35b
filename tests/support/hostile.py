"""A grammar of hostile bodies: a good bid request with parts replaced, repeated, cut or made absurd."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tests.api.served import HISTORY, TS, bid, with_history

_TEXT = st.text(max_size=6) | st.sampled_from(["", "toys", "\x00", "\ud83d\ude00", "x" * 3000])
_NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0, -1, TS, 10**30])
_VALUE = st.recursive(
    st.none() | st.booleans() | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=10,
)
_LITERAL = st.sampled_from(
    [b"NaN", b"-Infinity", b"1e400", b"9" * 600, b"01", b"[" * 2000, b'{"a":' * 2000, b'"\\ud800"', b"\xff", b""]
) | _VALUE.map(lambda value: json.dumps(value).encode())
_PLACES = [
    *("id", "imp", "tmax", "unknown", "ext", "ext.ts", "ext.deadline_ms", "ext.campaigns"),
    *("device", "device.ext", "device.ext.price", "device.browser", "device.geo", "device.lmt", "device.ifa"),
    *("regs", "regs.gdpr", "regs.gpp", "regs.gpp_sid", "regs.us_privacy", "device.os"),
    *("user", "user.id", "user.consent", "user.ext", "user.ext.history"),
    *(f"user.ext.history.{name}" for name in HISTORY),
]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bytes of a body for `/predict`."""
    request: dict[str, Any] = bid(user=with_history())
    literals = {}
    for n in range(draw(st.integers(1, 3))):
        *parents, leaf = draw(st.sampled_from(_PLACES)).split(".")
        place: Any = request
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place[leaf], literals[f'"@@{n}"'.encode()] = f"@@{n}", draw(_LITERAL)
    body = json.dumps(request).encode()
    for mark, literal in literals.items():
        body = body.replace(mark, literal)
    how = draw(st.integers(0, 9))
    if how == 0:
        body = body[: draw(st.integers(0, len(body)))]
    elif how == 1:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=8)) + body[at:]
    return body
