"""The resources of operators in the Kubernetes example, validated by the operators' own definitions.

KUBERNETES_CRDS names a folder with these (CustomResourceDefinition): files of the operators' repositories, or
`kubectl get crd --output yaml` of a cluster. No package registry has them.
"""

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.unit.deploy.test_kubernetes import KUBERNETES, MONITORS, OPERATORS, OVERLAY

Object = dict[str, Any]

VARIABLE = "KUBERNETES_CRDS"
RESOURCES = [
    each
    for folder in ("base", MONITORS, OVERLAY)
    for path in sorted((KUBERNETES / folder).glob("*.yaml"))
    for each in yaml.safe_load_all(path.read_text())
    if isinstance(each, dict) and each.get("apiVersion") in OPERATORS
]


@pytest.fixture(scope="module")
def schemas() -> dict[tuple[str, str], Object]:
    """Return the schema of each kind of resource by API version and kind."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no folder of definitions")
    return {
        (f"{spec['group']}/{version['name']}", spec["names"]["kind"]): version["schema"]["openAPIV3Schema"]
        for path in sorted(Path(folder).glob("*.yaml"))
        for spec in _definitions(path)
        for version in spec["versions"]
    }


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_resource_is_valid_by_the_operators_definition(
    schemas: dict[tuple[str, str], Object], resource: Object
) -> None:
    """Unknown members fail too: Kubernetes would drop them without an error."""
    schema = schemas[resource["apiVersion"], resource["kind"]]
    jsonschema.validate(resource, _without_unknown_members(schema))
    unknown = {**resource, "spec": {**resource["spec"], "unknown": 1}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(unknown, _without_unknown_members(schema))


def _definitions(path: Path) -> Iterator[Object]:
    for document in yaml.safe_load_all(path.read_text()):
        for each in document["items"] if document["kind"] == "List" else [document]:
            yield each["spec"]


def _without_unknown_members(schema: Object) -> Object:
    """Return a copy of a schema in which objects have no members but the named ones."""
    strict = copy.deepcopy(schema)
    strict["properties"]["metadata"] = {"type": "object"}
    _forbid_unknown_members(strict)
    return strict


def _forbid_unknown_members(schema: Object) -> None:
    # `allOf` and the like only restrict what `properties` names.
    members = schema.get("properties", {})
    if members and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    for each in [*members.values(), schema.get("items"), schema.get("additionalProperties")]:
        if isinstance(each, dict):
            _forbid_unknown_members(each)
    if schema.get("nullable") and "type" in schema:
        schema["type"] = [schema["type"], "null"]
