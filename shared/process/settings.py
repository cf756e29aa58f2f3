"""The settings that edge and worker have in common, and the types of their fields.

docs/configuration.md is generated from the docstrings.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasGenerator, BeforeValidator, Field, FiniteFloat, SecretStr
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from ..amqp.connection import broker_url
from .logging import LogFormat


def _comma_separated(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _amqp_url(secret: SecretStr) -> SecretStr:
    broker_url(secret.get_secret_value())
    return secret


#: The form of a collection in one variable.
CommaSeparated = BeforeValidator(_comma_separated)
#: The address of a broker. It is a secret because it contains the password.
AmqpUrl = Annotated[SecretStr, AfterValidator(_amqp_url)]
Port = Annotated[int, Field(ge=1, le=65535)]


class ProcessSettings(BaseSettings):
    """Settings of every process: `AMQP_URL`, and each other field as `AUTH_<FIELD>`."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: f"AUTH_{name.upper()}"),
        validate_by_name=True,
        validate_by_alias=True,
        case_sensitive=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        frozen=True,
    )

    amqp_url: Annotated[tuple[AmqpUrl, ...], NoDecode, CommaSeparated, Field(min_length=1, validation_alias="AMQP_URL")]
    """URL of the broker, or of several of its nodes, separated by commas. Each connection starts with a random
    node, and tries the next one if a node is unavailable."""
    declare_topology: bool = True
    """`false`: an administrator declares the exchanges, and this broker user may not. Workers always declare the
    queues of their lanes."""
    metrics_port: Port | None = None
    """Port of the metrics endpoint; each process on a host needs its own. Unset: no metrics endpoint."""
    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address of the metrics endpoint. Metrics are for the operator only: clients must not reach this address."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged: `debug`, `info`, `warning` or `error`."""
    log_format: LogFormat = "json"
    """`json`, or `console` for reading in a terminal."""
    log_verify_sample: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.01
    """Share of successful verifications that is logged; each such line holds the share as `sample`. Successful health
    checks are never logged, all other requests are."""

    @property
    def broker_urls(self) -> list[str]:
        """The addresses in `AMQP_URL`, with their passwords."""
        return [url.get_secret_value() for url in self.amqp_url]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read documented variables only. Field names are for callers in Python: platforms set variables such as
        `HOST` and `PORT` for other programs."""
        env_settings.config = {**settings_cls.model_config, "validate_by_name": False}
        return init_settings, env_settings, dotenv_settings, file_secret_settings
