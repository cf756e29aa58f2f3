"""What the documents say, held against what they speak of."""

import re
from pathlib import Path

import pytest

import api.settings
import worker.settings
from dev.processes import REPOSITORY
from shared.contracts import OPERATIONS
from shared.contracts.events import RevocationReason

DOCUMENTS = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "client/README.md"]


@pytest.mark.parametrize(
    ("heading", "settings"), [("Edge", api.settings.Settings), ("Worker", worker.settings.Settings)]
)
def test_every_setting_is_documented_with_its_default(
    heading: str, settings: type[api.settings.Settings] | type[worker.settings.Settings]
) -> None:
    """A row for each variable, no row for anything else, and the defaults are those of the code."""
    section = (REPOSITORY / "docs/configuration.md").read_text().partition(f"## {heading}: ")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", section, re.MULTILINE))
    fields = {str(field.validation_alias): field for field in settings.model_fields.values()}
    assert rows.keys() == fields.keys()
    for name, documented in rows.items():
        default = fields[name].default
        if fields[name].is_required():
            assert documented.startswith("required"), name
        elif default in ((), None):
            assert documented.startswith("none"), name
        elif documented.startswith("`"):
            assert documented.strip("`") == (str(default).lower() if isinstance(default, bool) else str(default)), name
        else:
            assert name == "AUTH_HASH_THREADS", "a default in words"


def test_the_architecture_names_every_operation_with_its_lane() -> None:
    """The table of the wire is the table of the code."""
    text = (REPOSITORY / "docs/architecture.md").read_text()
    table = dict(re.findall(r"`([a-z]+\.[a-z_]+)` \| (\w+) \|", text))
    assert table == {name: op.lane for name, op in OPERATIONS.items() if not name.startswith("health.")}
    for reason in RevocationReason:
        assert f"`{reason}`" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    """Every relative link names a file that exists."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target
