"""Verification at the edge from memory, for operators who allow it: `AUTH_VERIFY_CACHE_SECONDS`.

An answer of the edge stands on two sessions, the user's and that of the tenant who asked. It is kept under both tokens,
so nobody gets an answer by anything but the very tokens that a worker accepted, and it falls with either session.
"""

import base64
import json
from typing import Any, Protocol, Self

from shared.client.cached_verifier import CachedVerifier, Validity, VerificationCounts
from shared.client.feed_port import FeedFactory
from shared.contracts.auth_verify import VerifyCheck
from shared.contracts.claims import Claims
from shared.process.logging import request_id

#: The tenant's token, and the user's.
Tokens = tuple[str, str]


class Verifies(Protocol):
    """What tells whose a token is: each time anew, or from memory."""

    async def verify(self, check: VerifyCheck) -> Claims:
        """The claims of a live user token of this tenant. Raises what `VerificationBatcher.verify` raises."""


class RememberingVerifier:
    """Verifies from memory while the feed is alive, and asks otherwise; an async context manager."""

    def __init__(self, verifier: Verifies, make_feed: FeedFactory, *, max_age_seconds: float) -> None:
        self._verifier = verifier
        self._cached = CachedVerifier[Tokens](self._ask, make_feed, max_age_seconds=max_age_seconds, validity_of=_basis)

    @property
    def counts(self) -> VerificationCounts:
        """How the verifications so far were answered."""
        return self._cached.counts

    async def __aenter__(self) -> Self:
        await self._cached.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._cached.__aexit__(*exc_info)

    async def verify(self, check: VerifyCheck) -> Claims:
        """As the verifier that it asks, but for the staleness that is allowed."""
        return await self._cached.verify((check.tenant_token, check.token))

    async def _ask(self, tokens: Tokens) -> Claims:
        tenant_token, token = tokens
        check = VerifyCheck(tenant_token=tenant_token, token=token, request_id=request_id.get())
        return await self._verifier.verify(check)


def _basis(tokens: Tokens, claims: Claims) -> Validity:
    # A worker has just accepted the tenant's token, so what it says of itself is true.
    tenant = Claims.model_validate(_payload(tokens[0]))
    return Validity((claims.jti, tenant.jti), min(claims.exp, tenant.exp))


def _payload(token: str) -> Any:
    encoded = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
