"""The pinned commit, and the documented order of an upgrade."""

import re

from dev.processes import REPOSITORY
from tests.mixed.versions import ORDER, PIN


def test_pinned_commit_is_a_full_hash() -> None:
    """The target of a branch or a short hash could change."""
    assert re.fullmatch(r"[0-9a-f]{40}\n", PIN.read_text())


def test_documented_upgrade_order_equals_the_tested_one() -> None:
    text = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert re.findall(r"^\d\. \*\*(.+?)\*\*", text, re.MULTILINE) == list(ORDER)
