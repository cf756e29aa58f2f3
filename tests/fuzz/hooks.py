"""Additional checks for schemathesis, which loads this file through `SCHEMATHESIS_HOOKS`."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import CheckContext, GenerationMode, Response
from schemathesis.generation.case import Case

#: Messages of rules that JSON Schema cannot express.
INEXPRESSIBLE = (
    "must contain printable characters only",
    "must be an email address: name@domain",
    "must be a nextCursor of an earlier page, or 0",
    "must be an id of this stream",
    "must have 8 to 256 characters",  # counted in another normal form than in a schema
    "must have 1 to 256 characters",
    "must not be a common password",
    "must not be the login, the email",
    "must not be longer than",  # a scope as JSON
    "must not be nested deeper than",
    "provide tenantToken and password, registrationKey and email, or an operator's tenantToken and onTenant",
    "provide at least one setting",  # unknown members do not count
    "must be an IPv4 or IPv6 network",  # host bits
    "provide at least one of email, password, sub, scope, unlock",  # unknown members do not count
)


@schemathesis.check
def refused_for_what_a_schema_cannot_say(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """Require that a request allowed by the schema is refused only by a rule that no schema can express."""
    if response.status_code != 422 or case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    problems = response.json()["errors"]
    assert problems
    for problem in problems:
        assert problem["message"].startswith(INEXPRESSIBLE), problem
