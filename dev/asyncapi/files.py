"""The two generated files and their text."""

import json
from pathlib import Path

from dev.asyncapi.document import document
from dev.asyncapi.page import page

DOCS = Path(__file__).parents[2] / "docs"


def made() -> dict[Path, str]:
    """Return the expected text of each file by path."""
    described = document()
    return {
        DOCS / "asyncapi.json": json.dumps(described, indent=2, ensure_ascii=False) + "\n",
        DOCS / "amqp.md": page(described),
    }
