"""The edge's settings: environment variables, and files for the secret one."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasGenerator, BeforeValidator, Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from yarl import URL

from shared.contracts.errors import field_problems
from shared.logging import LogFormat


class InvalidSettings(Exception):
    """A setting is missing or wrong. The text names each such variable and never its value."""


class SecretFiles(PydanticBaseSettingsSource):
    """Reads a secret from the file that `<VARIABLE>_FILE` names, as Docker and Kubernetes mount secrets.

    The variable itself, when set, comes first.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = str(field.validation_alias or field_name)
        path = os.environ.get(f"{variable}_FILE") if field.annotation is SecretStr else None
        try:
            value = Path(path).read_text(encoding="utf-8").strip() if path else None
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSettings(f"{variable}_FILE: cannot be read ({type(error).__name__})") from None
        return value, variable, False

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {variable: value for value, variable, _ in found if value is not None}


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class Settings(BaseSettings):
    """Every variable the edge reads: `AUTH_` and the field's name in upper case, and `AMQP_URL`."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: f"AUTH_{name.upper()}"),
        validate_by_name=True,
        validate_by_alias=True,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    amqp_url: SecretStr = Field(validation_alias="AMQP_URL")
    """One URL, or several of one cluster separated by commas. Also as a file: `AMQP_URL_FILE`."""
    declare_topology: bool = True
    """False where an administrator declares the exchanges and this user may not."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_comma_separated)] = ()
    """Networks whose `X-Forwarded-For` is believed. None: the client is whoever connects."""
    max_body_bytes: Annotated[int, Field(gt=0)] = 131_072
    """Several times the largest valid body, which is a token or a scope."""

    reply_timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    shutdown_grace_seconds: Annotated[int, Field(gt=0)] = 10
    """How long a stopping edge waits for the requests it holds."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: LogFormat = "json"

    @field_validator("amqp_url")
    @classmethod
    def _amqp_urls(cls, value: SecretStr) -> SecretStr:
        for url in value.get_secret_value().split(","):
            if not url.strip().startswith(("amqp://", "amqps://")) or not URL(url.strip()).host:
                raise ValueError("must be amqp:// or amqps:// URLs, separated by commas")
        return value

    @property
    def amqp_urls(self) -> list[str]:
        """The broker's URLs, credentials included: never to be logged."""
        return [url.strip() for url in self.amqp_url.get_secret_value().split(",")]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then secret files."""
        return init_settings, env_settings, SecretFiles(settings_cls)


def load_settings() -> Settings:
    """The settings of this process. Raises `InvalidSettings`."""
    try:
        return Settings()
    except ValidationError as error:
        problems = field_problems(error.errors(include_input=False, include_url=False))
        raise InvalidSettings("; ".join(f"{each.field}: {each.message}" for each in problems)) from None
