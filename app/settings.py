"""Settings of the service. `PLTV_*` environment variables enter, one frozen object leaves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import DirectoryPath, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis.asyncio import ConnectionPool

KIB: Final = 1024
MIB: Final = 1024 * KIB
DAY_S: Final = 86_400

_REDIS = re.compile(r"(rediss?://[^/]+|unix://.+)")
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")  # redis-py's names
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Settings(BaseSettings):
    """Every setting of the service; the environment variable is the upper-case name after `PLTV_`."""

    model_config = SettingsConfigDict(env_prefix="PLTV_", frozen=True, extra="ignore", env_ignore_empty=True)

    bundle: Path = Field(
        Path("models/current"), description="Directory of the bundle to serve, or a symbolic link to it."
    )
    bundle_key: SecretStr | None = Field(
        None, description="Key of the bundles' signature; when set, a bundle without a valid one is refused."
    )
    bundle_poll_s: float = Field(
        2.0, gt=0, description="Seconds between two looks at whether `bundle` points elsewhere."
    )

    deadline_ms: int = Field(
        8, ge=1, le=60_000, description="Time for an answer when the call names none, milliseconds from receipt."
    )
    max_in_flight: int = Field(
        256, ge=1, description="Calls worked on at once; those above it are answered 503 with Retry-After."
    )
    request_timeout_s: float = Field(
        10.0, gt=0, description="Seconds within which a request has to be here whole, and an answer has to be read."
    )
    max_campaigns: int = Field(64, ge=1, description="Entries that `ext.campaigns` may have.")
    max_batch: int = Field(
        1000, ge=1, description="Bid requests in a call of /predict/batch, users in one of /features."
    )
    answer_ttl_s: int = Field(
        300, ge=0, description="Seconds for which a caller may reuse an answer: `ttl_s` of the response."
    )

    max_body_bytes: int = Field(MIB, ge=1 * KIB, description="Largest body of one bid request, in bytes, as sent.")
    max_batch_body_bytes: int = Field(
        32 * MIB, ge=1 * KIB, description="Largest body of /predict/batch and /features, in bytes, as sent."
    )
    max_upload_bytes: int = Field(
        256 * MIB, ge=1 * KIB, description="Memory of all bodies of /predict/batch and /features under way, in bytes."
    )
    max_inflated_bytes: int = Field(
        MIB, ge=1 * KIB, description="Largest size to which a gzipped bid request may inflate, in bytes."
    )

    redis_url: SecretStr | None = Field(
        None,
        description="Redis for histories: redis://, rediss:// (?ssl_ca_certs=FILE, &ssl_certfile=, &ssl_keyfile=) or "
        "unix://; unset: near cache only.",
    )
    workers: int = Field(
        1,
        ge=1,
        description="Workers behind one port, set by `--workers`; without Redis several store no histories.",
    )
    fleet_dir: DirectoryPath | None = Field(
        None,
        description="Directory in which the workers of one service agree on a bundle, set by `--workers`.",
    )
    redis_timeout_ms: int = Field(5, ge=1, description="Longest wait for one answer of Redis, milliseconds.")
    redis_write_timeout_ms: int = Field(
        1000, ge=1, description="Longest wait for Redis to confirm a write or an erasure, milliseconds."
    )
    near_bytes: int = Field(64 * MIB, ge=0, description="Memory of a worker's own history cache, in bytes.")
    near_ttl_s: int = Field(
        60, ge=1, description="Seconds for which a worker trusts its own copy before it asks Redis again."
    )
    history_max_age_s: int = Field(
        30 * DAY_S, ge=1, description="Age in seconds past which a stored history counts no more, and Redis forgets it."
    )
    identity_key: SecretStr | None = Field(
        None,
        description="Key under which identities are hashed; the same for all that share a Redis. Unset: random.",
    )

    api_tokens: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(), description="Comma-separated sha256 (hex) of the callers' bearer tokens; empty: open."
    )
    admin_token: str | None = Field(
        None, description="sha256 (hex) of the token for /models/reload; unset: reloads by HTTP are refused."
    )
    tcf_vendor_id: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Our id on the Global Vendor List; unset: where GDPR applies no consent can name us.",
    )
    tcf_purposes: Annotated[frozenset[int], NoDecode] = Field(
        frozenset({1, 3, 4}), description="Comma-separated TCF purposes (1–24) that must all be consented to."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level of log lines that are written."
    )

    @field_validator("redis_url")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _REDIS.match(value.get_secret_value()):
            raise ValueError("expected redis://HOST[:PORT], rediss://HOST[:PORT] or unix://PATH")
        try:
            parts = urlsplit(value.get_secret_value() if value else "")
            _ = parts.port
        except ValueError:  # whose text holds what came, which may be a part of a password
            raise ValueError("expected a port from 0 to 65535 after redis://HOST:") from None
        for name, path in parse_qsl(parts.query):
            if name in _TLS_FILES and not Path(path).is_file():
                raise ValueError(f"{name}: expected a file of PEM, received {path}, which is none")
        try:
            if value is not None:
                pool: Any = ConnectionPool.from_url(value.get_secret_value())
                pool.make_connection()  # which connects to nothing yet
        except (TypeError, ValueError):
            raise ValueError("expected options that redis-py knows after ?, each with a value of its type") from None
        return value

    @field_validator("api_tokens", mode="before")
    @classmethod
    def _split_tokens(cls, value: object) -> object:
        return frozenset(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("tcf_purposes", mode="before")
    @classmethod
    def _split_purposes(cls, value: object) -> object:
        return frozenset(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("api_tokens", "admin_token")
    @classmethod
    def _hashed(cls, value: frozenset[str] | str | None) -> frozenset[str] | str | None:
        for digest in [value] if isinstance(value, str) else value or ():
            if not _SHA256.fullmatch(digest):
                raise ValueError("expected sha256 digests, 64 lower-case hex digits each; not the tokens themselves")
        return value

    @field_validator("tcf_purposes")
    @classmethod
    def _purposes(cls, value: frozenset[int]) -> frozenset[int]:
        if not value or not all(1 <= purpose <= 24 for purpose in value):
            raise ValueError("expected at least one purpose, each from 1 to 24")
        return value
