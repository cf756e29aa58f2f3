"""Permissions of the secret files, tried as another user of the machine."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.secret_files import make_compose_secrets, make_kubernetes_secrets
from dev.processes import REPOSITORY

OTHER_USER = 65534
MAKERS: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "secrets": lambda directory: make_compose_secrets(directory, "auth.example.com"),
    "kubernetes-secrets": make_kubernetes_secrets,
}
#: Prints the number of readable paths: directories are listed, files read.
SPY = """
seen=0
for path; do
    if [ -d "$path" ]; then ls "$path"; else cat "$path"; fi >/dev/null 2>&1 && seen=$((seen + 1))
done
echo $seen
"""
#: Replaces `openssl`, which runs between the creation of other files, and logs the modes of all files so far.
WATCHING_OPENSSL = """#!/bin/sh
stat --format '%a %n' . * >> {log}
exec {openssl} "$@"
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """Create a directory that every user of the machine can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[Path], tuple[str, ...]]:
    return MAKERS[request.param]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_all(directory: Path) -> None:
    """Give the files the permissions that earlier versions left in an existing directory."""
    for path in directory.iterdir():
        path.chmod(0o444)
    directory.chmod(0o755)


def readable_by_another_user(directory: Path) -> int:
    """Return how many of the directory's list and its files another user can read."""
    if os.geteuid() != 0:
        pytest.skip("only root can run as another user")
    paths = [str(directory), *(str(path) for path in directory.iterdir())]
    command = ["sh", "-c", SPY, "spy", *paths]
    done = subprocess.run(  # noqa: S603 - our own script
        command, capture_output=True, text=True, check=True, user=OTHER_USER, group=OTHER_USER, extra_groups=[]
    )
    return int(done.stdout)


def test_secret_directory_is_unreadable_for_another_user(shared: Path, make: Callable[[Path], tuple[str, ...]]) -> None:
    directory = shared / "secrets"
    make(directory)
    assert readable_by_another_user(directory) == 0
    open_to_all(directory)
    assert readable_by_another_user(directory) == len(list(directory.iterdir())) + 1, "the check can fail"


def test_second_run_closes_an_open_directory_and_its_files(
    shared: Path, make: Callable[[Path], tuple[str, ...]]
) -> None:
    """Both are closed, so that a mistake with one of them exposes nothing. The contents stay."""
    directory = shared / "secrets"
    assert make(directory) == ()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    open_to_all(directory)
    assert set(make(directory)) == set(before), "the caller learns which files were readable"
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert mode(directory) == 0o700
    assert not any(mode(path) & 0o037 for path in directory.iterdir())
    assert readable_by_another_user(directory) == 0
    assert make(directory) == ()
    directory.chmod(0o755)
    assert readable_by_another_user(directory) == 1, "only the list"


def test_hard_link_to_an_old_file_does_not_get_new_contents(
    shared: Path, make: Callable[[Path], tuple[str, ...]]
) -> None:
    """A link made while the directory was open stays readable after its permissions change."""
    directory = shared / "secrets"
    make(directory)
    links = {path: shared / f"kept-{path.name}" for path in directory.iterdir()}
    for path, link in links.items():
        link.hardlink_to(path)
    make(directory)
    for path, link in links.items():
        assert not link.samefile(path)


@pytest.mark.parametrize("existing", [False, True])
def test_unfinished_files_are_unreadable_under_any_umask(shared: Path, existing: bool) -> None:
    """This covers drafts and files whose permissions change later, in a directory that was open before."""
    directory, tools, log = shared / "secrets", shared / "bin", shared / "log"
    if existing:
        directory.mkdir()
        directory.chmod(0o777)
    tools.mkdir()
    openssl = subprocess.run(["which", "openssl"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607
    (tools / "openssl").write_text(WATCHING_OPENSSL.format(log=log, openssl=openssl))
    (tools / "openssl").chmod(0o755)
    subprocess.run(  # noqa: S603 - a module of this repository
        [sys.executable, "-m", "deploy", "secrets", "--directory", str(directory)],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        check=True,
        umask=0,
    )
    seen = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert {"master-keys", "ca.key", "rabbitmq-1.key"} <= {name for _, name in seen}
    assert not [(bits, name) for bits, name in seen if int(bits, 8) & 0o007 or (name == "." and int(bits, 8) & 0o077)]


def test_generated_files_get_the_group_of_their_directory(shared: Path) -> None:
    """Containers run with this group; the command prints it."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory to any group")
    directory = shared / "secrets"
    MAKERS["secrets"](directory)
    os.chown(directory, -1, 4321)
    command = [sys.executable, "-m", "deploy", "secrets", "--directory", str(directory)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.splitlines()[-1] == "export SECRETS_GID=4321"
    assert {(path.stat().st_gid, mode(path)) for path in directory.iterdir() if path.suffix != ".key"} == {
        (4321, 0o440)
    }
    assert mode(directory / "ca.key") == 0o400, "the signing key, which no container needs"


@pytest.mark.parametrize("name", [".", "master-keys"])
def test_file_or_directory_of_another_user_is_refused(
    shared: Path, make: Callable[[Path], tuple[str, ...]], name: str
) -> None:
    """The owner could open the directory again, or know the key in the file."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    directory = shared / "secrets"
    directory.mkdir()
    (directory / "master-keys").write_text("1:known")
    os.chown(directory / name, OTHER_USER, -1)
    with pytest.raises(ValueError, match=f"belongs to user {OTHER_USER}"):
        make(directory)
    assert [path.name for path in directory.iterdir()] == ["master-keys"]


def test_second_run_closes_unknown_files(shared: Path, make: Callable[[Path], tuple[str, ...]]) -> None:
    """Binary files are included, such as an archive of the secrets."""
    directory = shared / "secrets"
    make(directory)
    (directory / "old.tar.gz").write_bytes(b"\x1f\x8b\xff\x00")
    (directory / "old.tar.gz").chmod(0o644)
    make(directory)
    assert (directory / "old.tar.gz").read_bytes() == b"\x1f\x8b\xff\x00"
    assert not mode(directory / "old.tar.gz") & 0o037


def test_target_of_a_link_keeps_its_permissions(shared: Path) -> None:
    """The certificate of the public name may be stored elsewhere for other programs."""
    directory, elsewhere = shared / "secrets", shared / "elsewhere.pem"
    MAKERS["secrets"](directory)
    (directory / "edge-tls.pem").rename(elsewhere)
    elsewhere.chmod(0o600)
    (directory / "edge-tls.pem").symlink_to(elsewhere)
    MAKERS["secrets"](directory)
    assert mode(elsewhere) == 0o600
    assert (directory / "edge-tls.pem").is_symlink()
