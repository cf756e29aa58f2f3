"""Who can read the secret files, tried as another user of the machine."""

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

NOBODY = 65534
MAKERS: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "secrets": lambda directory: make_compose_secrets(directory, "auth.example.com"),
    "kubernetes-secrets": make_kubernetes_secrets,
}
#: Prints how many of these it can read: directories as lists, files as what is in them.
SPY = """
seen=0
for path; do
    if [ -d "$path" ]; then ls "$path"; else cat "$path"; fi >/dev/null 2>&1 && seen=$((seen + 1))
done
echo $seen
"""
#: Stands before `openssl`, which is called between the creation of other files: notes what could be read by then.
WATCHING_OPENSSL = """#!/bin/sh
stat --format '%a %n' . * >> {log}
exec {openssl} "$@"
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user of the machine can enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[Path], tuple[str, ...]]:
    return MAKERS[request.param]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def opened(directory: Path) -> None:
    """As earlier versions left a directory that had been there before."""
    for path in directory.iterdir():
        path.chmod(0o444)
    directory.chmod(0o755)


def as_somebody_else(directory: Path) -> int:
    """How many of the directory's list and its files another user reads."""
    if os.geteuid() != 0:
        pytest.skip("only root can try it as somebody else")
    paths = [str(directory), *(str(path) for path in directory.iterdir())]
    command = ["sh", "-c", SPY, "spy", *paths]
    done = subprocess.run(  # noqa: S603 - our own script
        command, capture_output=True, text=True, check=True, user=NOBODY, group=NOBODY, extra_groups=[]
    )
    return int(done.stdout)


def test_another_user_reads_nothing(shared: Path, make: Callable[[Path], tuple[str, ...]]) -> None:
    directory = shared / "secrets"
    make(directory)
    assert as_somebody_else(directory) == 0
    opened(directory)
    assert as_somebody_else(directory) == len(list(directory.iterdir())) + 1, "the question can be answered otherwise"


def test_an_open_directory_is_closed_and_so_is_each_file(shared: Path, make: Callable[[Path], tuple[str, ...]]) -> None:
    """Either would do: so a mistake with one of them opens nothing. The contents stay."""
    directory = shared / "secrets"
    assert make(directory) == ()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    opened(directory)
    assert set(make(directory)) == set(before), "whoever runs it learns what has been readable"
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert mode(directory) == 0o700
    assert not any(mode(path) & 0o037 for path in directory.iterdir())
    assert as_somebody_else(directory) == 0
    assert make(directory) == ()
    directory.chmod(0o755)
    assert as_somebody_else(directory) == 1, "the list alone"


def test_a_hard_link_does_not_see_what_is_written_later(shared: Path, make: Callable[[Path], tuple[str, ...]]) -> None:
    """Made while the directory was open, it would outlive every change of the directory's permissions."""
    directory = shared / "secrets"
    make(directory)
    links = {path: shared / f"kept-{path.name}" for path in directory.iterdir()}
    for path, link in links.items():
        link.hardlink_to(path)
    make(directory)
    for path, link in links.items():
        assert not link.samefile(path)


@pytest.mark.parametrize("existing", [False, True])
def test_nothing_can_be_read_before_it_is_finished(shared: Path, existing: bool) -> None:
    """Neither a file that is to be closed nor a draft, in a directory that is to be closed, under a umask that closes
    nothing."""
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


def test_files_have_the_group_of_their_directory(shared: Path) -> None:
    """Containers get it, and the command says which one that is."""
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
    assert mode(directory / "ca.key") == 0o400, "it signs, and no container needs it"


@pytest.mark.parametrize("name", [".", "master-keys"])
def test_what_belongs_to_somebody_else_is_refused(
    shared: Path, make: Callable[[Path], tuple[str, ...]], name: str
) -> None:
    """They could open the directory again, or know the key that they put there."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    directory = shared / "secrets"
    directory.mkdir()
    (directory / "master-keys").write_text("1:known")
    os.chown(directory / name, NOBODY, -1)
    with pytest.raises(ValueError, match=f"belongs to user {NOBODY}"):
        make(directory)
    assert [path.name for path in directory.iterdir()] == ["master-keys"]


def test_whatever_else_is_there_is_closed_too(shared: Path, make: Callable[[Path], tuple[str, ...]]) -> None:
    """Also a file that is no text, such as an archive of the others."""
    directory = shared / "secrets"
    make(directory)
    (directory / "old.tar.gz").write_bytes(b"\x1f\x8b\xff\x00")
    (directory / "old.tar.gz").chmod(0o644)
    make(directory)
    assert (directory / "old.tar.gz").read_bytes() == b"\x1f\x8b\xff\x00"
    assert not mode(directory / "old.tar.gz") & 0o037


def test_what_a_link_leads_to_keeps_its_permissions(shared: Path) -> None:
    """A certificate of the public name may be kept elsewhere, for other programs to read, or for none."""
    directory, elsewhere = shared / "secrets", shared / "elsewhere.pem"
    MAKERS["secrets"](directory)
    (directory / "edge-tls.pem").rename(elsewhere)
    elsewhere.chmod(0o600)
    (directory / "edge-tls.pem").symlink_to(elsewhere)
    MAKERS["secrets"](directory)
    assert mode(elsewhere) == 0o600
    assert (directory / "edge-tls.pem").is_symlink()
