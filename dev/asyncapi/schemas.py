"""JSON Schemas of the contracts' models in draft-07, which every AsyncAPI 3 tool has to read.

Pydantic writes 2020-12. Of what differs there, our models have two things: a reference with neighbours, which draft-07
overlooks, and definitions under another name. A test knows the keywords of draft-07 and finds a third.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from shared.contracts.wire import WireModel

Json = dict[str, Any]

SCHEMAS = "#/components/schemas/"


def schemas_of(received: Iterable[type[WireModel]], sent: Iterable[type[WireModel]]) -> dict[str, Json]:
    """The schemas of these models and of all they are made of, by name; `received` and `sent` as the service does."""
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
    """The names of all schemas that a part of the document refers to."""
    if isinstance(value, dict) and str(value.get("$ref", "")).startswith(SCHEMAS):
        yield value["$ref"].removeprefix(SCHEMAS)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from names_in(inner)


class _Draft7(GenerateJsonSchema):
    """Without titles that repeat the name of their field, and without defaults that say nothing."""

    schema_dialect = "http://json-schema.org/draft-07/schema#"

    def field_title_should_be_set(self, _: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if "default" in described and described["default"] is None:
            del described["default"]  # left out is not the same as null to everyone: user.update tells them apart
        return described


def _alone(value: Any) -> Any:
    """The same schema with every reference in a place of its own."""
    if isinstance(value, list):
        return [_alone(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    parts = {key: _alone(inner) for key, inner in value.items()}
    if "$ref" in parts and len(parts) > 1:
        parts = {"allOf": [{"$ref": parts.pop("$ref")}], **parts}
    return parts
