"""The parser, for which `Upgrade` is a header like others. Bytes enter, uvicorn's callbacks are called.

A server may ignore an upgrade (RFC 9110, 7.8), and this one speaks nothing but HTTP/1.1. The parser does not: it ends
at such a head and drops the body. So it is told the head again without that header, and then what followed.
"""

from __future__ import annotations

from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CONNECT: Final = b"CONNECT"  # asks for a tunnel, with no header that could be left out


class Unupgraded(HttpToolsProtocol):
    """uvicorn's protocol, for whom whoever asks for another one has asked in HTTP/1.1."""

    _again = b""  # the head just parsed, where it asked for another protocol

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        self._unset_keepalive_if_required()
        rest: bytes | memoryview = data
        try:
            while rest:
                rest = self._fed(rest)
        except httptools.HttpParserError:
            self.send_400_response("")

    def is_upgrade(self) -> bool:
        """Whether the head that is complete now will be told again, and means nothing yet."""
        if self.parser.should_upgrade() and self.parser.get_method() != _CONNECT:
            first = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
            kept = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
            self._again = b"".join((first, *kept, b"\r\n"))
        return bool(self._again)

    def told_again(self) -> bool:
        """Whether the message that is complete now was such a head."""
        return bool(self._again)

    def _fed(self, data: bytes | memoryview) -> bytes | memoryview:
        """What the parser has not been told of `data`: where it met an upgrade, what came after that head."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as ended:
            again, self._again = self._again, b""
            self.parser.feed_data(again)
            return memoryview(data)[ended.args[0] :]
        return b""
