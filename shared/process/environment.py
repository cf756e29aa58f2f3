"""Settings from the environment and secret files, with one line per configuration error."""

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

SettingsT = TypeVar("SettingsT", bound=BaseModel)

#: Exit code of a configuration error, as in sysexits.h.
EX_CONFIG = 78
#: Exit code of a required service that is unavailable, as in sysexits.h.
EX_UNAVAILABLE = 69
#: How alike a variable and a setting are if one may be a misspelling of the other, by
#: `difflib.SequenceMatcher.ratio`. Settings of edges and workers are less alike: they may share an environment.
MISSPELT = 0.8


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


def secret_files(environ: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    """Read the files of the `_FILE` variables; return their contents by the names without `_FILE`.

    Raises `OSError` for an unreadable file. Raises `ValueError` for a file that is empty or not text,
    or if both variables are set.
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
            if not found[name]:
                raise ValueError(f"{name}_FILE: is empty: {path}")
    return found


def unread_variables(
    environ: Mapping[str, str], settings: type[BaseModel], secrets: Iterable[str]
) -> dict[str, str | None]:
    """Return the `AUTH_` variables that this process does not read, each with the setting that it may misspell."""
    known = {str(field.validation_alias) for field in settings.model_fields.values()}
    known |= {f"{name}_FILE" for name in secrets}
    return {
        name: next(iter(difflib.get_close_matches(name.upper(), known, 1, MISSPELT)), None)
        for name, value in sorted(environ.items())
        if value and name.upper().startswith("AUTH_") and name not in known
    }
