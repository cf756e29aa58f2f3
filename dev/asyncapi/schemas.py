"""JSON Schemas of the contracts' models in draft-07, the version that every AsyncAPI 3 tool must read.

Pydantic generates draft 2020-12. Two differences matter for our models: draft-07 ignores the siblings of a
`$ref`, and its definitions have another name. A test against the keywords of draft-07 would find a third.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from shared.contracts.wire import WireModel

Json = dict[str, Any]

SCHEMAS = "#/components/schemas/"


def schemas_of(received: Iterable[type[WireModel]], sent: Iterable[type[WireModel]]) -> dict[str, Json]:
    """Return the schemas of these models and of their parts by name; the service receives and sends them."""
    roots = [*((model, "validation") for model in received), *((model, "serialization") for model in sent)]
    references, found = models_json_schema(
        list(dict.fromkeys(roots)),  # type: ignore[arg-type]  # it wants literals of a list it does not change
        ref_template=f"{SCHEMAS}{{model}}",
        schema_generator=_Draft7,
    )
    schemas = {name: _alone(schema) for name, schema in found["$defs"].items()}
    used: set[str] = set()
    waiting = [name for reference in references.values() for name in names_in(reference)]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += names_in(schemas[name])
    return {name: schemas[name] for name in sorted(used)}


def names_in(value: object) -> Iterator[str]:
    """Yield the names of all schemas that a part of the document refers to."""
    if isinstance(value, dict) and str(value.get("$ref", "")).startswith(SCHEMAS):
        yield value["$ref"].removeprefix(SCHEMAS)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from names_in(inner)


class _Draft7(GenerateJsonSchema):
    """Schema generator that omits titles equal to the field's name and defaults of null."""

    schema_dialect = "http://json-schema.org/draft-07/schema#"

    def field_title_should_be_set(self, _: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if "default" in described and described["default"] is None:
            del described["default"]  # absent is not null: user.update distinguishes them
        return described


def _alone(value: Any) -> Any:
    """Return the schema with every reference moved into an `allOf`, away from its siblings."""
    if isinstance(value, list):
        return [_alone(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    parts = {key: _alone(inner) for key, inner in value.items()}
    if "$ref" in parts and len(parts) > 1:
        parts = {"allOf": [{"$ref": parts.pop("$ref")}], **parts}
    return parts
