"""Settings from the environment, with secrets from files, and one clear line for each thing that is wrong with them."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, SecretStr, ValidationError

from ..amqp.connection import broker_url


def _comma_separated(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _amqp_url(secret: SecretStr) -> SecretStr:
    broker_url(secret.get_secret_value())
    return secret


#: For collections: how they are written in one variable.
CommaSeparated = BeforeValidator(_comma_separated)
#: A broker. Its password is part of it, so the whole is a secret.
AmqpUrl = Annotated[SecretStr, AfterValidator(_amqp_url)]

SettingsT = TypeVar("SettingsT", bound=BaseModel)

#: As sysexits.h has it for a configuration error.
EX_CONFIG = 78
#: And for a service that is needed and not there.
EX_UNAVAILABLE = 69
#: Either of them turns traces on (OpenTelemetry, "OTLP Exporter Configuration").
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def load_settings(settings: type[SettingsT], secrets: Iterable[str], **overrides: object) -> SettingsT:
    """The settings of this process. On a missing or invalid one, names the variable on stderr and exits.

    Each of the variables in `secrets` may instead be given as a file, named by the variable with `_FILE` appended.
    Values are never printed.
    """
    try:
        return settings(**{**secret_files(os.environ, secrets), **overrides})
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
    except (OSError, ValueError) as error:
        problems = [str(error)]
    raise configuration_error(problems)


def configuration_error(problems: Iterable[str]) -> SystemExit:
    """Says on stderr what is wrong with the configuration, a line each. The answer is how to end then."""
    print(*(f"configuration error: {problem}" for problem in problems), sep="\n", file=sys.stderr)  # noqa: T201 - logs are not set up yet
    return SystemExit(EX_CONFIG)


def report_check(problems: Iterable[str]) -> int:
    """Says on stderr what `--check` found, a line each. The answer is the exit code."""
    found = list(problems)
    print(*(found or ["ok"]), sep="\n", file=sys.stderr)  # noqa: T201 - it talks to a person at a terminal
    return EX_UNAVAILABLE if found else 0


def secret_files(environ: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    """What the `_FILE` variables point to, under the names without `_FILE`. Raises `OSError` or `ValueError`."""
    found = {}
    for name in secrets:
        if path := environ.get(f"{name}_FILE"):
            if environ.get(name):
                raise ValueError(f"{name} and {name}_FILE are both set; set one")
            try:
                found[name] = Path(path).read_text().strip()
            except OSError as error:
                raise OSError(f"{name}_FILE: {error.strerror}: {path}") from error
            except UnicodeDecodeError:  # whose text shows a byte of the secret
                raise ValueError(f"{name}_FILE: is not text: {path}") from None
    return found


def tracing_enabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody said where to send traces, and nobody that there shall be none."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(environ.get(name) for name in ENDPOINTS)


@contextlib.contextmanager
def require_opentelemetry() -> Iterator[None]:
    """Around the first import of it: exits as for a wrong setting when it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        name = next(name for name in ENDPOINTS if os.environ.get(name))
        problem = f"{name}: traces need OpenTelemetry, which is not installed: pip install 'jincor-auth[telemetry]'"
        raise configuration_error([problem]) from None
