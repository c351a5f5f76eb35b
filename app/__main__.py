"""`python -m app`: the service from the command line. Arguments enter, worker processes run until a signal."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import uvicorn
from pydantic import ValidationError

from app.connections import Connection
from app.errors import BundleError
from app.inference.bundle import check
from app.server import Server, Workers, raise_file_limit
from app.settings import Settings
from app.telemetry import configure_logging

MISTAKE: Final = 2
FAILED: Final = 1
_APP: Final = "app.main:app"
_BACKLOG: Final = 2048
_MULTIPROC: Final = "PROMETHEUS_MULTIPROC_DIR"
_FLEET: Final = "PLTV_FLEET_DIR"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal.

    Parameters
    ----------
    argv : sequence of str or None
        None: the process's own.

    Returns
    -------
    int
        0 after a clean stop, 1 when the service could not start. A user's mistake exits 2 with one line.
    """
    arguments = _parser().parse_args(argv)
    if arguments.bundle is not None:
        os.environ["PLTV_BUNDLE"] = str(arguments.bundle)
    os.environ["PLTV_WORKERS"] = str(arguments.workers)
    settings = _check_settings()
    if arguments.workers > 1 and settings.redis_url is None:
        print("pltv: PLTV_REDIS_URL is unset: several workers store and erase no histories", file=sys.stderr)
    if arguments.workers > 1 and settings.identity_key is None:
        # An identity must mean the same in every worker.
        os.environ["PLTV_IDENTITY_KEY"] = secrets.token_hex(32)
        print("pltv: PLTV_IDENTITY_KEY is unset: a random one serves these workers until they stop", file=sys.stderr)
    configure_logging(settings.log_level)
    raise_file_limit()
    # uvicorn stops cleanly and then raises the signal again, which would end the process before it has tidied up.
    signal.signal(signal.SIGTERM, _leave)
    with contextlib.suppress(KeyboardInterrupt), _listen(arguments) as sock, _shared(arguments.workers):
        return _run(arguments.workers, sock)
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Tell a mistake in one line."""
        _exit(f"{message} (--help tells more)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m app",
        description="Serve predictions. Settings are PLTV_* environment variables; these arguments come before them.",
    )
    parser.add_argument("--bundle", type=Path, help="the bundle's directory (PLTV_BUNDLE, models/current)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="port to listen on, 0 for a free one (%(default)s)")
    parser.add_argument("--uds", type=Path, help="listen on this Unix socket instead of a port")
    parser.add_argument("--workers", type=_workers, default=1, help="worker processes (%(default)s)")
    return parser


def _port(text: str) -> int:
    return _within(text, 0, 65_535)


def _workers(text: str) -> int:
    return _within(text, 1, 1024)


def _within(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"expected a number from {low} to {high}, received {text!r}")
    return int(text)


def _check_settings() -> Settings:
    """Find a mistake here, once, rather than in every worker."""
    try:
        settings = Settings()
        key = settings.bundle_key
        check(settings.bundle, key=key.get_secret_value().encode() if key else None)
        return settings
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = f"PLTV_{first['loc'][0]}".upper()
        _exit(f"{name}: {first['msg'].removeprefix('Value error, ')}")
    except BundleError as error:
        _exit(str(error))


@contextlib.contextmanager
def _listen(arguments: argparse.Namespace) -> Iterator[socket.socket]:
    """The listening socket, which all workers share."""
    place = arguments.uds or f"{arguments.host}:{arguments.port}"
    try:
        sock = _bind(arguments)
    except OSError as error:
        _exit(f"{place}: can not listen there ({error.strerror or error})")
    with sock:
        try:
            yield sock
        finally:
            if arguments.uds is not None:
                arguments.uds.unlink(missing_ok=True)


def _bind(arguments: argparse.Namespace) -> socket.socket:
    address: Any
    if arguments.uds is not None:
        _remove_stale(arguments.uds)
        family, address = socket.AF_UNIX, str(arguments.uds)
    else:
        found = socket.getaddrinfo(arguments.host, arguments.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    if arguments.uds is not None:
        arguments.uds.chmod(0o660)
    sock.set_inheritable(True)
    return sock


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on any more; one that answers stays, and binding then fails."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _shared(workers: int) -> Iterator[None]:
    """What the workers need of each other: their metrics, and a directory in which they agree on a bundle."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_shared_metrics(workers))
        if workers > 1:
            os.environ[_FLEET] = stack.enter_context(_temporary("pltv-fleet-"))
            stack.callback(os.environ.pop, _FLEET)
        yield


@contextlib.contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """A directory that the workers write their metrics to, empty at the start.

    `prometheus_client` looks for it when it is imported, so it is set before any worker starts.
    """
    given = os.environ.get(_MULTIPROC)
    if given:
        _empty(Path(given))
        yield
    elif workers > 1:
        with _temporary("pltv-metrics-") as made:
            os.environ[_MULTIPROC] = made
            try:
                yield
            finally:
                del os.environ[_MULTIPROC]
    else:
        yield


def _temporary(prefix: str) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        _exit(f"TMPDIR: expected a directory that can be written to ({error.strerror})")


def _empty(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.glob("*.db"):
            old.unlink()
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        _exit(f"{_MULTIPROC}: {directory}: can not be written ({error.strerror})")


def _run(workers: int, sock: socket.socket) -> int:
    config = uvicorn.Config(
        _APP,
        loop="uvloop",
        http=Connection,
        proxy_headers=False,  # nothing here asks who called
        ws="none",
        lifespan="on",
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )
    if workers > 1:
        supervisor = Workers(config, sockets=[sock])
        supervisor.run()
        return FAILED if supervisor.failed else 0
    server = Server(config)
    try:
        server.run(sockets=[sock])
    except SystemExit as left:  # uvicorn leaves with a code of its own where the start failed
        return FAILED if left.code else 0
    return 0 if server.started else FAILED


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def _exit(line: str) -> NoReturn:
    print(f"pltv: {line}", file=sys.stderr)
    raise SystemExit(MISTAKE)


if __name__ == "__main__":
    sys.exit(main())
