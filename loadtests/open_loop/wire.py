"""HTTP/1.1 as far as a load needs it: requests rendered ahead, answers read from bytes."""

from __future__ import annotations

from typing import Final, NamedTuple

from loadtests.loadtest.target import Target

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"


class Response(NamedTuple):
    """An answer that is here whole.

    Parameters
    ----------
    status : int
        0 stands for an answer that never came.
    retry_after : bool
    closes : bool
        Whether the server ends the connection after it.
    body : bytes
    """

    status: int
    retry_after: bool
    closes: bool
    body: bytes


NONE: Final = Response(0, False, True, b"")


def render(target: Target, path: str, body: bytes) -> bytes:
    """A POST of JSON, ready to be sent as often as one likes."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {target.authority}", *(f"{k}: {v}" for k, v in target.headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body


def read(received: bytes) -> Response | None:
    """The answer that `received` holds; None while a part of it is to come.

    Raises
    ------
    ValueError
        The bytes are no HTTP answer with a length.
    """
    end = received.find(_END)
    if end < 0:
        return None
    head = received[:end].lower()
    if not head.startswith(b"http/1."):
        raise ValueError("expected an HTTP/1 answer")
    begin = head.find(_LENGTH)
    if begin < 0:
        raise ValueError("expected an answer with Content-Length")
    length = int(head[begin + len(_LENGTH) :].partition(b"\r\n")[0])
    if len(received) < end + len(_END) + length:
        return None
    body = received[end + len(_END) : end + len(_END) + length]
    return Response(int(head[9:12]), b"\r\nretry-after:" in head, b"\r\nconnection: close" in head, body)
