"""The OpenAPI document: every status that a route can answer, from the same table that makes the answers."""

from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from api.bodies import JSON
from api.errors import HTTP_ANSWERS, HTTP_EXCEPTIONS, PROBLEM_TYPE, Problem, problem, problem_of
from api.examples import EXAMPLES
from shared.contracts.errors import (
    AuthError,
    DeadlineExceeded,
    FieldProblem,
    InternalError,
    InvalidRequest,
    Overloaded,
    Unavailable,
)
from shared.contracts.operation import Operation
from shared.contracts.wire import WireModel

COMPONENTS = "#/components/schemas/"

#: What any operation may answer: all of them take input, and all of them are done by a worker.
COMMON_ERRORS: tuple[AuthError, ...] = (
    InvalidRequest(problems=[FieldProblem(field="login", message="Field required")]),
    InternalError(incident="3f0c9d5f8a6e4b7f9f1d2c3b4a5e6f70"),
    Unavailable(),
    Overloaded(),
    DeadlineExceeded(),
)
HEADER_MEANINGS = {
    "Retry-After": {"description": "In seconds. Of `overloaded`: until what fills the queue now has been worked off."}
}
#: What reading a body may end with.
BODY_STATUSES = (400, 408, 413, 415)


class DocumentedApi(FastAPI):
    """FastAPI with the schema of problem documents, which it would only add as `application/json`."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        schema = Problem.model_json_schema(ref_template=f"{COMPONENTS}{{model}}")
        document["components"]["schemas"] |= {**schema.pop("$defs"), "Problem": schema}
        return document


def documented(
    operation: Operation[Any, Any],
    reply: type[WireModel] | None = None,
    media_type: str = JSON,
    *,
    token_is_optional: bool = False,
) -> dict[str, Any]:
    """What a route's decorator says of its operation; `reply` where the answer over HTTP has a form of its own.

    A tenant token is optional where there is another way to prove oneself.
    """
    example = EXAMPLES[operation.name]
    responses: dict[int | str, dict[str, Any]] = {
        200: {"description": "Done", "content": {"application/json": {"example": example.reply}}},
        **_problem_responses(operation, has_body=example.body is not None),
    }
    extra: dict[str, Any] = {"security": [{}]} if token_is_optional else {}
    if example.body:
        extra["requestBody"] = {"content": {media_type: {"example": example.body}}}
    return {
        "operation_id": operation.name,
        "response_model": reply or operation.reply,
        "responses": responses,
        "openapi_extra": extra,
    }


def problem_content(examples: Mapping[str, Problem]) -> dict[str, Any]:
    """The `content` of a documented response that is a problem document."""
    values = {
        name: {"value": example.model_dump(mode="json", exclude_unset=True)} for name, example in examples.items()
    }
    return {"content": {PROBLEM_TYPE: {"schema": {"$ref": f"{COMPONENTS}Problem"}, "examples": values}}}


def _problem_responses(operation: Operation[Any, Any], *, has_body: bool) -> dict[int | str, dict[str, Any]]:
    problems = [problem_of(error) for error in (*(each() for each in operation.errors), *COMMON_ERRORS)]
    problems.append(problem(*HTTP_EXCEPTIONS[429]))
    if has_body:
        problems += [problem(*HTTP_EXCEPTIONS[status]) for status in BODY_STATUSES]
    by_status: dict[int, dict[str, Problem]] = defaultdict(dict)
    for each in problems:
        by_status[each.status][each.code] = each
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "headers": {
                name: {"schema": {"type": "string"}, "example": value, **HEADER_MEANINGS.get(name, {})}
                for each in examples.values()
                for name, value in HTTP_ANSWERS[each.code].headers.items()
            },
            **problem_content(examples),
        }
        for status, examples in sorted(by_status.items())
    }
