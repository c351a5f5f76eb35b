"""Bodies read within their limits. An ASGI call enters; the JSON bytes of its body leave, inflated where gzipped."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from app.errors import BodyTooLarge, InputError, UnsupportedMedia

Headers = Mapping[bytes, bytes]

_GZIP: Final = 31  # zlib window bits: a gzip wrapper
_LONG: Final = 1 << 16
_PIECE: Final = 1 << 18
_MOST_DIGITS: Final = 18  # of a length; Python refuses to read a number of thousands
_PLAIN: Final = (b"", b"identity")


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a body may be: `sent` bytes on the wire, `inflated` bytes after gzip."""

    sent: int
    inflated: int


def _uncounted(_: int) -> None:
    """Bodies of one request are short; the bound on calls in flight bounds them."""


async def read_body(
    headers: Headers, receive: Receive, limits: Limits, take: Callable[[int], None] = _uncounted
) -> bytes:
    """Read a JSON body.

    Parameters
    ----------
    headers : mapping of bytes to bytes
        Lower-case names.
    receive : callable
    limits : Limits
    take : callable
        Told of the bytes that are held; may raise.

    Raises
    ------
    UnsupportedMedia
        A Content-Type that is not JSON (absent means JSON), or an encoding other than gzip.
    BodyTooLarge
        As soon as the limit is passed, not at the end of the body.
    InputError
        Broken gzip.
    ClientDisconnect
        The caller went away.
    """
    _check_type(headers.get(b"content-type"))
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    if encoding not in _PLAIN and encoding not in (b"gzip", b"x-gzip"):
        raise UnsupportedMedia("expected no Content-Encoding or gzip")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and (len(length) > _MOST_DIGITS or int(length) > limits.sent):
        raise _too_large(limits.sent)
    body = await _receive_all(receive, limits.sent, take)
    if encoding in _PLAIN:
        return body
    if len(body) > _LONG:
        plain = await asyncio.to_thread(inflate, body, limits.inflated)  # zlib lets the others run meanwhile
    else:
        plain = inflate(body, limits.inflated)
    take(len(plain))
    return plain


def inflate(body: bytes, limit: int) -> bytes:
    """Undo gzip, up to `limit` bytes.

    Raises
    ------
    BodyTooLarge
        Before more than the limit has been inflated.
    InputError
        Not gzip, cut off, or followed by something else.
    """
    stream = zlib.decompressobj(_GZIP)
    parts, size, end = [], 0, 0
    # In pieces: zlib puts a long result together while nobody else may run, a bomb's too.
    while end < len(body) and not stream.eof:
        start, end = end, end + _PIECE
        waiting = body[start:end]
        while waiting and not stream.eof:
            try:
                parts.append(stream.decompress(waiting, _PIECE))
            except zlib.error:
                raise InputError("expected a gzip stream, received something else") from None
            size += len(parts[-1])
            if size > limit:
                raise BodyTooLarge(f"expected at most {limit} bytes after inflating, received more")
            waiting = stream.unconsumed_tail
    if not stream.eof or stream.unused_data or end < len(body):
        raise InputError("expected one whole gzip stream, received one cut off or followed by more")
    return b"".join(parts)


async def _receive_all(receive: Receive, limit: int, take: Callable[[int], None]) -> bytes:
    message = await receive()
    if message["type"] != "http.request":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if len(body) > limit:
        raise _too_large(limit)
    take(len(body))
    if not message.get("more_body", False):
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        take(len(part))
        parts.append(part)
    return b"".join(parts)


def _check_type(content_type: bytes | None) -> None:
    if content_type is None:
        return
    media = content_type.partition(b";")[0].strip().lower()
    if media not in (b"application/json", b"text/json", b"") and not (
        media.startswith(b"application/") and media.endswith(b"+json")
    ):
        raise UnsupportedMedia("expected Content-Type application/json")


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"expected a body of at most {limit} bytes, received more")
