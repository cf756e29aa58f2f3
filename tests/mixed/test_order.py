"""What the suite stands on: a commit that cannot move, and an order that the docs tell their readers."""

import re

from dev.processes import REPOSITORY
from tests.mixed.versions import ORDER, PIN


def test_the_pinned_commit_is_named_in_full() -> None:
    """A branch or a short hash would come to mean something else."""
    assert re.fullmatch(r"[0-9a-f]{40}\n", PIN.read_text())


def test_the_docs_name_the_order() -> None:
    """Step by step, as it is tested here."""
    text = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert re.findall(r"^\d\. \*\*(.+?)\*\*", text, re.MULTILINE) == list(ORDER)
