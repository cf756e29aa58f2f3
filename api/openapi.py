"""The OpenAPI document. Its error responses come from the table that makes the actual responses."""

from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.bodies import JSON
from api.errors import (
    HTTP_ANSWERS,
    HTTP_EXCEPTIONS,
    PROBLEM_TYPE,
    Problem,
    problem,
    problem_of,
)
from api.examples import EXAMPLES, Example
from api.oauth import media_type_of, oauth_problem
from shared.contracts import OPERATIONS
from shared.contracts.errors import (
    AuthError,
    DeadlineExceeded,
    FieldProblem,
    InternalError,
    InvalidRequest,
    InvalidTenantToken,
    Overloaded,
    Throttled,
    Unavailable,
)
from shared.contracts.operation import Operation
from shared.contracts.other_proofs import sentence_of
from shared.contracts.permissions import MEANINGS, TENANT_PERMISSIONS
from shared.contracts.wire import WireModel

COMPONENTS = "#/components/schemas/"

CLIENT_CREDENTIALS = "clientCredentials"
CLIENT_CREDENTIALS_SCHEME = {
    "type": "oauth2",
    "description": "An access token of an API key (RFC 6749, 4.4), as Bearer. Its scopes are permissions.",
    "flows": {
        "clientCredentials": {
            "tokenUrl": "/oauth/token",
            "scopes": {each: MEANINGS[each] for each in sorted(TENANT_PERMISSIONS)},
        }
    },
}

#: Errors of every operation: each takes input, and a worker executes each.
COMMON_ERRORS: tuple[AuthError, ...] = (
    InvalidRequest(problems=[FieldProblem(field="login", message="Field required")]),
    InternalError(incident="3f0c9d5f8a6e4b7f9f1d2c3b4a5e6f70"),
    Unavailable(),
    Overloaded(),
    DeadlineExceeded(),
)
HEADER_MEANINGS = {"Retry-After": {"description": "In seconds. For `overloaded`: 1 to 3 seconds, at random."}}
#: Statuses of errors in reading a body.
BODY_STATUSES = (400, 408, 413, 415)


#: Ends the operation id of a route on which an operator's token is the whole proof.
BY_OPERATOR = "_by_operator"


class DocumentedApi(FastAPI):
    """FastAPI with problem documents in its OpenAPI document, and without FastAPI's own 422 responses.

    FastAPI would list problem documents as `application/json`, and would add a 422 to routes without one. Routes
    without credentials say so with an empty `security`, since an absent one could be an omission.
    """

    def surround(self, *layers: Middleware) -> None:
        """Put middleware around FastAPI, outermost first. FastAPI puts three of its own around what it is given."""
        app: ASGIApp = super().__call__
        for layer in reversed(layers):
            app = layer.cls(app, *layer.args, **layer.kwargs)
        self._surrounded = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._surrounded(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is not None:  # as changed below
            return self.openapi_schema
        document = super().openapi()
        for route in (route for path in document["paths"].values() for route in path.values()):
            if JSON in route["responses"].get("422", {}).get("content", {}):
                del route["responses"]["422"]
            route.setdefault("security", [])
            _add_permission(route)
        for unused in ("HTTPValidationError", "ValidationError", "JsonValue"):
            document["components"]["schemas"].pop(unused, None)
        schema = Problem.model_json_schema(ref_template=f"{COMPONENTS}{{model}}")
        document["components"]["schemas"] |= {**schema.pop("$defs"), "Problem": schema}
        document["components"]["securitySchemes"][CLIENT_CREDENTIALS] = CLIENT_CREDENTIALS_SCHEME
        return document


def _add_permission(route: dict[str, Any]) -> None:
    """Say which permission the caller's credential needs, in words and for programs."""
    name = route["operationId"].removesuffix(BY_OPERATOR)
    if name not in OPERATIONS:  # a route of the edge itself
        return
    operation, by_operator = OPERATIONS[name], name != route["operationId"]
    route["description"] += f"\n\n{sentence_of(operation, by_operator=by_operator)}"
    if permission := operation.of_operator if by_operator else operation.permission:
        route["x-permission"] = permission
    if operation.also_needs is not None:
        route["x-second-permission"] = operation.also_needs


def documented(
    operation: Operation[Any, Any],
    reply: type[WireModel] | None = None,
    media_type: str = JSON,
    *,
    token_is_optional: bool = False,
    oauth: bool = False,
    by_operator: bool = False,
    edge_errors: tuple[AuthError, ...] = (),
) -> dict[str, Any]:
    """Return the decorator arguments that document a route.

    - `reply`: model of the HTTP response, if it differs from the operation's reply.
    - `token_is_optional`: the route accepts other proof instead of a tenant token.
    - `oauth`: errors are OAuth 2.0 errors.
    - `by_operator`: a second route of an operation, on which an operator's token is the whole proof.
    - `edge_errors`: errors of the edge itself.
    """
    example = EXAMPLES[operation.name]
    if by_operator:
        example = Example(reply=example.reply)
    responses: dict[int | str, dict[str, Any]] = {
        200: {"description": "Done", "content": {"application/json": {"example": example.reply}}},
        **_problem_responses(operation, edge_errors, has_body=example.body is not None, oauth=oauth),
    }
    # FastAPI adds these to the schemes of the route's dependencies.
    security = [
        *([{CLIENT_CREDENTIALS: [operation.permission]}] if operation.permission in TENANT_PERMISSIONS else []),
        *([{}] if token_is_optional else []),
    ]
    extra: dict[str, Any] = {"security": security} if security else {}
    if example.body:
        extra["requestBody"] = {"content": {media_type: {"example": example.body}}}
    return {
        "operation_id": f"{operation.name}{BY_OPERATOR}" if by_operator else operation.name,
        "response_model": reply or operation.reply,
        "responses": responses,
        "openapi_extra": extra,
    }


def header(description: str, example: str) -> dict[str, Any]:
    """Return the OpenAPI description of a response header."""
    return {"description": description, "schema": {"type": "string"}, "example": example}


def problem_content(examples: Mapping[str, Problem], media_type: str = PROBLEM_TYPE) -> dict[str, Any]:
    """Return the OpenAPI `content` of a response that is a problem document."""
    values = {
        name: {"value": example.model_dump(mode="json", exclude_unset=True)} for name, example in examples.items()
    }
    return {"content": {media_type: {"schema": {"$ref": f"{COMPONENTS}Problem"}, "examples": values}}}


def _problem_responses(
    operation: Operation[Any, Any], edge_errors: tuple[AuthError, ...], *, has_body: bool, oauth: bool
) -> dict[int | str, dict[str, Any]]:
    problems = [problem_of(error) for error in (*(each() for each in operation.errors), *edge_errors, *COMMON_ERRORS)]
    if InvalidTenantToken in operation.errors and Throttled not in operation.errors:
        problems.append(problem_of(Throttled()))  # after too many wrong secrets of API keys
    problems.append(problem(*HTTP_EXCEPTIONS[429]))
    if has_body:
        problems += [problem(*HTTP_EXCEPTIONS[status]) for status in BODY_STATUSES]
    if oauth:
        problems = [oauth_problem(each) for each in problems]
    by_status: dict[int, dict[str, Problem]] = defaultdict(dict)
    for each in problems:
        by_status[each.status][each.code] = each
    return {status: _problem_response(status, examples) for status, examples in sorted(by_status.items())}


def _problem_response(status: int, examples: Mapping[str, Problem]) -> dict[str, Any]:
    (media_type,) = {media_type_of(each) for each in examples.values()}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": {
            name: {"schema": {"type": "string"}, "example": value, **HEADER_MEANINGS.get(name, {})}
            for each in examples.values()
            for name, value in HTTP_ANSWERS[each.code].headers.items()
        },
        **problem_content(examples, media_type),
    }
