"""What is put under load: a service of this run on a free port of 127.0.0.1, or the one that the user names."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from loadtests.benchmarks import services

TOKEN: Final = "LOADTEST_TOKEN"
"""Environment variable with the bearer token that a protected service asks for."""
_TIMEOUT_S: Final = 30.0
_EXPECTED: Final = "expected http://NAME[:PORT]"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go.

    Parameters
    ----------
    host : str
    port : int
    token : str
        Empty where none is asked for.
    """

    host: str
    port: int
    token: str = ""

    @classmethod
    def of(cls, url: str, token: str = "") -> Target:
        """Read a URL.

        Raises
        ------
        ValueError
            It is not one of plain HTTP, or has a path.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise ValueError(f"host: {_EXPECTED}, received {url!r}")
        try:
            return cls(parts.hostname, parts.port or 80, token)
        except ValueError:  # a port that is none
            raise ValueError(f"host: {_EXPECTED}, received {url!r}") from None

    @property
    def authority(self) -> str:
        """NAME:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL."""
        return f"http://{self.authority}"

    @property
    def headers(self) -> dict[str, str]:
        """Of each request with a body."""
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Content-Type": "application/json", **authorization}

    def ready(self) -> None:
        """Return where the service says that it is ready.

        Raises
        ------
        RuntimeError
            It does not.
        """
        try:
            status, _ = self._ask("GET", "/health/ready")
        except (OSError, http.client.HTTPException) as error:
            raise RuntimeError(f"host: expected a service at {self.url}, received {error}") from None
        if status != 200:
            raise RuntimeError(f"host: expected {self.url}/health/ready to answer 200, received {status}")

    def post(self, path: str, body: bytes) -> bytes:
        """The body of a good answer.

        Raises
        ------
        RuntimeError
            On any other status than 200.
        """
        status, text = self._ask("POST", path, body)
        if status != 200:
            raise RuntimeError(f"{self.url}{path}: expected 200, received {status}: {text[:300].decode()}")
        return text

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        with contextlib.closing(http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT_S)) as connection:
            connection.request(method, path, body, self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read()


@contextlib.contextmanager
def own(bundle: Path, log: Path) -> Iterator[Target]:
    """One worker with its defaults, on the core that the load does not use."""
    with services.ours(bundle, log) as server:
        yield Target("127.0.0.1", server.port)


@contextlib.contextmanager
def given(url: str, token: str) -> Iterator[Target]:
    """The service that the user runs.

    Raises
    ------
    ValueError, RuntimeError
        The URL is none, or nobody is ready there.
    """
    target = Target.of(url, token)
    target.ready()
    yield target
