"""What the documents say, held against what they speak of."""

import re
from pathlib import Path

import pytest

from dev import configuration
from dev.processes import REPOSITORY
from shared.contracts import OPERATIONS
from shared.contracts.events import RevocationReason

DOCUMENTS = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "client/README.md"]


def test_every_setting_is_documented_as_the_code_has_it() -> None:
    """A change of a setting, of its default or of what it means is a change of the page, in the same commit."""
    committed = configuration.PAGE.read_text(encoding="utf-8")
    assert committed == configuration.page(committed), "run `make configuration` and commit the page"


def test_the_page_names_every_variable_once_and_its_secrets() -> None:
    """Two tables, the required ones marked, and nothing that is secret shown as if it were not."""
    text = configuration.PAGE.read_text(encoding="utf-8")
    for settings, secrets in configuration.TABLES.values():
        for field in settings.model_fields.values():
            rows = re.findall(rf"^\| `{field.validation_alias}` \| (.*?) \| .+ \|$", text, re.MULTILINE)
            assert rows, field.validation_alias
            assert all(row.endswith("secret") == (str(field.validation_alias) in secrets) for row in rows)
            assert any(row.startswith("required") for row in rows) == field.is_required()


def test_a_table_that_is_gone_is_missed() -> None:
    """What is generated has a place, or nobody would notice that it is not."""
    with pytest.raises(ValueError, match="no markers for the settings of the edge"):
        configuration.page("# Configuration\n")


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
