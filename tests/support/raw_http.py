"""HTTP by hand: requests that no client library would send, and many that arrive in the same moment."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reply:
    """An answer: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes


def connect(port: int, timeout: float = 60.0) -> socket.socket:
    """A connection to the service."""
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def post(path: str, body: bytes, **headers: str) -> bytes:
    """The bytes of a POST; underscores in the names of headers are dashes."""
    lines = [f"POST {path} HTTP/1.1", "Host: pltv", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: pltv\r\n\r\n".encode()


def read(line: socket.socket) -> Reply | None:
    """The next answer; None where the connection was closed without one."""
    answer = http.client.HTTPResponse(line)
    try:
        answer.begin()
        body = answer.read()
    except (http.client.RemoteDisconnected, ConnectionResetError):
        return None
    return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)


def read_all(line: socket.socket, n: int) -> list[Reply]:
    """The next `n` answers, which may lie in one packet; each must tell its length."""
    answers = []
    with line.makefile("rb") as stream:
        for _ in range(n):
            status = int(stream.readline().split()[1])
            fields = iter(stream.readline, b"\r\n")
            headers = {
                k.decode().lower(): v.strip().decode() for k, _, v in (field.partition(b":") for field in fields)
            }
            answers.append(Reply(status, headers, stream.read(int(headers["content-length"]))))
    return answers


def closed(line: socket.socket) -> bool:
    """Whether the other side closes, without another byte."""
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def stop(pid: int) -> None:
    """Stop a process and wait until it stands: a signal to another processor takes effect a moment after `kill`."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.001)


def at_once(port: int, pid: int, requests: Sequence[bytes]) -> list[Reply | None]:
    """Answers to requests that all wait, each on a connection of its own, when the process looks for the first time."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(connect(port)) for _ in requests]
        for line in lines:  # accepted and known to the process
            line.sendall(get("/health/live"))
            read(line)
        stop(pid)
        try:
            for line, request in zip(lines, requests, strict=True):
                line.sendall(request)
        finally:
            os.kill(pid, signal.SIGCONT)
        return [read(line) for line in lines]
