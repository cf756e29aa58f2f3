"""`dev/bootstrap.sh` and `python -m dev run` as an operator starts them: real shell, real venv, real pip."""

import hashlib
import os
import pty
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dev.ports import LOOPBACK, free_port
from dev.processes import REPOSITORY

#: Creating a virtual environment takes most of it.
TIMEOUT_SECONDS = 240
PASSWORD = "not-to-be-shown"
WHEEL = "tiny-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the script, and a lock file whose only package is a wheel beside it."""
    directory = tmp_path_factory.mktemp("checkout")
    (directory / "dev").mkdir()
    (directory / "locks").mkdir()
    shutil.copy(REPOSITORY / "dev/bootstrap.sh", directory / "dev")
    wheel = directory / WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (directory / "locks/check.txt").write_text("")
    (directory / "locks/deploy.txt").write_text(f"./{WHEEL} --hash=sha256:{digest}\n")
    return directory


def bootstrap(checkout: Path, *, terminal: bool) -> str:
    """Install the lock file anew, and return what the script prints to a terminal or into a pipe."""
    (checkout / ".venv/installed.txt").unlink(missing_ok=True)
    uninstall = [str(checkout / ".venv/bin/python"), "-m", "pip", "uninstall", "--quiet", "--yes", "tiny"]
    if (checkout / ".venv").exists():
        subprocess.run(uninstall, check=True, timeout=TIMEOUT_SECONDS)  # noqa: S603
    command, env = ["sh", "dev/bootstrap.sh", "deploy"], {**os.environ, "PYTHON": sys.executable}
    if not terminal:
        done = subprocess.run(  # noqa: S603
            command, cwd=checkout, env=env, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True
        )
        return done.stdout
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb") as reader, os.fdopen(theirs, "wb") as writer:
        # The few lines of one small package fit into the terminal's buffer.
        subprocess.run(  # noqa: S603
            command, cwd=checkout, env=env, stdout=writer, stderr=writer, timeout=TIMEOUT_SECONDS, check=True
        )
        return os.read(reader.fileno(), 65536).decode()


def test_installation_in_a_terminal_shows_the_progress_of_pip_and_in_a_pipe_one_line(checkout: Path) -> None:
    said = "Installing the packages of locks/deploy.txt into .venv"
    in_pipe = bootstrap(checkout, terminal=False)
    assert in_pipe.splitlines()[-1] == said
    assert "tiny" not in in_pipe
    in_terminal = bootstrap(checkout, terminal=True)
    assert said in in_terminal
    assert "Successfully installed tiny-1.0" in in_terminal


def test_deploy_tools_install_what_the_command_needs_and_nothing_else(tmp_path: Path) -> None:
    """The lock file names no linter and no test tool, and its packages are all that `python -m deploy` imports."""
    locked = {line.partition("==")[0] for line in (REPOSITORY / "locks/deploy.txt").read_text().split() if "==" in line}
    assert not locked & {"ruff", "mypy", "pytest", "fastapi", "pymongo", "argon2-cffi"}
    script = (
        "import importlib.metadata as m, runpy, sys\n"
        "sys.argv = ['deploy', 'secrets', '--directory', sys.argv[1]]\n"
        "runpy.run_module('deploy', run_name='__main__')\n"
        "packages = m.packages_distributions()\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "names = {name for root in roots for name in packages.get(root, ())}\n"
        "print('packages', *(name.lower().replace('_', '-') for name in names))\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script, str(tmp_path / "secrets")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    imported = set(done.stdout.splitlines()[-1].split()[1:])
    assert "pydantic" in imported
    assert imported - {"setuptools"} <= locked


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("AMQP_URL", "amqp://{}@127.0.0.1:{}/", "host 127.0.0.1:{}"),
        ("AMQP_URL", "amqp://{}@127.0.0.1:{}/,amqps://other/", "host 127.0.0.1:{}, other:5671"),
        ("MONGO_URL", "mongodb://{}@127.0.0.1:{}/auth?tls=true", "host 127.0.0.1:{}"),
    ],
    ids=["broker", "two brokers", "database"],
)
def test_run_names_the_server_of_the_environment_without_its_password_before_it_waits(
    tmp_path: Path, name: str, value: str, shown: str
) -> None:
    """The port of the edge is in use, so that `run` ends before it starts anything."""
    dead = free_port()
    with _listening() as edge:
        port = str(edge.getsockname()[1])
        printed = _run(tmp_path, {name: value.format(f"someone:{PASSWORD}", dead), "AUTH_PORT": port})
    assert f"  using {name} from the environment: {shown.format(dead)}\n" in printed
    assert "is in use" in printed
    assert PASSWORD not in printed


@pytest.mark.parametrize("name", ["AMQP_URL", "MONGO_URL"])
def test_run_with_a_malformed_server_url_names_the_variable_and_ends(tmp_path: Path, name: str) -> None:
    printed = _run(tmp_path, {name: f"mongodb://someone:{PASSWORD}"})
    assert f"run: {name}: " in printed
    assert "unset it" in printed
    assert PASSWORD not in printed


def _listening() -> socket.socket:
    """Return a socket that listens on a port of the loopback address, as an edge of somebody else does."""
    return socket.create_server((LOOPBACK, 0))


def _run(directory: Path, variables: dict[str, str]) -> str:
    """Return what `python -m dev run` prints until it fails."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"AMQP_URL", "MONGO_URL"}}
    done = subprocess.run(
        [sys.executable, "-m", "dev", "run"],
        cwd=REPOSITORY,
        env={**inherited, "AUTH_RUN_DIR": str(directory / "run"), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    return done.stdout
