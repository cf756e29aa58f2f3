"""The page "Who may do what" agrees with the contracts."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dev import permission_tables
from dev.processes import REPOSITORY
from shared.contracts.api_key import PATTERN, base62, new_api_key
from shared.contracts.permissions import MEANINGS, Permission

TEXT = permission_tables.PAGE.read_text(encoding="utf-8")
DOCUMENTS = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "client/README.md"]
#: The subjects of permissions. Scopes of the products in examples are about other things.
SUBJECTS = {permission.partition(":")[0] for permission in Permission}


def rule() -> dict[str, Any]:
    """Return the rule for secret scanners, as a program that reads TOML finds it."""
    (block,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (found,) = tomllib.loads(block)["rules"]
    return dict(found)


def test_permissions_page_equals_the_generated_one() -> None:
    assert permission_tables.page(TEXT) == TEXT, "run `make permissions` and commit the page"


def test_page_without_the_markers_of_a_table_is_rejected() -> None:
    """Without this check, a removed table would go unnoticed."""
    with pytest.raises(ValueError, match="no markers for the table of permissions"):
        permission_tables.page("# Who may do what\n")


def test_permissions_of_the_page_are_those_of_the_contracts() -> None:
    assert re.findall(r"^\| `([a-z]+:[a-z]+)` \|", TEXT, re.MULTILINE) == list(Permission)
    assert all(f"| {meaning} |" in TEXT for meaning in MEANINGS.values())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_permission_in_a_document_exists(document: Path) -> None:
    named = re.findall(r"\b([a-z]+):([a-z]+)\b(?!@)", document.read_text())
    assert {f"{subject}:{verb}" for subject, verb in named if subject in SUBJECTS} <= set(Permission)


def test_rule_for_secret_scanners_finds_keys_and_nothing_else() -> None:
    assert rule()["regex"] == PATTERN
    key = new_api_key(base62(7, 22))
    for text in (
        key,
        f'{{"apiKey": "{key}"}}',
        f"AUTH_KEY={key}\n",
        f"Authorization: Bearer {key}",
        f"curl -u a:{key}@",
    ):
        assert re.findall(rule()["regex"], text) == [key]
        assert rule()["keywords"][0] in text
    for text in (key[:-1], f"{key}0", f"x{key}", key.replace("_", "-"), "jak_"):
        assert not re.search(rule()["regex"], text)
