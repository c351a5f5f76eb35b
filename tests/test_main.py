"""Tests of `python -m app` with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.__main__ import FAILED, main
from tests.api.served import shop_bundle
from tests.inference.tiny_bundle import edit_manifest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real bundle."""
    return shop_bundle(tmp_path_factory.mktemp("bundle"))


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The service as a process; killed if it has not stopped by itself."""
    command = [sys.executable, "-m", "app", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_ready(port: int, process: subprocess.Popen[str]) -> None:
    """Until /health/ready answers, or the process is gone."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1):
                return
        except OSError:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.05)
    pytest.fail("the service did not become ready")


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a mistake is told in."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sealed: Path
) -> None:
    """A missing bundle, a port in use, a wrong argument, a wrong setting."""
    monkeypatch.setenv("PLTV_BUNDLE", str(sealed))
    assert "absent" in mistake(capsys, "--bundle", str(tmp_path / "absent"))
    monkeypatch.setenv("PLTV_BUNDLE", str(sealed))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert port in mistake(capsys, "--port", port)
    assert "65535" in mistake(capsys, "--port", "99999")
    assert "--wrong" in mistake(capsys, "--wrong")
    for name, value in (("PLTV_DEADLINE_MS", "soon"), ("PLTV_TCF_PURPOSES", "all"), ("PLTV_REDIS_URL", "redis://h:p")):
        with monkeypatch.context() as wrong:
            wrong.setenv(name, value)
            assert f"pltv: {name}: " in mistake(capsys)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "file" / "metrics"))
    assert "PROMETHEUS_MULTIPROC_DIR" in mistake(capsys, "--port", "0")
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    for name, value in (("IDENTITY_KEY", "a"), ("REDIS_URL", "redis://h"), ("WORKERS", "1")):
        monkeypatch.setenv(f"PLTV_{name}", value)  # else their absence is told as well
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert "TMPDIR: " in mistake(capsys, "--port", "0", "--workers", "2")


def test_workers_share_a_port_and_their_metrics(sealed: Path) -> None:
    """Two of them: one scrape tells of both, and both stop when asked to."""
    port = free_port()
    with running("--bundle", str(sealed), "--port", str(port), "--workers", "2") as process:
        wait_ready(port, process)
        for _ in range(100):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                text = answer.read().decode()
            infos = [line for line in text.splitlines() if line.startswith("pltv_bundle_info{")]
            if len(infos) == 2:
                break
            time.sleep(0.05)
        assert len(infos) == 2
        assert all(line.endswith(" 1.0") for line in infos)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_unix_socket_is_served_and_removed(sealed: Path, tmp_path: Path) -> None:
    """One that a killed process left behind is replaced."""
    path = tmp_path / "pltv.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with running("--bundle", str(sealed), "--uds", str(path), PLTV_IDENTITY_KEY="k") as process:
        reply = b""
        for _ in range(600):
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
                    client.sendall(b"GET /health/ready HTTP/1.1\r\nHost: pltv\r\nConnection: close\r\n\r\n")
                    reply = client.recv(1000)
                break
            except OSError:
                time.sleep(0.05)
        assert reply.startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not path.exists()


def test_a_bundle_that_can_not_be_loaded_ends_the_start(sealed: Path, tmp_path: Path) -> None:
    """Sound by its hashes, broken inside: one line, and no traceback."""
    path = tmp_path / "bad"
    shutil.copytree(sealed, path)
    (path / "prior.json").write_text("{}")
    edit_manifest(path)
    with running("--bundle", str(path), "--port", str(free_port())) as process:
        assert process.wait(30) == FAILED
        assert process.stderr is not None
        logged = process.stderr.read()
        assert "prior" in logged
        assert "Traceback" not in logged
