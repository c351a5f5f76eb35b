"""A Redis that speaks TLS only: used with the authority that signed it, refused by name with any other."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.api.served import HISTORY, bid
from tests.support.market import ROOT, clean_environment
from tests.support.redis_process import binary, free_port
from tests.support.service_process import STOP_SECONDS, ServiceProcess, samples, serving_process

WHO = {"user_id": "somebody"}


def openssl(folder: Path, *arguments: str) -> None:
    """Run it there."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem`, which signed `server.pem` (for 127.0.0.1) and `client.pem`; `other.pem`, a stranger; their keys."""
    folder = tmp_path_factory.mktemp("keys")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    for name in ("ca", "other"):
        openssl(folder, "req", "-x509", *curve, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    for name in ("server", "client"):
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"]
        openssl(folder, "req", "-x509", *curve, *signed, *files)
    return folder


@pytest.fixture(scope="module")
def port(keys: Path) -> Iterator[int]:
    """Port of a Redis that asks its clients for a certificate too."""
    chosen = free_port()
    with TemporaryDirectory(prefix="pltv-redis-") as folder:
        command = [binary() or "redis-server", "--port", "0", "--tls-port", str(chosen), "--bind", "127.0.0.1"]
        command += ["--tls-cert-file", str(keys / "server.pem"), "--tls-key-file", str(keys / "server.key")]
        command += ["--tls-ca-cert-file", str(keys / "ca.pem"), "--save", "", "--dir", folder]
        log = Path(folder) / "log"
        with log.open("wb") as output, subprocess.Popen(command, stdout=output) as server:
            try:
                await_start(server, log)
                yield chosen
            finally:
                server.kill()


def await_start(server: subprocess.Popen[bytes], log: Path) -> None:
    """Until it takes connections; skip where it was built without TLS."""
    deadline = time.monotonic() + STOP_SECONDS
    while "Ready to accept connections" not in log.read_text():
        if server.poll() is not None:
            told = log.read_text()
            if "Bad directive" in told or "TLS support" in told:
                pytest.skip("redis-server was built without TLS")
            pytest.fail(told)
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def service_with(shop: Path, url: str) -> Iterator[ServiceProcess]:
    """Its own tier holds nothing, so that each look-up asks Redis."""
    settings: dict[str, Any] = {"PLTV_REDIS_URL": url, "PLTV_NEAR_BYTES": "0"}
    with serving_process(shop, **settings) as service:
        yield service
        assert "Traceback" not in service.output


def url_of(port: int, keys: Path, **files: str) -> str:
    """The setting, with some files of `keys`."""
    return f"rediss://127.0.0.1:{port}/0?" + "&".join(f"{name}={keys / file}" for name, file in files.items())


CLIENT = {"ssl_certfile": "client.pem", "ssl_keyfile": "client.key"}


def test_the_right_authority(shop: Path, keys: Path, port: int) -> None:
    """Stored, found and erased over TLS."""
    with service_with(shop, url_of(port, keys, ssl_ca_certs="ca.pem", **CLIENT)) as service:
        assert service.post("/features", {"users": [{**WHO, "history": HISTORY}]}).json()["stored"] == 1
        answer = service.predict(bid(user={"id": WHO["user_id"]}))
        assert (answer["history"]["source"], answer["degraded"]) == ("redis", [])
        assert service.post("/features/delete", {"users": [WHO]}).status_code == 200
        assert service.predict(bid(user={"id": WHO["user_id"]}))["history"]["state"] == "unavailable"


def test_the_wrong_authority_is_named_and_predictions_go_on(shop: Path, keys: Path, port: int) -> None:
    """The log says what failed, the breaker is open, nothing is confirmed, every answer says what it lacks."""
    with service_with(shop, url_of(port, keys, ssl_ca_certs="other.pem", **CLIENT)) as service:
        answer = service.predict(bid(user={"id": WHO["user_id"]}))
        assert (answer["degraded"], answer["history"]["state"]) == (["redis"], "unavailable")
        assert service.post("/features", {"users": [{**WHO, "history": HISTORY}]}).status_code == 503
        assert samples(service.metrics(), "pltv_redis_breaker_open")[""] == 1.0
        lines = [json.loads(line) for line in service.output.splitlines()]
        (told,) = [line for line in lines if line["event"] == "Redis is left alone"]
        assert "CERTIFICATE_VERIFY_FAILED" in told["reason"]


def test_a_file_that_is_not_there_is_a_mistake(shop: Path, keys: Path) -> None:
    """One line before anything starts, exit code 2."""
    url = url_of(1, keys, ssl_ca_certs="absent.pem")
    command = [sys.executable, "-m", "app", "--bundle", str(shop)]
    environment = clean_environment(PLTV_REDIS_URL=url)
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60.0)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("pltv: PLTV_REDIS_URL: ssl_ca_certs: expected a file of PEM, received ")
