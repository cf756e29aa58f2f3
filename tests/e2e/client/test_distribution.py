"""The installed client: its dependencies, modules and types."""

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


async def test_client_installs_only_aio_pika_and_pydantic_with_their_dependencies(alone: Installation) -> None:
    listed = json.loads(await alone.pip("list", "--format", "json"))
    assert {package["name"].lower().replace("_", "-") for package in listed} - {"pip", "setuptools", "wheel"} == {
        "jincor-auth-client",
        *("aio-pika", "aiormq", "pamqp", "yarl", "multidict", "propcache", "idna"),
        *("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection"),
    }
    assert "No broken requirements" in await alone.pip("check")


async def test_every_client_module_imports_without_process_modules(alone: Installation) -> None:
    """Only the FastAPI module needs more packages."""
    found = json.loads(await alone.python("-c", IMPORT_EVERYTHING))
    assert not found["missing"]
    assert {"jincor_auth_client.client", "jincor_auth_client.fastapi"} <= set(found["names"])
    assert not [name for name in found["names"] if name.startswith("jincor_auth_client.process")]
    shown = await alone.pip("show", "jincor-auth-client")
    assert f"Version: {found['version']}" in shown


async def test_installed_client_works_against_the_running_service(alone: Installation, service: RunningService) -> None:
    script = Path(__file__).with_name("life_of_a_token.py")
    await alone.python("-W", "error", str(script), service.amqp_url, "let-me-in-please")


async def test_installed_client_passes_strict_mypy(with_fastapi: Installation, tmp_path: Path) -> None:
    """mypy checks the examples and a program that reveals the type of a claim."""
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


async def test_source_distribution_builds_the_same_wheel(alone: Installation, tmp_path: Path) -> None:
    """The repository links to `shared/`; the source distribution contains a copy."""
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
