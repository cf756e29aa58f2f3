"""Every image that this repository names is at least of the version without the holes that we know of.

A tag that names a series alone follows it: a pull gets its newest version. Compose files and tests name such tags, and
variables that pin them; docs/deployment.md says to pull and to pin. Any other tag that leaves out a part of the version
counts as the lowest version that begins so: a floor with a patch needs a tag with one.
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
    """The lowest version of a series that may be named, and why none below it."""

    version: Version
    reason: str


#: By image and series. A series without a row has no floor yet, and is refused until somebody has looked.
FLOORS: dict[str, dict[Version, Floor]] = {
    "mongo": {
        (8, 0): Floor(
            (8, 0, 37),
            "CVE-2026-118383 (memory is used after it was freed, before anybody logs in) and CVE-2026-120815 (the "
            "localhost exception makes administrators); 8.0.17 fixed CVE-2025-14847 (anybody reads its memory)",
        ),
        (8, 3): Floor((8, 3, 16), "CVE-2026-118383 and CVE-2026-120815, as above"),
    },
    "rabbitmq": {
        (4, 2): Floor((4, 2, 10), "CVE-2026-67416: a publisher makes consumers of others end"),
        (4, 3): Floor((4, 3, 4), "CVE-2026-67416, as above"),
    },
    "haproxy": {
        (3, 2): Floor((3, 2, 26), "CVE-2026-110354: one chunked request keeps a thread busy until a restart"),
    },
    "python": {
        (3, 13): Floor((3, 13), "what the tests of the images run on; whoever builds gets the patches of the day"),
    },
}
#: Built from this tree.
OURS = re.compile(r"jincor-auth-(api|worker)")
#: Tags that follow a series, in files from which somebody pulls.
FOLLOWING: dict[str, set[Version]] = {"mongo": {(8,)}, "rabbitmq": {(4,)}, "haproxy": {(3, 2)}}
FOLLOWED_IN = {"docker-compose.yml", "docker-compose.prod.yml", "tests/images.py"}
#: Named without a version, as something of the operator's own.
UNVERSIONED = {"prom/prometheus": "an example of a collector; the operator has one already, or chooses its version"}
#: What the operator's images of MongoDB are called is the operator's affair; the resource has the version.
OPERATORS_MEMBERS = {"MongoDBCommunity": ("mongo", "version")}
#: Says what was, and is not changed afterwards.
HISTORY = {"CHANGELOG.md"}
TEXTS = {".md", ".py", ".sh", ".yaml", ".yml", ""}
#: A reference in running text: the name of an image that we know, and a tag; `mongo:27017` is a port.
IN_TEXT = re.compile(rf"(?<![\w./-])((?:[\w.-]+/)*(?:{'|'.join(FLOORS)}):\d{{1,2}}(?!\d)[\w.@:-]*)")
#: What compose puts in the place of a variable that is not set; of those within one another, the innermost.
INTERPOLATED = re.compile(r"\$\{\w+(?::-([^${}]*)|:\?[^${}]*)?\}")


def test_images_are_found_where_they_are_named() -> None:
    """The rest of this file is about what is found."""
    places = {place for place, _ in NAMED}
    assert places >= {
        "Dockerfile.api",
        "Dockerfile.worker",
        "deploy/kubernetes/base/mongo.yaml",
        "deploy/kubernetes/base/rabbitmq.yaml",
        "docker-compose.prod.yml",
        "docker-compose.yml",
        "docs/deployment.md",
        "tests/images.py",
    }


def test_every_image_is_at_least_of_its_floor() -> None:
    pinned = [(place, reference) for place, reference in NAMED if not _follows(place, reference)]
    assert not [f"{place}: {problem}" for place, reference in pinned if (problem := _problem(reference))]


def test_there_is_one_version_of_each_image() -> None:
    """What one file pins the others pin, or follow the series; documents may name others."""
    pinned: dict[str, set[Version]] = {}
    for place, reference in NAMED:
        if not place.startswith("docs/") and (name := _name(reference)) in FLOORS and not _follows(place, reference):
            pinned.setdefault(name, set()).add(_version(reference))
    assert {"mongo", "rabbitmq", "python"} <= pinned.keys()
    assert all(len(each) == 1 for each in pinned.values()), pinned


@pytest.mark.parametrize("reference", [
    "mongo", "mongo:latest", "mongo:8", "mongo:8.0", "mongo:8.0.15", "mongo:8.0.17", "mongo:8.2.3", "mongo:9.0.7",
    f"mongo@sha256:{'0' * 64}", "mongo:8.0.15-noble", "registry.example.com/mirror/mongo:8.0.15",
    "rabbitmq:4", "rabbitmq:4-management", "rabbitmq:4.3", "rabbitmq:4.0.5", "haproxy:3.2", "python:3-slim",
    "redis:7.4",
])  # fmt: skip
def test_what_is_below_or_unknown_is_refused(reference: str) -> None:
    assert _problem(reference)


@pytest.mark.parametrize("reference", [
    "mongo:8.0.37", f"mongo:8.0.37@sha256:{'0' * 64}", "registry.example.com/mirror/mongo:8.0.40-noble",
    "rabbitmq:4.3.6-management", "python:3.13-slim", "python:3.13.9-slim", "prom/prometheus",
    "registry.example.com/jincor-auth-api:2.0.0", "jincor-auth-worker",
])  # fmt: skip
def test_what_is_not_below_is_accepted(reference: str) -> None:
    assert _problem(reference) is None


def _follows(place: str, reference: str) -> bool:
    return place in FOLLOWED_IN and _version(reference) in FOLLOWING.get(_name(reference), set())


def _problem(reference: str) -> str | None:
    name, version = _name(reference), _version(reference)
    if OURS.fullmatch(name.rpartition("/")[2]) or (name in UNVERSIONED and not version):
        return None
    floor = FLOORS.get(name, {}).get(version[:2])
    if floor is None:
        return (
            f"{reference}: no row of FLOORS is for this series; name more of the version, another series, or add a row"
        )
    if version < floor.version:
        return f"{reference} is or may be below {'.'.join(map(str, floor.version))}: {floor.reason}"
    return None


def _name(reference: str) -> str:
    """Of official images the last part, also where a mirror has them."""
    name = re.sub(r"(@.*|:[^/]*)$", "", reference)
    last = name.rpartition("/")[2]
    return last if last in FLOORS else name


def _version(reference: str) -> Version:
    """As much of it as the tag names. Of `latest`, of no tag and of a digest alone: nothing."""
    tag = re.search(r":v?(\d+(?:\.\d+)*)(?![\d.])[^/]*$", reference.partition("@")[0])
    return tuple(int(part) for part in tag[1].split(".")) if tag else ()


def _named() -> Iterator[tuple[str, str]]:
    """Places and references: from the members that hold images, and whatever looks like one of ours in any text."""
    for path in sorted(REPOSITORY.rglob("*")):
        place = path.relative_to(REPOSITORY)
        hidden = any(part.startswith(".") and part != ".ci" for part in place.parts)
        skipped = hidden or place.parts[0] == "locks" or "secrets" in place.parts or path == Path(__file__)
        if skipped or str(place) in HISTORY or path.suffix not in {*TEXTS, ".api", ".worker"} or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found = {*IN_TEXT.findall(text), *_started(text)}
        if path.name.startswith("Dockerfile"):
            found |= set(_from(text))
        elif path.suffix in {".yml", ".yaml"} and place.parts[0] != "tests":
            found |= set(_members(list(yaml.load_all(text, Merging))))
        yield from ((str(place), reference.rstrip(".,;:")) for reference in sorted(found))


def _from(dockerfile: str) -> Iterator[str]:
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.M))
    for base in re.findall(r"^FROM (\S+)", dockerfile, re.M):
        yield re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base)


def _started(text: str) -> Iterator[str]:
    """The last word of commands that start a container and give it no command."""
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
