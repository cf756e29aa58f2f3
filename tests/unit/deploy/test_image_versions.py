"""Every image that this repository names has at least the lowest version without a known vulnerability.

A tag that names only a series follows it: a pull gets the newest version of the series. Compose files and tests name
such tags and variables that pin them; docs/deployment.md tells operators to pull and to pin. Any other tag that omits a
part of the version counts as the lowest version that begins with it: a floor with a patch needs a tag with a patch.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.processes import REPOSITORY
from tests.unit.deploy.compose_tags import Merging

Version = tuple[int, ...]


@dataclass(frozen=True)
class Floor:
    """The lowest allowed version of a series, with the reason."""

    version: Version
    reason: str


#: By image and series. A series without a row is refused until a row is added.
FLOORS: dict[str, dict[Version, Floor]] = {
    "mongo": {
        (8, 0): Floor(
            (8, 0, 37),
            "CVE-2026-118383 (use of freed memory before authentication) and CVE-2026-120815 (the "
            "localhost exception creates administrators); 8.0.17 fixed CVE-2025-14847 (memory readable before login)",
        ),
        (8, 3): Floor((8, 3, 16), "CVE-2026-118383 and CVE-2026-120815, as above"),
    },
    "rabbitmq": {
        (4, 2): Floor((4, 2, 10), "CVE-2026-67416: a publisher can stop consumers of other users"),
        (4, 3): Floor((4, 3, 4), "CVE-2026-67416, as above"),
    },
    "haproxy": {
        (3, 2): Floor((3, 2, 26), "CVE-2026-110354: one chunked request keeps a thread busy until a restart"),
    },
    "python": {
        (3, 13): Floor((3, 13), "the version that the tests run on; each build gets its latest patch"),
    },
}
#: Images built from this tree.
OURS = re.compile(r"jincor-auth-(api|worker)")
#: Tags that follow a series, allowed in the files of FOLLOWED_IN.
FOLLOWING: dict[str, set[Version]] = {"mongo": {(8,)}, "rabbitmq": {(4,)}, "haproxy": {(3, 2)}}
FOLLOWED_IN = {"docker-compose.yml", "docker-compose.prod.yml", "tests/images.py"}
#: Images that the operator chooses, named without a version.
UNVERSIONED = {"prom/prometheus": "an example of a collector; the operator has one already, or chooses its version"}
#: Resources that give only the version; the operator's configuration holds the image name.
OPERATORS_MEMBERS = {"MongoDBCommunity": ("mongo", "version")}
#: Files about past versions, which stay unchanged.
HISTORY = {"CHANGELOG.md"}
TEXTS = {".md", ".py", ".sh", ".yaml", ".yml", ""}
#: A reference in running text: the name of a known image with a tag; `mongo:27017` is a port.
IN_TEXT = re.compile(rf"(?<![\w./-])((?:[\w.-]+/)*(?:{'|'.join(FLOORS)}):\d{{1,2}}(?!\d)[\w.@:-]*)")
#: A Compose variable with its default, `${NAME:-default}`. It matches the innermost of nested variables.
INTERPOLATED = re.compile(r"\$\{\w+(?::-([^${}]*)|:\?[^${}]*)?\}")


def test_search_finds_the_images_of_each_kind_of_file() -> None:
    """The other tests of this file judge only the references found."""
    files = {file for file, _ in NAMED}
    assert files >= {
        "Dockerfile.api",
        "Dockerfile.worker",
        "deploy/kubernetes/base/mongo.yaml",
        "deploy/kubernetes/base/rabbitmq.yaml",
        "docker-compose.prod.yml",
        "docker-compose.yml",
        "docs/deployment.md",
        "tests/images.py",
    }


def test_image_reference_is_at_least_its_floor() -> None:
    pinned = [(file, reference) for file, reference in NAMED if not _follows(file, reference)]
    assert not [f"{file}: {problem}" for file, reference in pinned if (problem := _problem(reference))]


def test_pinned_image_has_one_version_in_all_files() -> None:
    """Files may follow the series instead; pages of docs may name other versions."""
    pinned: dict[str, set[Version]] = {}
    for file, reference in NAMED:
        if not file.startswith("docs/") and (name := _name(reference)) in FLOORS and not _follows(file, reference):
            pinned.setdefault(name, set()).add(_version(reference))
    assert {"mongo", "rabbitmq", "python"} <= pinned.keys()
    assert all(len(each) == 1 for each in pinned.values()), pinned


@pytest.mark.parametrize("reference", [
    "mongo", "mongo:latest", "mongo:8", "mongo:8.0", "mongo:8.0.15", "mongo:8.0.17", "mongo:8.2.3", "mongo:9.0.7",
    f"mongo@sha256:{'0' * 64}", "mongo:8.0.15-noble", "registry.example.com/mirror/mongo:8.0.15",
    "rabbitmq:4", "rabbitmq:4-management", "rabbitmq:4.3", "rabbitmq:4.0.5", "haproxy:3.2", "python:3-slim",
    "redis:7.4",
])  # fmt: skip
def test_image_reference_below_its_floor_or_without_a_row_is_refused(reference: str) -> None:
    assert _problem(reference)


@pytest.mark.parametrize("reference", [
    "mongo:8.0.37", f"mongo:8.0.37@sha256:{'0' * 64}", "registry.example.com/mirror/mongo:8.0.40-noble",
    "rabbitmq:4.3.6-management", "python:3.13-slim", "python:3.13.9-slim", "prom/prometheus",
    "registry.example.com/jincor-auth-api:2.0.0", "jincor-auth-worker",
])  # fmt: skip
def test_image_reference_at_or_above_its_floor_is_accepted(reference: str) -> None:
    assert _problem(reference) is None


def _follows(file: str, reference: str) -> bool:
    return file in FOLLOWED_IN and _version(reference) in FOLLOWING.get(_name(reference), set())


def _problem(reference: str) -> str | None:
    name, version = _name(reference), _version(reference)
    if OURS.fullmatch(name.rpartition("/")[2]) or (name in UNVERSIONED and not version):
        return None
    floor = FLOORS.get(name, {}).get(version[:2])
    if floor is None:
        return f"{reference}: FLOORS has no row for this series; name more of the version, another series, or add a row"
    if version < floor.version:
        return f"{reference} is or may be below {'.'.join(map(str, floor.version))}: {floor.reason}"
    return None


def _name(reference: str) -> str:
    """Return the name of the image, without the registry of a mirror if the image is an official one."""
    name = re.sub(r"(@.*|:[^/]*)$", "", reference)
    last = name.rpartition("/")[2]
    return last if last in FLOORS else name


def _version(reference: str) -> Version:
    """Return as much of the version as the tag names; empty for `latest`, no tag, or only a digest."""
    tag = re.search(r":v?(\d+(?:\.\d+)*)(?![\d.])[^/]*$", reference.partition("@")[0])
    return tuple(int(part) for part in tag[1].split(".")) if tag else ()


def _named() -> Iterator[tuple[str, str]]:
    """Yield file and reference for each member that holds an image and each known image in running text."""
    for path in sorted(REPOSITORY.rglob("*")):
        file = path.relative_to(REPOSITORY)
        hidden = any(part.startswith(".") and part != ".ci" for part in file.parts)
        skipped = hidden or file.parts[0] == "locks" or "secrets" in file.parts or path == Path(__file__)
        if skipped or str(file) in HISTORY or path.suffix not in {*TEXTS, ".api", ".worker"} or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found = {*IN_TEXT.findall(text), *_started(text)}
        if path.name.startswith("Dockerfile"):
            found |= set(_from(text))
        elif path.suffix in {".yml", ".yaml"} and file.parts[0] != "tests":
            found |= set(_members(list(yaml.load_all(text, Merging))))
        yield from ((str(file), reference.rstrip(".,;:")) for reference in sorted(found))


def _from(dockerfile: str) -> Iterator[str]:
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.M))
    for base in re.findall(r"^FROM (\S+)", dockerfile, re.M):
        yield re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base)


def _started(text: str) -> Iterator[str]:
    """Yield the last word of commands that start a container without a command."""
    for command in re.findall(r"^docker (?:run|pull) .*$", text.replace("\\\n", " "), re.M):
        yield shlex.split(command)[-1]


def _members(document: Any) -> Iterator[str]:
    if isinstance(document, list):
        for item in document:
            yield from _members(item)
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "image" and isinstance(value, str):
                yield _interpolated(value)
            yield from _members(value)
        name, member = OPERATORS_MEMBERS.get(document.get("kind", ""), ("", ""))
        if name:
            yield f"{name}:{document['spec'][member]}"
        if "newTag" in document:
            yield f"{document.get('newName', document['name'])}:{document['newTag']}"


def _interpolated(value: str) -> str:
    while (replaced := INTERPOLATED.sub(lambda match: match[1] or "", value)) != value:
        value = replaced
    return value


NAMED = list(_named())
