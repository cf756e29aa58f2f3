"""Request bodies: of the one media type that a route expects; JSON is read by the parser that the workers use."""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class JsonRequest(Request):
    """Parses strictly: no lone surrogates, no NaN, no endless nesting, UTF-8 alone.

    The standard library's parser lets some of these pass, and then they cannot be sent on. FastAPI answers what is
    raised here with 400.
    """

    async def json(self) -> Any:
        return from_json(await self.body(), allow_inf_nan=False)


class TypedBodyRoute(APIRoute):
    """A route whose body, if it takes one, must say that it is of this media type, or it is refused with 415."""

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
    """For all but the OAuth 2.0 standards."""

    media_type: ClassVar[str] = JSON


class FormBodyRoute(TypedBodyRoute):
    """For the OAuth 2.0 standards."""

    media_type: ClassVar[str] = FORM
