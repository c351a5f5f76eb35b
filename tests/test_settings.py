"""Tests of app.settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from app.settings import Settings

UNITS = ("_ms", "_s", "_bytes")
DIGEST = "a" * 64


def test_every_setting_is_documented() -> None:
    """One sentence each, as a field's description."""
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_times_and_sizes_have_their_unit_in_the_name() -> None:
    """Where the description speaks of seconds, milliseconds or bytes, so does the name."""
    for name, field in Settings.model_fields.items():
        assert field.description is not None
        if re.search(r"(?i)\b(milli)?seconds\b|\bbytes\b", field.description) and field.annotation in (int, float):
            assert name.endswith(UNITS), name


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the prefix; lists are separated by commas."""
    monkeypatch.setenv("PLTV_BUNDLE", "models/other")
    monkeypatch.setenv("PLTV_DEADLINE_MS", "20")
    monkeypatch.setenv("PLTV_API_TOKENS", f"{DIGEST}, {'b' * 64}")
    monkeypatch.setenv("PLTV_TCF_PURPOSES", "1,7")
    settings = Settings()
    assert (settings.bundle, settings.deadline_ms) == (Path("models/other"), 20)
    assert settings.api_tokens == {DIGEST, "b" * 64}
    assert settings.tcf_purposes == {1, 7}


def test_they_do_not_change() -> None:
    """Frozen, and secrets do not show."""
    settings = Settings(identity_key="secret")
    with pytest.raises(ValidationError):
        settings.deadline_ms = 9  # type: ignore[misc]
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"deadline_ms": 0},
        {"fleet_dir": "absent"},
        {"redis_url": "rediss://redis:6380/0?ssl_ca_certs=absent.pem"},
        {"api_tokens": "password"},
        {"admin_token": "A" * 64},
        {"tcf_purposes": "0"},
        {"tcf_purposes": ""},
        {"tcf_vendor_id": 70_000},
        {"log_level": "loud"},
    ],
)
def test_mistakes_are_refused(wrong: dict[str, object]) -> None:
    """Above all a token where its hash belongs."""
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files write `${KEY:-}`: an empty key is no key, least of all one that everybody knows."""
    for name in ("IDENTITY_KEY", "BUNDLE_KEY", "REDIS_URL", "ADMIN_TOKEN", "DEADLINE_MS"):
        monkeypatch.setenv(f"PLTV_{name}", "")
    settings = Settings()
    assert (settings.identity_key, settings.bundle_key, settings.redis_url, settings.admin_token) == (None,) * 4
    assert settings.deadline_ms == 8


@pytest.mark.parametrize("url", ["redis://h:secret", "redis://h:99999", "redis://[::1"])
def test_a_port_that_is_none_is_refused(url: str) -> None:
    """Before anything starts, and without a word of the address, which may hold a password."""
    with pytest.raises(ValidationError, match="expected a port") as told:
        Settings(redis_url=SecretStr(url))
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("query", ["db=abc", "socket_timeout=soon", "databse=1"])
def test_an_option_that_redis_knows_nothing_of_is_refused(query: str) -> None:
    """Before the service starts, not by the first write; what is known is taken."""
    for url in (f"redis://h?{query}", f"rediss://:secret@h:6380/0?{query}", f"unix:///run/redis.sock?{query}"):
        with pytest.raises(ValidationError, match="expected options that redis-py knows"):
            Settings(redis_url=SecretStr(url))
    Settings(redis_url=SecretStr("rediss://user:secret@h:6380/0?ssl_cert_reqs=none&health_check_interval=30"))


@pytest.mark.parametrize("url", ["localhost:6379", "http://redis", "redis://", "redis:6379"])
def test_an_address_of_no_redis_is_refused(url: str) -> None:
    """At the start and in one line, not in every worker."""
    with pytest.raises(ValidationError, match="expected redis://"):
        Settings(redis_url=SecretStr(url))
