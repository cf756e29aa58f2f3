"""The start of a process, the same for edge and worker: arguments, settings, logs, `--check` and traces."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .environment import EX_UNAVAILABLE, configuration_error, load_settings, unread_variables
from .logging import configure
from .settings import ProcessSettings

if TYPE_CHECKING:  # installed only with tracing
    from .tracing import ProcessTracing

log = logging.getLogger(__name__)

SettingsT = TypeVar("SettingsT", bound=ProcessSettings)
TracingT = TypeVar("TracingT", bound="ProcessTracing")

#: Each of these variables enables tracing (OpenTelemetry, "OTLP Exporter Configuration").
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def argument_parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser for `python -m <program>`, with `--check`."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--check", action="store_true", help="check settings and connections, then exit")
    return parser


def prepare(
    service: str,
    settings_type: type[SettingsT],
    secrets: Iterable[str],
    problems: Callable[[SettingsT], Coroutine[Any, Any, list[str]]],
    *,
    check: bool,
    **overrides: object,
) -> SettingsT:
    """Load the settings and set up the logs of this process, which are named after `service`.

    With `check`, print what `problems` finds and raise `SystemExit`. A configuration error raises
    `SystemExit` too.
    """
    settings = load_settings(settings_type, secrets, **overrides)
    unread = unread_variables(os.environ, settings_type, secrets)
    if check:
        configure(service, "critical", settings.log_format)
        raise SystemExit(_report_check(unread, asyncio.run(problems(settings))))
    configure(service, settings.log_level, settings.log_format)
    for name, nearest in unread.items():
        if nearest:
            log.warning("variable is not a setting and is ignored", extra={"variable": name, "nearest": nearest})
    if others := [name for name, nearest in unread.items() if not nearest]:
        log.info("this process does not read these variables", extra={"variables": others})
    return settings


def tracing_enabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether a trace endpoint is configured and tracing is not disabled."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(environ.get(name) for name in ENDPOINTS)


def load_tracing(imported: Callable[[], type[TracingT]]) -> TracingT | None:
    """Return the tracing of this process, or None if it is off.

    `imported` imports the class, and with it OpenTelemetry; it is called only if tracing is on.
    Raises `SystemExit` with a configuration error if OpenTelemetry is not installed.
    """
    if not tracing_enabled():
        return None
    try:
        return imported().exporting()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        name = next(name for name in ENDPOINTS if os.environ.get(name))
        problem = f"{name}: traces need OpenTelemetry, which is not installed: pip install 'jincor-auth[telemetry]'"
        raise configuration_error([problem]) from None


def _report_check(unread: Mapping[str, str | None], problems: list[str]) -> int:
    """Print the problems to stderr, one line each, or `ok`. Return the exit code."""
    warnings = [f"warning: {name} is not a setting: did you mean {near}?" for name, near in unread.items() if near]
    print(*warnings, *(problems or ["ok"]), sep="\n", file=sys.stderr)  # noqa: T201 - it talks to a person at a terminal
    return EX_UNAVAILABLE if problems else 0
