"""The documents agree with the code that they describe."""

import re
from pathlib import Path

import pytest

from dev import configuration
from dev.processes import REPOSITORY
from shared.contracts import OPERATIONS
from shared.contracts.events import RevocationReason

DOCUMENTS = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "client/README.md"]


def test_settings_page_equals_the_generated_one() -> None:
    committed = configuration.PAGE.read_text(encoding="utf-8")
    assert committed == configuration.page(committed), "run `make configuration` and commit the page"


def test_settings_page_marks_each_required_and_secret_variable() -> None:
    text = configuration.PAGE.read_text(encoding="utf-8")
    for settings, secrets in configuration.TABLES.values():
        for field in settings.model_fields.values():
            rows = re.findall(rf"^\| `{field.validation_alias}` \| (.*?) \| .+ \|$", text, re.MULTILINE)
            assert rows, field.validation_alias
            assert all(row.endswith("secret") == (str(field.validation_alias) in secrets) for row in rows)
            assert any(row.startswith("required") for row in rows) == field.is_required()


def test_page_without_the_markers_of_a_table_is_rejected() -> None:
    """Without this check, a removed table would go unnoticed."""
    with pytest.raises(ValueError, match="no markers for the settings of the edge"):
        configuration.page("# Configuration\n")


def test_architecture_page_lists_every_operation_with_its_lane() -> None:
    text = (REPOSITORY / "docs/architecture.md").read_text()
    table = dict(re.findall(r"`([a-z]+\.[a-z_]+)` \| (\w+) \|", text))
    assert table == {name: op.lane for name, op in OPERATIONS.items() if not name.startswith("health.")}
    for reason in RevocationReason:
        assert f"`{reason}`" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_relative_link_between_documents_names_an_existing_file(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_decisions_are_listed_once_in_order_of_number() -> None:
    folder = REPOSITORY / "docs/decisions"
    listed = re.findall(r"^(\d+)\. \[(.+?)\]\((\S+)\)", (folder / "README.md").read_text(), re.MULTILINE)
    pages = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    titles = [path.read_text().partition("\n")[0] for path in pages]
    assert [page for _, _, page in listed] == [path.name for path in pages]
    assert [f"# {number:0>4} {title}" for number, title, _ in listed] == titles
