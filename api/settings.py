"""The edge's settings: environment variables. Their docstrings are the tables of docs/configuration.md."""

from typing import Annotated, Literal, Self

from pydantic import (
    AliasGenerator,
    Field,
    FiniteFloat,
    IPvAnyNetwork,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.process.environment import AmqpUrl, CommaSeparated
from shared.process.logging import LogFormat

Origin = Annotated[str, StringConstraints(pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$")]
"""As browsers spell it (RFC 6454, 6.2): in lower case, without a path."""

Port = Annotated[int, Field(ge=1, le=65535)]
#: May be given as files.
SECRETS = ("AMQP_URL", "AUTH_FORWARD_PASSWORD")


class Settings(BaseSettings):
    """Every variable the edge reads: `AMQP_URL`, and the other fields' names in upper case after `AUTH_`."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: f"AUTH_{name.upper()}"),
        validate_by_name=True,
        validate_by_alias=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        frozen=True,
    )

    amqp_url: Annotated[tuple[AmqpUrl, ...], NoDecode, CommaSeparated, Field(min_length=1, validation_alias="AMQP_URL")]
    """The broker, or several nodes of it, separated by commas: each connection begins at a random one, and the next is
    used when one is away."""
    declare_topology: bool = True
    """`false` where an administrator declares the exchanges and this user may not."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8000
    """Port to listen on."""
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, CommaSeparated] = ()
    """Addresses and networks whose `X-Forwarded-For` is believed. None by default: the client is whoever connects."""
    max_body_bytes: PositiveInt = 131_072
    """A larger body is refused with 413. Several times the largest valid one, which holds a token. Chunk sizes and
    trailers are limited to 64 KiB besides."""
    body_seconds: Annotated[FiniteFloat, Field(gt=0)] = 10.0
    """From the headers of a request to the end of its body and trailers; later it is refused with 408. After an
    earlier answer the edge reads on for 5 seconds at most, and closes the connection."""
    keep_alive_seconds: PositiveInt = 75
    """How long a connection may be idle between two requests. Longer than clients and balancers keep one, most of which
    do for 5 to 60 seconds: whoever closes first must not be the one who is about to be sent a request."""
    request_limit: NonNegativeInt = 0
    """How many requests one address may make in a window, of each edge; more are answered 429. 0: any number. Most
    callers are services with many users behind one address: how many is too many, only their operator knows."""
    request_limit_seconds: Annotated[FiniteFloat, Field(gt=0, le=3600)] = 1.0
    """How long that window is."""
    request_limit_exempt: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, CommaSeparated] = ()
    """Addresses and networks whose requests are not counted."""
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, CommaSeparated] = ()
    """Sites whose pages may ask from browsers, as `https://app.example`. All of them at once (`*`) are not a choice."""
    docs: bool = True
    """Whether `/docs` and `/openapi.json` are there."""

    forward_email: str | None = None
    """The tenant whose users' tokens `/auth/forward` accepts. Without it there is no such route."""
    forward_password: SecretStr | None = None
    """Its password: the edge logs in as this tenant."""

    event_streams: PositiveInt = 2_000
    """How many event streams may be open at a time, all tenants together; more are answered 503."""
    event_streams_per_tenant: PositiveInt = 500
    """And of one tenant, so that it leaves some to the others."""
    event_heartbeat_seconds: Annotated[FiniteFloat, Field(gt=0)] = 15.0
    """How long an event stream is silent at most. HTML, 9.2.7: 15 seconds or so, since proxies drop silent connections,
    some of them after half a minute."""

    verify_cache_seconds: Annotated[FiniteFloat, Field(ge=0, le=3600)] = 0.0
    """How old a verification that is used again may be, at most. 0 is strict: a worker is asked each time."""

    reply_timeout_seconds: Annotated[FiniteFloat, Field(gt=0, le=600)] = 5.0
    """How long a request waits for its worker before it is answered 504. Workers refuse deadlines further away than ten
    minutes."""
    drain_seconds: Annotated[FiniteFloat, Field(ge=0)] = 3.0
    """How long a stopping edge says 503 at `/health/ready`, and serves all the same: what balancers take to see it."""
    shutdown_grace_seconds: PositiveInt = 10
    """How long a stopping edge waits for the requests it holds."""

    metrics_port: Port | None = None
    """Where Prometheus finds this process; without a port there is no such place. One for each process of a host."""
    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address for it to listen on. Metrics are for the operator alone: one that clients cannot reach."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: LogFormat = "json"
    """`json`, or `console` for people."""
    log_verify_sample: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.01
    """Of the verifications that succeed, the share that is logged; each of their lines says it. All others are."""

    @model_validator(mode="after")
    def _whole_credentials(self) -> Self:
        if (self.forward_email is None) != (self.forward_password is None):
            raise ValueError("AUTH_FORWARD_EMAIL and AUTH_FORWARD_PASSWORD are set together or not at all")
        return self
