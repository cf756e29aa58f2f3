"""Configurations as docs/gateways.md shows them, written to files with the ports of a test."""

import re
from collections.abc import Mapping
from pathlib import Path

from dev.processes import REPOSITORY

PAGE = REPOSITORY / "docs/gateways.md"
#: A code block, and the path or the place that its first line names in a comment.
BLOCK = re.compile(r"^```\w+\n(?:#|--) (?P<place>[^\n]+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


def snippets(title: str) -> dict[str, str]:
    """Return the code blocks of the section with this title, by the path or the place that each names."""
    (section,) = re.findall(rf"^### {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return {block["place"]: block["text"] for block in BLOCK.finditer(section)}


def written(files: Mapping[str, str], directory: Path, ports: Mapping[int, int]) -> None:
    """Write the files into one directory, with references to each other and with these ports for those of the page."""
    directory.mkdir(parents=True)
    folders = {str(Path(path).parent) for path in files}
    for path, text in files.items():
        for folder in folders:
            text = text.replace(f"{folder}/", f"{directory}/")  # noqa: PLW2901 - one text, step by step
        for documented, actual in ports.items():
            text = re.sub(rf"\b{documented}\b", str(actual), text)  # noqa: PLW2901
        (directory / Path(path).name).write_text(text)
