"""`python -m dev.configuration`: generate the tables of docs/configuration.md from the settings.

The text around the tables is written by hand and stays unchanged.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import api.settings
import worker.settings
from shared.process.settings import ProcessSettings

PAGE = Path(__file__).parents[1] / "docs/configuration.md"
#: Defaults in words: one depends on the machine, the other may come from the command line.
IN_WORDS = {"AUTH_HASH_THREADS": "the number of cores", "AUTH_LANES": "required, or `--lanes`"}

TABLES: dict[str, tuple[type[BaseSettings], Iterable[str]]] = {
    "edge": (api.settings.Settings, api.settings.SECRETS),
    "worker": (worker.settings.Settings, worker.settings.SECRETS),
    "process": (ProcessSettings, ("AMQP_URL",)),
}


def page(text: str) -> str:
    """Return the page with its tables replaced. Settings of every process are only in the table `process`."""
    for name, (settings, secrets) in TABLES.items():
        begin, end = f"<!-- settings of the {name}: make configuration -->\n", "<!-- end of the settings -->"
        if text.count(begin) != 1 or end not in text.partition(begin)[2]:
            raise ValueError(f"the page has no markers for the settings of the {name}")
        before, _, rest = text.partition(begin)
        text = before + begin + _table(settings, set(secrets)) + end + rest.partition(end)[2]
    return text


def _table(settings: type[BaseSettings], secrets: set[str]) -> str:
    inherited = () if settings is ProcessSettings else ProcessSettings.model_fields
    fields = [field for name, field in settings.model_fields.items() if name not in inherited]
    rows = (_row(str(field.validation_alias), field, secrets) for field in fields)
    return "".join(["| variable | default | meaning |\n", "|---|---|---|\n", *rows])


def _row(name: str, field: FieldInfo, secrets: set[str]) -> str:
    if field.description is None:
        raise ValueError(f"{name} needs a docstring that describes it")
    meaning = re.sub(r"\s+", " ", field.description).replace("|", "\\|")
    return f"| `{name}` | {_default(name, field)}{', secret' if name in secrets else ''} | {meaning} |\n"


def _default(name: str, field: FieldInfo) -> str:
    default: Any = field.default
    if name in IN_WORDS:
        return IN_WORDS[name]
    if field.is_required():
        return "required"
    if default is None or default in ((), frozenset()):
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE}")
