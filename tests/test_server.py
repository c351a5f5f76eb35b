"""What the server does to its listening socket when it stops."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from app.server import _accept_all, _keep_out

PATIENCE_S = 0.3


def listening(family: socket.AddressFamily, address: object) -> socket.socket:
    """A socket that listens there and never blocks."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)  # type: ignore[arg-type]
    sock.listen(16)
    sock.setblocking(False)
    return sock


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can filter a listening socket")
def test_newcomers_wait_outside_and_nobody_in_the_queue_is_lost() -> None:
    """Who had joined is taken; who knocks later is kept waiting, and refused once the socket is closed."""
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
        earlier = [socket.create_connection(address, timeout=60.0) for _ in range(3)]
        _keep_out(sock)
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=PATIENCE_S)
        taken = _accept_all(sock)
        assert {c.getpeername() for c in taken} == {c.getsockname() for c in earlier}
        assert _accept_all(sock) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=60.0)
    for connection in taken:
        with connection:
            connection.sendall(b"answer")
    for caller in earlier:
        with caller:
            assert caller.recv(16) == b"answer"


def test_a_unix_socket_is_gone_before_its_queue_is_emptied(tmp_path: Path) -> None:
    """Who had joined is taken, and there is no path left to knock at."""
    path = tmp_path / "pltv.sock"
    with listening(socket.AF_UNIX, str(path)) as sock, socket.socket(socket.AF_UNIX) as earlier:
        earlier.connect(str(path))
        _keep_out(sock)
        assert not path.exists()
        (taken,) = _accept_all(sock)
        with taken:
            taken.sendall(b"answer")
            assert earlier.recv(16) == b"answer"
