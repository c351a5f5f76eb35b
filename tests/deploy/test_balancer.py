"""Tests of deploy/balancer with a real HAProxy and small backends on loopback."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.deploy.files import DEPLOY, program
from tests.support.redis_process import free_port

CONFIG = DEPLOY / "balancer" / "haproxy.cfg"
USERS = [f"user{i}" for i in range(120)]


class Backend(BaseHTTPRequestHandler):
    """Answers with its own port."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # head and body in one packet

    def do_GET(self) -> None:
        """Any path."""
        body = str(self.connection.getsockname()[1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # so that a backend which is shut down is gone
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


class Server(ThreadingHTTPServer):
    """Silent about health checks that hang up early."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing of note."""


@pytest.fixture
def balanced() -> Iterator[tuple[str, list[ThreadingHTTPServer]]]:
    """The balancer's address and its three backends."""
    haproxy = program("haproxy", "haproxy")
    servers: list[ThreadingHTTPServer] = [Server(("127.0.0.1", 0), Backend) for _ in range(3)]
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    bind = f"127.0.0.1:{free_port()}"
    places = {f"PLTV_{i}": f"127.0.0.1:{s.server_address[1]}" for i, s in enumerate(servers, 1)}
    env = {**os.environ, **places, "PLTV_BIND": bind}
    process = subprocess.Popen([haproxy, "-db", "-f", str(CONFIG)], env=env, stdout=subprocess.DEVNULL)
    try:
        wait(f"http://{bind}", process)
        yield f"http://{bind}", servers
    finally:
        process.terminate()
        process.wait()
        for server in servers:
            with contextlib.suppress(OSError):
                server.shutdown()
            server.server_close()


def ask(base: str, user: str | None = None, path: str = "/predict") -> str:
    """The port of the backend that answered."""
    headers = {} if user is None else {"X-Pltv-User": user}
    with urllib.request.urlopen(urllib.request.Request(base + path, headers=headers), timeout=5) as answer:
        return str(answer.read().decode())


def wait(base: str, process: subprocess.Popen[bytes]) -> None:
    """Until the balancer answers."""
    for _ in range(500):
        with contextlib.suppress(OSError):
            ask(base)
            return
        assert process.poll() is None
        time.sleep(0.02)
    pytest.fail("haproxy did not start")


def test_a_user_stays_and_others_are_spread(balanced: tuple[str, list[ThreadingHTTPServer]]) -> None:
    """The same user reaches the same instance each time; all instances get users; without the header any answers."""
    base, servers = balanced
    first = {user: ask(base, user) for user in USERS}
    assert {user: ask(base, user) for user in USERS} == first
    spread = Counter(first.values())
    assert len(spread) == len(servers)
    assert min(spread.values()) > len(USERS) / 10
    assert {ask(base) for _ in range(12)} == set(spread)


def test_an_instance_that_goes_takes_only_its_own_users_along(
    balanced: tuple[str, list[ThreadingHTTPServer]],
) -> None:
    """The users of the others stay where their near cache is, and no call fails meanwhile."""
    base, servers = balanced
    first = {user: ask(base, user) for user in USERS}
    gone = str(servers[0].server_address[1])
    servers[0].shutdown()
    servers[0].server_close()
    after = {user: ask(base, user) for user in USERS}
    assert gone not in after.values()
    assert {user: place for user, place in after.items() if first[user] != gone} == {
        user: place for user, place in first.items() if place != gone
    }


@pytest.mark.parametrize("path", ["/metrics", "/models", "/models/reload"])
def test_what_is_the_operators_stays_inside(balanced: tuple[str, list[ThreadingHTTPServer]], path: str) -> None:
    """Neither metrics nor bundles are reached through the balancer."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(balanced[0], path=path)
    assert refused.value.code == 404
    refused.value.close()
