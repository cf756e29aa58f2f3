"""Cursors of pages in the order of a text, such as a login."""

import base64

from shared.contracts.errors import FieldProblem, InvalidRequest
from shared.contracts.user_list import NO_CURSOR


def text_cursor(text: str) -> str:
    """Return the cursor of the page after this text."""
    # The leading letter keeps the cursor of any text apart from NO_CURSOR.
    return "a" + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def text_before(cursor: str) -> str:
    """Return the text that the page of this cursor follows; empty for the first page. Raises `InvalidRequest`."""
    if cursor in ("", NO_CURSOR):
        return ""
    encoded = cursor.removeprefix("a")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:  # not base64, ASCII or UTF-8
        problem = FieldProblem(field="cursor", message=f"must be a nextCursor of an earlier page, or {NO_CURSOR}")
        raise InvalidRequest(problems=[problem]) from None
