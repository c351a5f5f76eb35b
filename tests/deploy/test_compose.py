"""Tests of deploy/compose."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.settings import Settings
from tests.deploy.files import DEPLOY, documents, program
from tests.support.redis_process import free_port

FOLDER = DEPLOY / "compose"
(COMPOSE,) = documents(FOLDER / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_it_is_of_the_compose_specification() -> None:
    """The specification's own JSON schema takes the file."""
    vendored = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json")
    jsonschema.validate(COMPOSE, json.loads(vendored.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    """A read-only root, a user that is not root, no capability, no escalation, and an image of a named version."""
    service = SERVICES[name]
    assert service["read_only"]
    assert not re.match(r"0(:|$)|root", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert name == "pltv" or ":" in service["image"]


def test_files_that_are_mounted_exist() -> None:
    """A bind mount of nothing would become an empty directory."""
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (FOLDER / source).exists(), source


def test_variables_are_explained_and_settings_exist() -> None:
    """What has no default stands in .env.example; every PLTV_ variable given to the service is a setting."""
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    example = (FOLDER / ".env.example").read_text(encoding="utf-8")
    for name in re.findall(r"\$\{(\w+):\?", text):
        assert re.search(rf"^{name}=$", example, re.MULTILINE), name
    settings = {f"PLTV_{field.upper()}" for field in Settings.model_fields}
    assert {n for n in SERVICES["pltv"]["environment"] if n.startswith("PLTV_")} <= settings


def test_several_workers_have_a_place_for_their_metrics() -> None:
    """The root is read-only, and the workers share their metrics through /tmp."""
    assert "--workers" in SERVICES["pltv"]["command"]
    assert SERVICES["pltv"]["tmpfs"][0].startswith("/tmp:")


@pytest.mark.parametrize("password", ["", "secret"])
def test_redis_starts_as_it_is_configured(tmp_path: Path, password: str) -> None:
    """With and without a password the real server takes the options and the service's URL opens it; a full memory
    evicts, and nothing is written to disk."""
    port = free_port()
    command = [w.replace("${REDIS_PASSWORD:-}", password) for w in SERVICES["redis"]["command"]]
    command = [w.replace("${REDIS_MAXMEMORY:-1gb}", "2mb") for w in command]
    command[:2] = [program("redis-server", "redis-server"), str(FOLDER / "redis.conf")]
    url = SERVICES["pltv"]["environment"]["PLTV_REDIS_URL"].replace("${REDIS_PASSWORD:-}", password)
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    server = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    try:
        with connected(url.replace("redis:6379", f"127.0.0.1:{port}")) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
            for i in range(300):
                client.set(f"key{i}", b"x" * 10_000)
            assert client.info("stats")["evicted_keys"] > 0
        with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as stranger:
            assert opens(stranger) == (password == "")
    finally:
        server.terminate()
        server.wait()
    assert list(tmp_path.iterdir()) == []


def connected(url: str) -> redis.Redis:
    """A client of a server that is about to listen."""
    client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))
    for _ in range(500):
        with contextlib.suppress(redis.ConnectionError):
            client.ping()
            return client
        time.sleep(0.02)
    pytest.fail("redis-server did not start")


def opens(client: redis.Redis) -> bool:
    """Whether the server lets it in."""
    try:
        return bool(client.ping())
    except redis.AuthenticationError:
        return False
