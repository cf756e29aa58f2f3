"""Variables of the environment that count as settings, and those that do not."""

import base64
import os
import sys
from asyncio import create_subprocess_exec, timeout
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator, Mapping
from types import ModuleType

import pytest
from pydantic_settings import BaseSettings

import api.settings
import worker.settings
from shared.process.environment import EX_UNAVAILABLE, load_settings, unread_variables
from tests.unit.edge_process import clean_environment, edge

TIMEOUT_SECONDS = 60
KEYS = f"now:{base64.b64encode(b'k' * 32).decode()}"
#: A valid text, and an invalid value of every other kind of setting.
OTHER = "s3cret value of a platform"
EDGE = {"AMQP_URL": "amqp://broker.invalid"}
WORKER = {**EDGE, "MONGO_URL": "mongodb://database.invalid", "AUTH_LANES": "verify", "AUTH_MASTER_KEYS": KEYS}
SIDES = [(api.settings.Settings, EDGE), (worker.settings.Settings, WORKER)]


def undocumented(settings: type[BaseSettings]) -> Iterator[str]:
    """The names of the fields as a shell or a platform may set them, and variables in lower case."""
    for name, field in settings.model_fields.items():
        documented = str(field.validation_alias)
        yield from {name, name.upper(), documented.lower()} - {documented}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    return monkeypatch


async def checked(side: str, variables: Mapping[str, str]) -> tuple[int | None, list[str]]:
    """Run the real process with `--check`; return its exit code and its lines."""
    process = await create_subprocess_exec(
        *(sys.executable, "-m", side, "--check"),
        env={**clean_environment(), **variables},
        stdout=DEVNULL,
        stderr=PIPE,
    )
    async with timeout(TIMEOUT_SECONDS):
        _, said = await process.communicate()
    return process.returncode, said.decode().splitlines()


@pytest.mark.parametrize(("settings", "required"), SIDES, ids=["edge", "worker"])
def test_settings_with_all_undocumented_names_set_are_unchanged(
    environment: pytest.MonkeyPatch, settings: type[BaseSettings], required: Mapping[str, str]
) -> None:
    for name, value in required.items():
        environment.setenv(name, value)
    expected = load_settings(settings, ())
    for name in undocumented(settings):
        environment.setenv(name, OTHER)
    assert load_settings(settings, ()) == expected


async def test_edge_with_all_undocumented_names_set_listens_where_documented_names_say() -> None:
    async with edge(**dict.fromkeys(undocumented(api.settings.Settings), OTHER)) as running:
        assert (await running.client.get("/openapi.json")).status_code == 200


@pytest.mark.parametrize(("side", "settings", "required"), [("api", *SIDES[0]), ("worker", *SIDES[1])])
async def test_check_with_all_undocumented_names_set_finds_no_configuration_error(
    side: str, settings: type[BaseSettings], required: Mapping[str, str]
) -> None:
    variables = {**required, **dict.fromkeys(undocumented(settings), OTHER), "AMQP_URL": "amqp://127.0.0.1:1"}
    if side == "worker":
        variables["MONGO_URL"] = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"
    code, lines = await checked(side, variables)
    assert code == EX_UNAVAILABLE, lines
    assert OTHER not in str(lines)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("AUTH_REGISTRATION_NETWORK", "AUTH_REGISTRATION_NETWORKS"),
        ("AUTH_LOGLEVEL", "AUTH_LOG_LEVEL"),
        ("auth_log_level", "AUTH_LOG_LEVEL"),
        ("AUTH_MASTER_KEY_FILE", "AUTH_MASTER_KEYS_FILE"),
        ("AUTH_HASH_MEMORY", "AUTH_HASH_MEMORY_KIB"),
        ("AUTH_SIGN_UP", None),
    ],
)
def test_unread_variable_is_paired_with_the_setting_that_it_misspells(variable: str, nearest: str | None) -> None:
    environment = {**WORKER, variable: OTHER, "AUTH_EMPTY": "", "PATH": OTHER, "AUTH_MASTER_KEYS_FILE": "/keys"}
    assert unread_variables(environment, worker.settings.Settings, worker.settings.SECRETS) == {variable: nearest}


@pytest.mark.parametrize(("own", "other"), [(api.settings, worker.settings), (worker.settings, api.settings)])
def test_setting_of_the_other_process_is_no_misspelling(own: ModuleType, other: ModuleType) -> None:
    """Edge and worker may share an environment file."""
    variables = [str(field.validation_alias) for field in other.Settings.model_fields.values()]
    variables += [f"{name}_FILE" for name in other.SECRETS]
    unread = unread_variables(dict.fromkeys(variables, OTHER), own.Settings, own.SECRETS)
    assert unread
    assert set(unread.values()) == {None}


async def test_edge_with_a_misspelt_setting_logs_both_names_and_no_value() -> None:
    async with edge(AUTH_TRUSTED_PROXY=OTHER, AUTH_LANES=OTHER) as running:
        lines = await running.stopped()
    [misspelt] = [line for line in lines if line["level"] == "warning" and "variable" in line]
    assert (misspelt["variable"], misspelt["nearest"]) == ("AUTH_TRUSTED_PROXY", "AUTH_TRUSTED_PROXIES")
    [unread] = [line for line in lines if "variables" in line]
    assert (unread["level"], unread["variables"]) == ("info", ["AUTH_LANES"])
    assert OTHER not in str(lines)


async def test_check_with_a_misspelt_setting_prints_both_names_and_no_value() -> None:
    variables = {"AMQP_URL": "amqp://127.0.0.1:1", "AUTH_TRUSTED_PROXY": OTHER, "AUTH_LANES": OTHER}
    code, lines = await checked("api", variables)
    assert code == EX_UNAVAILABLE
    assert lines[0] == "warning: AUTH_TRUSTED_PROXY is not a setting: did you mean AUTH_TRUSTED_PROXIES?"
    assert "AUTH_LANES" not in str(lines)
    assert OTHER not in str(lines)
