"""Settings from the environment and secret files, with one line per configuration error."""

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


#: The form of a collection in one variable.
CommaSeparated = BeforeValidator(_comma_separated)
#: The address of a broker. It is a secret because it contains the password.
AmqpUrl = Annotated[SecretStr, AfterValidator(_amqp_url)]

SettingsT = TypeVar("SettingsT", bound=BaseModel)

#: Exit code of a configuration error, as in sysexits.h.
EX_CONFIG = 78
#: Exit code of a required service that is unavailable, as in sysexits.h.
EX_UNAVAILABLE = 69
#: Each of these variables enables tracing (OpenTelemetry, "OTLP Exporter Configuration").
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def load_settings(settings: type[SettingsT], secrets: Iterable[str], **overrides: object) -> SettingsT:
    """Load the settings of this process. On errors, print the variables to stderr and raise
    `SystemExit`.

    A variable in `secrets` may also be read from a file: set the variable with the suffix `_FILE`
    to its path. Values are never printed.
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
    """Print the problems to stderr, one line each, and return a `SystemExit` with `EX_CONFIG`."""
    print(*(f"configuration error: {problem}" for problem in problems), sep="\n", file=sys.stderr)  # noqa: T201 - logs are not set up yet
    return SystemExit(EX_CONFIG)


def report_check(problems: Iterable[str]) -> int:
    """Print the problems that `--check` found to stderr, one line each, or `ok`. Return the exit
    code."""
    found = list(problems)
    print(*(found or ["ok"]), sep="\n", file=sys.stderr)  # noqa: T201 - it talks to a person at a terminal
    return EX_UNAVAILABLE if found else 0


def secret_files(environ: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    """Read the files of the `_FILE` variables; return their contents by the names without `_FILE`.

    Raises `OSError` for an unreadable file. Raises `ValueError` for a file that is not text, or if
    both variables are set.
    """
    found = {}
    for name in secrets:
        if path := environ.get(f"{name}_FILE"):
            if environ.get(name):
                raise ValueError(f"{name} and {name}_FILE are both set; set one")
            try:
                found[name] = Path(path).read_text().strip()
            except OSError as error:
                raise OSError(f"{name}_FILE: {error.strerror}: {path}") from error
            except UnicodeDecodeError:  # its message would show a byte of the secret
                raise ValueError(f"{name}_FILE: is not text: {path}") from None
    return found


def tracing_enabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether a trace endpoint is configured and tracing is not disabled."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(environ.get(name) for name in ENDPOINTS)


@contextlib.contextmanager
def require_opentelemetry() -> Iterator[None]:
    """Wrap the first import of OpenTelemetry: exit with a configuration error if it is not
    installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        name = next(name for name in ENDPOINTS if os.environ.get(name))
        problem = f"{name}: traces need OpenTelemetry, which is not installed: pip install 'jincor-auth[telemetry]'"
        raise configuration_error([problem]) from None
