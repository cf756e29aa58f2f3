"""`pip install ./client`: what it brings, and that it works without the rest of the repository."""

import json
import sys
import tarfile
import zipfile
from pathlib import Path

from dev.processes import REPOSITORY
from tests.e2e.client.installation import DISTRIBUTION, Installation, run
from tests.service import RunningService

IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
import jincor_auth_client
names = [module.name for module in pkgutil.walk_packages(jincor_auth_client.__path__, "jincor_auth_client.")]
for name in names:
    if name != "jincor_auth_client.fastapi":
        importlib.import_module(name)
missing = [name for name in jincor_auth_client.__all__ if not hasattr(jincor_auth_client, name)]
print(json.dumps({"names": names, "missing": missing, "version": jincor_auth_client.__version__}))
"""


async def test_it_needs_aio_pika_and_pydantic_and_what_these_need(alone: Installation) -> None:
    """Nothing of the edge, nothing of the workers."""
    listed = json.loads(await alone.pip("list", "--format", "json"))
    assert {package["name"].lower().replace("_", "-") for package in listed} - {"pip", "setuptools", "wheel"} == {
        "jincor-auth-client",
        *("aio-pika", "aiormq", "pamqp", "yarl", "multidict", "propcache", "idna"),
        *("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection"),
    }
    assert "No broken requirements" in await alone.pip("check")


async def test_every_module_imports_and_is_one_for_clients(alone: Installation) -> None:
    """Only the one for FastAPI needs more; how the service itself is set up is not in it."""
    found = json.loads(await alone.python("-c", IMPORT_EVERYTHING))
    assert not found["missing"]
    assert {"jincor_auth_client.client", "jincor_auth_client.fastapi"} <= set(found["names"])
    assert not [name for name in found["names"] if name.startswith("jincor_auth_client.process")]
    shown = await alone.pip("show", "jincor-auth-client")
    assert f"Version: {found['version']}" in shown


async def test_it_works_against_the_running_service(alone: Installation, service: RunningService) -> None:
    """Register, log in, verify from memory, log out, and hear of it."""
    script = Path(__file__).with_name("life_of_a_token.py")
    await alone.python("-W", "error", str(script), service.amqp_url, "let-me-in-please")


async def test_its_users_see_its_types(with_fastapi: Installation, tmp_path: Path) -> None:
    """mypy, strict: on the examples, and on a program that shows what is known of a name."""
    program = tmp_path / "program.py"
    program.write_text(
        "from jincor_auth_client import AuthClient\n"
        "async def login_of(auth: AuthClient, token: str) -> None:\n"
        "    async with auth.verifier(max_age_seconds=30) as verifier:\n"
        "        reveal_type((await verifier.verify(token)).login)\n"
    )
    checked = await run(
        sys.executable,
        *("-m", "mypy", "--strict", "--python-executable", str(with_fastapi.bin / "python")),
        *("--cache-dir", str(tmp_path / "cache"), "--config-file", ""),
        *(str(path) for path in [program, *DISTRIBUTION.parent.glob("examples/*.py")]),
    )
    assert 'Revealed type is "str"' in checked


async def test_a_source_distribution_holds_all_that_the_wheel_is_made_of(alone: Installation, tmp_path: Path) -> None:
    """It is made of a link to a directory beside it, and has to do without both."""
    tools = tmp_path / "tools"
    await alone.pip("install", "--quiet", "--target", str(tools), "hatchling")

    async def build(kind: str, source: Path) -> Path:
        program = f"import hatchling.build; print(hatchling.build.build_{kind}({str(tmp_path)!r}))"
        built = await run(str(alone.bin / "python"), "-c", program, cwd=source, env={"PYTHONPATH": str(tools)})
        return tmp_path / built.strip()

    def contents(wheel: Path) -> dict[str, bytes]:
        with zipfile.ZipFile(wheel) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    from_repository = contents(await build("wheel", DISTRIBUTION))
    with tarfile.open(await build("sdist", DISTRIBUTION)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert contents(await build("wheel", unpacked)) == from_repository
    assert "jincor_auth_client/py.typed" in from_repository
    licenses = [content for name, content in from_repository.items() if name.endswith("/licenses/LICENSE")]
    assert licenses == [(REPOSITORY / "LICENSE").read_bytes()]
