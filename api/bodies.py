"""Request bodies: the media type of each route, and strict JSON parsing with the workers' parser."""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class JsonRequest(Request):
    """Request whose JSON is parsed strictly: UTF-8 only, no lone surrogates, no NaN, limited nesting.

    The standard library accepts some bodies that cannot be sent to a worker. FastAPI turns parse errors into 400.
    """

    async def json(self) -> Any:
        return from_json(await self.body(), allow_inf_nan=False)


class TypedBodyRoute(APIRoute):
    """Route that refuses a body of another media type with 415."""

    media_type: ClassVar[str]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_typed(request: Request) -> Response:
            given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if self.body_field and given != self.media_type:
                raise HTTPException(415, self.media_type)
            return await handle(JsonRequest(request.scope, request.receive))

        return handle_typed


class JsonBodyRoute(TypedBodyRoute):
    """Route with a JSON body: all but the OAuth 2.0 endpoints."""

    media_type: ClassVar[str] = JSON


class FormBodyRoute(TypedBodyRoute):
    """Route with a form body: the OAuth 2.0 endpoints."""

    media_type: ClassVar[str] = FORM
