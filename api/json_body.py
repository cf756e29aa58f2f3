"""Request bodies: JSON and nothing else, read by the parser that the workers use."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException


class JsonRequest(Request):
    """Parses strictly: no lone surrogates, no NaN, no endless nesting, UTF-8 alone.

    The standard library's parser lets some of these pass, and then they cannot be sent on. FastAPI answers what is
    raised here with 400.
    """

    async def json(self) -> Any:
        return from_json(await self.body(), allow_inf_nan=False)


class JsonBodyRoute(APIRoute):
    """A route whose body, if it takes one, must say that it is JSON, or it is refused with 415."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if self.body_field and media_type != "application/json":
                raise HTTPException(415)
            return await handle(JsonRequest(request.scope, request.receive))

        return handle_json
