"""The database's roles and users, in the scripts of the compose file and in the Kubernetes example."""

import pytest
import yaml

from dev.processes import REPOSITORY
from tests.database_roles import Access, access
from worker.adapters.index_definitions import INDEXES

#: Actions that no role of the service has: https://www.mongodb.com/docs/manual/reference/privilege-actions/
FORBIDDEN = ("drop", "rename", "collMod", "convertToCapped", "bypass", "anyAction", "createCollection")


@pytest.fixture(scope="module")
def made() -> Access:
    return access()


def test_roles_name_every_collection_and_no_other(made: Access) -> None:
    for role in ("worker", "indexes"):
        assert set(made.actions(role)) == set(INDEXES)


def test_workers_can_neither_change_nor_remove_audit_records(made: Access) -> None:
    assert made.actions("worker")["audit"] == {"find", "insert", "listIndexes", "indexStats"}


def test_no_role_drops_or_renames_anything(made: Access) -> None:
    allowed = {action for role in made.roles for actions in made.actions(role).values() for action in actions}
    assert not [action for action in allowed if action.startswith(FORBIDDEN)]


def test_deploy_user_creates_indexes_and_reads_no_document(made: Access) -> None:
    (role,) = made.users["deploy"]["roles"]
    assert role == {"role": "indexes", "db": "jincor_auth"}
    assert {frozenset(actions) for actions in made.actions("indexes").values()} == {
        frozenset({"createIndex", "listIndexes", "indexStats"})
    }


def test_kubernetes_example_has_the_same_roles_and_users(made: Access) -> None:
    (database, *_) = yaml.safe_load_all((REPOSITORY / "deploy/kubernetes/base/mongo.yaml").read_text())
    spec = database["spec"]
    assert {role["role"]: role["privileges"] for role in spec["security"]["roles"]} == made.roles
    assert all(role["db"] == "jincor_auth" and role["roles"] == [] for role in spec["security"]["roles"])
    users = {
        user["name"]: (user["db"], [{"role": role["name"], "db": role["db"]} for role in user["roles"]])
        for user in spec["users"]
    }
    assert users == {name: (user["db"], user["roles"]) for name, user in made.users.items()}


def test_each_user_has_the_password_of_its_own_file(made: Access) -> None:
    passwords = {name: user["pwd"] for name, user in made.users.items()}
    assert passwords == {name: f"/run/secrets/mongo-{name}-password" for name in ("worker", "deploy", "backup")}
