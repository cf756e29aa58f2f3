"""The AsyncAPI document: generated from the contracts, valid by the official schema, consistent in itself."""

import copy
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from api.examples import EXAMPLES
from dev.asyncapi.document import document
from dev.asyncapi.files import made
from dev.asyncapi.schemas import SCHEMAS, names_in
from dev.processes import REPOSITORY
from shared.amqp.topology import health_queue, lane_queue
from shared.contracts import OPERATIONS
from shared.contracts.errors import ErrorCode
from shared.contracts.operation import Lane

Json = dict[str, Any]

OFFICIAL = Path(__file__).parent / "asyncapi_spec" / "asyncapi-3.0.0.json"

#: Keywords of draft-07 that pydantic may emit, and this document's own extension.
KEYWORDS = {
    *("$ref", "title", "description", "default", "readOnly", "writeOnly", "type", "enum", "const", "format", "pattern"),
    *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("items", "minItems", "maxItems", "uniqueItems", "properties", "required", "additionalProperties"),
    *("patternProperties", "maxProperties"),
    *("anyOf", "allOf", "oneOf", "not", "x-enum-descriptions"),
}


@pytest.fixture(scope="module")
def described() -> Json:
    return document()


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    return Draft7Validator(json.loads(OFFICIAL.read_text()))


def nodes(value: object) -> Iterator[Json]:
    """Yield every object in a JSON document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def at(whole: Json, reference: str) -> Any:
    """Resolve a reference."""
    found: Any = whole
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


@pytest.mark.parametrize("path", made(), ids=lambda path: path.name)
def test_committed_file_equals_the_generated_one(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == made()[path], f"run `make asyncapi` and commit {path.name}"


def test_document_is_valid_by_the_official_schema(described: Json, official: Draft7Validator) -> None:
    """The schema includes the AMQP bindings."""
    assert [f"{error.json_path}: {error.message}" for error in official.iter_errors(described)] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: whole.update(asyncapi="2.6.0"),
        lambda whole: whole["info"].pop("version"),
        lambda whole: whole["operations"]["auth.login"].update(action="publish"),
        lambda whole: whole["operations"]["auth.login"].pop("channel"),
        lambda whole: whole["operations"]["auth.login"]["reply"].update(queue="rpc"),
        lambda whole: whole["components"]["replyAddresses"]["reply_to"].update(location="reply_to"),
        lambda whole: whole["components"]["channelBindings"]["rpc"]["amqp"].update({"is": "topic"}),
        lambda whole: whole["components"]["channelBindings"]["rpc"]["amqp"]["exchange"].update(type="fan"),
        lambda whole: whole["components"]["operationBindings"]["events"]["amqp"].update(deliveryMode=3),
        lambda whole: whole["components"]["messages"]["probe"].update(body={}),
        lambda whole: whole["components"]["schemas"]["Claims"].update(type="claims"),
    ],
)
def test_official_schema_refuses_each_spoiled_member(
    spoil: Callable[[Json], object], described: Json, official: Draft7Validator
) -> None:
    """Shows that the schema checks each of these members."""
    spoiled = copy.deepcopy(described)
    spoil(spoiled)
    assert not official.is_valid(spoiled)


def test_references_resolve_and_every_component_is_used(described: Json) -> None:
    references = {node["$ref"] for node in nodes(described) if "$ref" in node}
    for reference in references:
        at(described, reference)
    for kind, components in described["components"].items():
        for name in components:
            assert f"#/components/{kind}/{name}" in references, name


def test_operation_refers_to_messages_through_its_channel(described: Json) -> None:
    """The specification requires this for requests and for replies."""
    for name, operation in described["operations"].items():
        ends = [(operation["channel"], operation["messages"])]
        if "reply" in operation:
            ends.append((operation["reply"]["channel"], operation["reply"]["messages"]))
            assert at(described, operation["reply"]["channel"]["$ref"])["address"] is None, "the request carries it"
        for channel, messages in ends:
            for message in messages:
                assert message["$ref"].startswith(f"{channel['$ref']}/messages/"), name


def test_document_lists_every_operation_with_queue_errors_and_lane(described: Json) -> None:
    """The document lists no other operation."""
    calls = {name: each for name, each in described["operations"].items() if each["action"] == "receive"}
    assert list(calls) == list(OPERATIONS)
    for queue in (make(lane) for lane in Lane for make in (lane_queue, health_queue)):
        assert queue.operations == tuple(name for name, call in calls.items() if call["x-queue"] == queue.name)
    for name, operation in OPERATIONS.items():
        call, (_, error) = calls[name], calls[name]["reply"]["messages"]
        payload = at(described, at(described, error["$ref"])["$ref"])["payload"]
        codes = payload["allOf"][1]["properties"]["code"]["enum"]
        assert {each.code for each in operation.errors} <= {*codes, *call.get("x-codes-in-reply", ())}
        assert {ErrorCode.BAD_REQUEST, ErrorCode.INVALID_REQUEST, ErrorCode.INTERNAL} <= set(codes)
        assert (call["x-lane"], call["x-repeatable"]) == (operation.lane, operation.repeatable)
        assert call["summary"].endswith("?") or len(call["summary"]) > 10


def test_batch_operation_lists_token_errors_in_its_reply(described: Json) -> None:
    """An invalid token is the answer to one check, not to the whole message."""
    assert {
        name: each["x-codes-in-reply"] for name, each in described["operations"].items() if "x-codes-in-reply" in each
    } == {"auth.verify": ["invalid_tenant_token", "forbidden", "invalid_token", "throttled"]}
    codes = described["components"]["messages"]["auth.verify.error"]["payload"]["allOf"][1]["properties"]["code"][
        "enum"
    ]
    assert "invalid_token" not in codes


def test_schema_uses_only_keywords_of_draft_07(described: Json) -> None:
    """Draft-07 ignores the siblings of a reference, so there are none."""
    for name, schema in described["components"]["schemas"].items():
        Draft7Validator.check_schema(schema)
        for keywords in schemas_within(schema):
            assert keywords.keys() <= KEYWORDS, name
            assert "$ref" not in keywords or len(keywords) == 1, name


def schemas_within(schema: Json) -> Iterator[Json]:
    """Yield a schema and its inner schemas."""
    yield schema
    for keyword in ("anyOf", "allOf", "oneOf"):
        for inner in schema.get(keyword, ()):
            yield from schemas_within(inner)
    members = (schema.get(keyword, {}).values() for keyword in ("properties", "patternProperties"))
    for inner in (*itertools.chain(*members), *([schema["items"]] if "items" in schema else ())):
        yield from schemas_within(inner)


def test_model_is_described_once_and_referenced_elsewhere(described: Json) -> None:
    for name, message in described["components"]["messages"].items():
        if name != "probe":
            assert list(names_in(message["payload"])), name
    for name, schema in described["components"]["schemas"].items():
        inner = [each for each in schemas_within(schema) if each is not schema]
        assert not any("properties" in each for each in inner), name


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example_of_the_edge_is_a_valid_reply(name: str, described: Json) -> None:
    """The edge unpacks the batch of `auth.verify`, so that example differs from the reply."""
    schema = {"$ref": f"{SCHEMAS}{OPERATIONS[name].reply.__name__}", "components": described["components"]}
    assert Draft7Validator(schema).is_valid(EXAMPLES[name].reply) == (name != "auth.verify")


def test_page_has_every_operation_code_and_member_and_its_links_resolve(described: Json) -> None:
    text, guide = (
        (REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("amqp.md", "other-languages.md")
    )
    headings = re.findall(r"^##+ (.+)$", text, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#([^)]+)\)", text) + re.findall(r"\]\(amqp\.md#([^)]+)\)", guide)) <= set(anchors)
    assert set(OPERATIONS) <= set(headings)
    for code in ErrorCode:
        assert f"| `{code}` |" in text
    for model in described["components"]["schemas"].values():
        for member in model.get("properties", ()):
            assert f"| `{member}` |" in text


def test_operation_states_the_permission_that_it_needs() -> None:
    """In words for readers, and as a member for programs."""
    described = document()["operations"]
    for name, operation in OPERATIONS.items():
        assert described[name].get("x-permission") == operation.permission
        sentence = described[name]["description"].rpartition("\n\n")[2]
        assert sentence.startswith("Needs the permission" if operation.permission else "Needs no permission: ")
        named = (operation.permission, operation.also_needs, operation.of_operator)
        assert all(f"`{permission}`" in sentence for permission in named if permission)
