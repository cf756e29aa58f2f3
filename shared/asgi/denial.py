"""Refusals of WebSockets with an HTTP response, an extension of ASGI.

Uvicorn's default protocol sends the response and then logs an error, as if the application had sent
nothing (https://github.com/Kludex/uvicorn/pull/3138). Strangers could fill a service's log with
errors, so this module drops that record of a connection that was refused.
"""

import logging
from contextvars import ContextVar

from .bearer import AsgiScope

#: The ASGI extension for refusing a WebSocket with an HTTP status and body.
DENIAL_RESPONSE = "websocket.http.response"

#: Uvicorn handles each WebSocket in a task of its own, and logs in that task.
_denied: ContextVar[bool] = ContextVar("denied", default=False)
_uvicorn = logging.getLogger("uvicorn.error")


def begin_denial(scope: AsgiScope) -> bool:
    """Return whether the server can refuse this WebSocket with a response, which the caller sends next."""
    if DENIAL_RESPONSE not in (scope.get("extensions") or {}):
        return False
    _denied.set(True)
    _uvicorn.addFilter(_is_no_false_alarm)  # adding the same filter again has no effect
    return True


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    return not (_denied.get() and record.msg == "ASGI callable returned without completing handshake.")
