"""Every command of the pages is run by a test, or the page says that it was not tried."""

import ast
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dev.processes import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "client/README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
SHELLS = ("sh", "bash", "console")
#: In the paragraph before a block, or in a comment of the block for the commands that follow it.
NOT_TRIED = "not tried"
#: The tests of a change, instead of one test.
CI = ".ci/run"

COMPOSE = "tests/containers/test_compose.py"
DOCUMENTED = "tests/containers/test_documented_commands.py"
GUIDE = "tests/e2e/client/test_guide.py::test_guide_pasted_at_once_prints_what_it_shows"
INSTALLED = "tests/e2e/client/test_distribution.py::test_installed_client_works_against_the_running_service"
GRANT = "tests/interop/test_client_credentials.py::test_documented_curl_commands_get_an_access_token_and_use_it"
MAKE_RUN = "tests/integration/test_make_run.py::test_make_run_prints_working_commands_and_keeps_data_over_a_restart"
NEWCOMER = f"{COMPOSE}::test_readme_commands_log_in_and_the_token_survives_a_restart"
NODE = "tests/e2e/test_node_example.py::test_node_example_sees_its_session_begin_and_end"
PRODUCTION = f"{DOCUMENTED}::test_production_commands_register_a_tenant_and_add_its_service"
UPGRADE = f"{DOCUMENTED}::test_upgrade_commands_replace_every_container_of_a_service"
SHARED = f"{DOCUMENTED}::test_shared_broker_commands_start_everything_without_brokers_of_our_own"
SHARED_FILE = (
    "tests/integration/test_shared_broker.py::test_service_on_the_shared_broker_works_with_a_new_or_existing_user"
)
CHECKED = f"{DOCUMENTED}::test_check_commands_find_no_problem_in_production"
OPERATORS = "tests/integration/test_make_run.py::test_commands_for_operators_make_two_and_limit_the_second"
OPERATORS_IN_COMPOSE = f"{COMPOSE}::test_documented_bootstrap_command_makes_an_operator_that_logs_in"
RECIPES = "tests/e2e/test_permissions_page.py::test_commands_of_the_page_create_rotate_and_revoke_keys"
REPLICAS = f"{DOCUMENTED}::test_replica_commands_list_queues_and_grow_them"
AUTHORITY = "tests/unit/deploy/test_certificates.py::test_documented_command_extends_the_authority_with_its_key"
PINNED = f"{COMPOSE}::test_every_production_image_can_be_pinned_by_digest"
IMPORTED = "tests/integration/test_import_users.py::test_import_from_a_file_stores_valid_users_and_names_refused_lines"
BOOTSTRAPPED = (
    "tests/integration/test_first_operator.py::test_command_makes_the_first_operator_once_and_prints_the_setting"
)

#: The test that runs the commands of a page which begin so.
TESTS: dict[str, dict[str, str]] = {
    "README.md": {
        "make run": MAKE_RUN,
        "make test": CI,
        "docker compose up": NEWCOMER,
        "AUTH=": NEWCOMER,
        "TOKEN=": NEWCOMER,
        "curl -s $AUTH/": NEWCOMER,
    },
    "client/README.md": {"pip install ./client": INSTALLED, "pip install './client[fastapi]'": GUIDE},
    "docs/deployment.md": {
        "docker compose up --build": NEWCOMER,
        "export RABBITMQ_IMAGE=": PINNED,
        "export EDGE_IMAGE=": PINNED,
        "make deploy-tools": "tests/integration/test_bootstrap.py"
        "::test_deploy_tools_install_what_the_command_needs_and_nothing_else",
        ".venv/bin/python -m deploy secrets --host auth.example.com --vhost": SHARED,
        ".venv/bin/python -m deploy secrets --host auth.example.com": PRODUCTION,
        "export VERSION=2.0.0": PRODUCTION,
        "docker build --file": PRODUCTION,
        "docker compose -f docker-compose.prod.yml up": PRODUCTION,
        "echo": PRODUCTION,
        "printf 'X-Registration-Key": PRODUCTION,
        "export VERSION=2.0.1": UPGRADE,
        "cp --force deploy/secrets/definitions.json": UPGRADE,
        ".venv/bin/python -m deploy secrets": UPGRADE,
        ".venv/bin/python -m deploy both-versions": UPGRADE,
        "sh deploy/import.sh": UPGRADE,
        "for job in": UPGRADE,
        "for service in": UPGRADE,
        "cp YOUR_AUTHORITY.pem": SHARED,
        "rabbitmqctl import_definitions definitions.json": SHARED_FILE,
        "curl --user ADMIN": SHARED,
        "docker compose -f docker-compose.prod.yml -f deploy/shared-broker.yml up": SHARED,
        ".venv/bin/python -m deploy service shop --tenant TENANT_ID --vhost": SHARED_FILE,
        ".venv/bin/python -m deploy kubernetes-secrets": "tests/unit/deploy/test_kubernetes.py"
        "::test_second_run_keeps_secrets_and_updates_permissions",
        "docker compose run --rm -T --no-deps": f"{COMPOSE}"
        "::test_documented_import_command_brings_in_users_that_log_in",
        ".venv/bin/python -m worker.import_users": IMPORTED,
        "docker compose run --rm --no-deps": OPERATORS_IN_COMPOSE,
        ".venv/bin/python -m worker.bootstrap": BOOTSTRAPPED,
        "openssl rand": PRODUCTION,
        ".venv/bin/python -m deploy service shop --tenant TENANT_ID --permissions": PRODUCTION,
    },
    "docs/gateways.md": {
        "": "tests/e2e/test_permissions_page.py::test_commands_of_the_gateways_page_introspect_with_a_key"
    },
    "docs/guide.md": {"make run": MAKE_RUN, "": GUIDE},
    "docs/http-api.md": {"ACCESS_TOKEN=": GRANT, "curl -s http://127.0.0.1:8000/user": GRANT},
    "docs/operations.md": {
        "rabbitmqctl list_queues name type members online": REPLICAS,
        "rabbitmq-queues grow": REPLICAS,
        "docker compose -f docker-compose.prod.yml run --rm -T --no-deps edge": CHECKED,
        "docker compose -f docker-compose.prod.yml run --rm -T --no-deps worker-verify": CHECKED,
        "cd deploy/secrets": AUTHORITY,
        "openssl x509 -in ca.pem": AUTHORITY,
        ".venv/bin/python -m worker.colliding_logins": "tests/integration/test_colliding_logins.py"
        "::test_logins_that_cannot_be_created_today_are_listed_for_each_tenant",
    },
    "docs/permissions.md": {
        "new_key": RECIPES,
        "GATEWAY_KEY=": RECIPES,
        "LOGIN_KEY=": RECIPES,
        "JOB_KEY=": RECIPES,
        "MAILER_KEY=": RECIPES,
        "KEY_ID=": RECIPES,
        "NEW_GATEWAY_KEY=": RECIPES,
        "curl -s -X DELETE $AUTH/keys": RECIPES,
        "": OPERATORS,
    },
    "docs/other-languages.md": {
        "AUTH_REGISTRATION_KEY=let-me-in-please make run": MAKE_RUN,
        "cd examples/node": NODE,
        "npm ci": NODE,
        "export AUTH_REGISTRATION_KEY=": NODE,
        "node main.js": NODE,
    },
}


class Command(NamedTuple):
    """A command of a page."""

    page: str
    text: str
    tried: bool


def commands(page: str, text: str) -> Iterator[Command]:
    """Yield the commands of the blocks for a shell in the text of a page."""
    paragraph, language, block = "", None, ""
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("```"):
            if language in SHELLS:
                tried = NOT_TRIED not in paragraph.strip().rpartition("\n\n")[2].lower()
                yield from _commands_of(page, textwrap.dedent(block), tried=tried)
            language, paragraph, block = (line.strip(" `\n"), paragraph, "") if language is None else (None, "", "")
        elif language is None:
            paragraph += line
        else:
            block += line


def documented() -> list[Command]:
    """Return the commands of all pages."""
    return [command for page in PAGES for command in commands(str(page.relative_to(REPOSITORY)), page.read_text())]


def _commands_of(page: str, block: str, *, tried: bool) -> Iterator[Command]:
    text = ""
    for line in block.splitlines():
        if line.startswith("#"):
            tried = tried and NOT_TRIED not in line.lower()
            continue
        text += line.removesuffix("\\") + "\n"
        if line.endswith("\\") or not _is_complete(text):
            continue
        if text.strip():
            yield Command(page, text.strip(), tried)
        text = ""
    assert not text.strip(), f"{page}: unfinished command {text!r}"


def _is_complete(text: str) -> bool:
    """Return whether a shell would run these lines instead of reading more."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # an open quote
        return False
    return not words or words[-1] not in {"|", "&&", "{"}


def _row(command: Command) -> str | None:
    """Return the longest beginning of the command that the table has for its page."""
    beginnings = [beginning for beginning in TESTS.get(command.page, ()) if command.text.startswith(beginning)]
    return max(beginnings, key=len, default=None)


def test_command_of_a_page_is_run_by_a_test_or_marked_as_not_tried() -> None:
    found = documented()
    unknown = [f"{each.page}: {each.text}" for each in found if each.tried and _row(each) is None]
    assert not unknown, "name the test of each in TESTS, or write 'not tried' in the paragraph before it"
    marked = [f"{each.page}: {each.text}" for each in found if not each.tried and _row(each) is not None]
    assert not marked, "remove the mark or the row in TESTS"


def test_row_of_the_table_belongs_to_a_command() -> None:
    used = {(command.page, _row(command)) for command in documented()}
    rows = {(page, beginning) for page, tests in TESTS.items() for beginning in tests}
    assert rows <= used


@pytest.mark.parametrize("test", sorted({test for tests in TESTS.values() for test in tests.values()}))
def test_named_test_exists(test: str) -> None:
    if test == CI:
        assert "make test" in (REPOSITORY / CI).read_text().splitlines()
        return
    file, _, name = test.partition("::")
    tree = ast.parse((REPOSITORY / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_documented_import_of_definitions_names_a_file(page: Path) -> None:
    """`rabbitmqctl` of RabbitMQ 4 reads no standard input: without a file it waits for ever."""
    for rest in re.findall(r"rabbitmqctl\s+import_definitions(.*)", page.read_text()):
        assert re.match(r" [\w./-]+\.json\b", rest), rest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Text.\n\n```sh\na 1\nb 2\n```\n", [("a 1", True), ("b 2", True)]),
        ("Text, **not tried**:\n\n```sh\na\n```\n", [("a", False)]),
        ("**Not tried**.\n\nText.\n\n```sh\na\n```\n", [("a", True)]),
        ("```sh\na\n# Not tried:\nb\n# more\nc\n```\n", [("a", True), ("b", False), ("c", False)]),
        ("```sh\na |\n  b  # it's\n'c\nd' \\\n  e\n```\n", [("a |\n  b  # it's", True), ("'c\nd' \n  e", True)]),
        ("```python\na\n```\n\n```console\nb\n```\n", [("b", True)]),
    ],
    ids=["two commands", "marked block", "mark further up", "marked from here on", "several lines", "other languages"],
)
def test_commands_are_found_with_their_marks(text: str, expected: list[tuple[str, bool]]) -> None:
    assert [(command.text, command.tried) for command in commands("page.md", text)] == expected
