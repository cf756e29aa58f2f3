"""The edge's settings: environment variables; docs/configuration.md explains them to operators."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasGenerator,
    BeforeValidator,
    Field,
    FiniteFloat,
    IPvAnyNetwork,
    PositiveInt,
    SecretStr,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from yarl import URL

from shared.logging import LogFormat

#: May be given as files.
SECRETS = ("AMQP_URL",)


def _comma_separated(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _amqp_url(secret: SecretStr) -> SecretStr:
    url = URL(secret.get_secret_value())
    if url.scheme not in {"amqp", "amqps"} or not url.host:
        raise ValueError("must be amqp://host or amqps://host")
    return secret


CommaSeparated = BeforeValidator(_comma_separated)
AmqpUrl = Annotated[SecretStr, AfterValidator(_amqp_url)]


class Settings(BaseSettings):
    """Every variable the edge reads: `AMQP_URL`, and the other fields' names in upper case after `AUTH_`."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: f"AUTH_{name.upper()}"),
        validate_by_name=True,
        validate_by_alias=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
        frozen=True,
    )

    amqp_url: Annotated[tuple[AmqpUrl, ...], NoDecode, CommaSeparated, Field(min_length=1, validation_alias="AMQP_URL")]
    """The broker, or several nodes of it; the next is used when one is away."""
    declare_topology: bool = True
    """False where an administrator declares the exchanges and this user may not."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, CommaSeparated] = ()
    """Networks whose `X-Forwarded-For` is believed. None by default: the client is whoever connects."""
    max_body_bytes: PositiveInt = 131_072
    """Several times the largest valid body, which holds a token."""

    reply_timeout_seconds: Annotated[FiniteFloat, Field(gt=0)] = 5.0
    shutdown_grace_seconds: PositiveInt = 10
    """How long a stopping edge waits for the requests it holds."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: LogFormat = "json"
