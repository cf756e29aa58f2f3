"""The worker's settings: environment variables; docs/configuration.md explains them to operators."""

import base64
import os
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, SecretBytes, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.contracts.operation import Lane

#: RFC 7518, 3.2: a key of HMAC-SHA-256 has at least as many bits as its output.
MIN_MASTER_KEY_BYTES = 32


#: May be given as files.
SECRETS = ("AMQP_URL", "MONGO_URL", "AUTH_MASTER_KEYS", "AUTH_REGISTRATION_KEY")


def _comma_separated(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _master_keys(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(_comma_separated(value), start=1):
        key_id, colon, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not (key_id and colon and key):
            raise ValueError(f"key {number} must be id:base64")
        if len(key) < MIN_MASTER_KEY_BYTES:
            raise ValueError(f"key {number} must have at least {MIN_MASTER_KEY_BYTES} bytes")
        if key_id in keys:
            raise ValueError(f"key {number} has the id of an earlier one")
        keys[key_id] = key
    return keys


CommaSeparated = BeforeValidator(_comma_separated)
Network = IPv4Network | IPv6Network


class Settings(BaseSettings):
    """What a worker is told from outside. There is no default for anything that protects something."""

    model_config = SettingsConfigDict(hide_input_in_errors=True, frozen=True, env_ignore_empty=True)

    amqp_url: Annotated[tuple[SecretStr, ...], NoDecode, CommaSeparated, Field(min_length=1, alias="AMQP_URL")]
    """The broker, or several nodes of it; the next is used when one is away."""
    mongo_url: Annotated[SecretStr, Field(alias="MONGO_URL")]
    """The database; its path names it, `jincor_auth` if it has none."""
    lanes: Annotated[frozenset[Lane], NoDecode, CommaSeparated, Field(min_length=1, alias="AUTH_LANES")]
    """What this worker serves: `verify`, `manage`, `password`. The command line's `--lanes` comes first."""
    master_keys: Annotated[
        dict[str, SecretBytes], NoDecode, BeforeValidator(_master_keys), Field(min_length=1, alias="AUTH_MASTER_KEYS")
    ]
    """`id:base64` of at least 256 bits each, separated by commas. The first signs, all verify."""
    issuer: Annotated[str, Field(min_length=1, alias="AUTH_ISSUER")] = "jincor-auth"
    """`iss` of every token, audience of tenant tokens, source of events."""
    tenant_token_seconds: Annotated[PositiveInt, Field(alias="AUTH_TENANT_TOKEN_SECONDS")] = 7 * 24 * 3600
    user_token_seconds: Annotated[PositiveInt, Field(alias="AUTH_USER_TOKEN_SECONDS")] = 7 * 24 * 3600
    registration_networks: Annotated[
        tuple[Network, ...], NoDecode, CommaSeparated, Field(alias="AUTH_REGISTRATION_NETWORKS")
    ] = ()
    """From where tenants may register. None by default."""
    registration_key: Annotated[SecretStr | None, Field(alias="AUTH_REGISTRATION_KEY")] = None
    """Whoever presents it may register a tenant from anywhere. None by default."""
    hash_threads: Annotated[PositiveInt, Field(alias="AUTH_HASH_THREADS")] = os.cpu_count() or 1
    """How many passwords are hashed at a time; each keeps one core and the memory below busy."""
    hash_memory_kib: Annotated[int, Field(ge=19_456, alias="AUTH_HASH_MEMORY_KIB")] = 19_456
    """argon2id's memory. OWASP Password Storage Cheat Sheet: no less than 19 MiB with two passes."""
    hash_passes: Annotated[int, Field(ge=2, alias="AUTH_HASH_PASSES")] = 2
    password_queue_length: Annotated[PositiveInt, Field(alias="AUTH_PASSWORD_QUEUE_LENGTH")] = 128
    """How many password requests may wait. About deadline times rate: what could not be answered in time is refused."""
    password_nice: Annotated[int, Field(ge=0, le=19, alias="AUTH_PASSWORD_NICE")] = 19
    """Niceness of a worker that serves the password lane alone, so that hashing yields to verification."""
    activity_seconds: Annotated[PositiveFloat, Field(alias="AUTH_ACTIVITY_SECONDS")] = 10.0
    """How often users' last activity is written."""
    shutdown_grace_seconds: Annotated[PositiveFloat, Field(alias="AUTH_SHUTDOWN_GRACE_SECONDS")] = 10.0
    declare_topology: Annotated[bool, Field(alias="AUTH_DECLARE_TOPOLOGY")] = True
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(alias="AUTH_LOG_LEVEL")] = "info"
    log_format: Annotated[Literal["json", "console"], Field(alias="AUTH_LOG_FORMAT")] = "json"

    @property
    def tenant_lifetime(self) -> timedelta:
        return timedelta(seconds=self.tenant_token_seconds)

    @property
    def user_lifetime(self) -> timedelta:
        return timedelta(seconds=self.user_token_seconds)
