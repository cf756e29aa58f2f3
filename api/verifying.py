"""Optional cache of verifications at the edge: `AUTH_VERIFY_CACHE_SECONDS`.

A verification depends on two sessions, the user's and the tenant's. Its cache key is both tokens, so
only the exact tokens that a worker accepted get the cached answer. It is dropped when either session ends.
"""

import base64
import json
from typing import Any, Protocol, Self

from shared.client.cached_verifier import CachedVerifier, Validity, VerificationCounts
from shared.client.feed_port import FeedFactory
from shared.contracts.auth_verify import VerifyCheck
from shared.contracts.claims import Claims
from shared.process.logging import request_id

#: The tenant's token and the user's token.
TokenPair = tuple[str, str]


class CheckVerifier(Protocol):
    """Verifier of user tokens, with or without a cache."""

    async def verify(self, check: VerifyCheck) -> Claims:
        """Return the claims of a live user token of this tenant. Raises what `VerificationBatcher.verify` raises."""


class EdgeVerificationCache:
    """Verifier that uses its cache while the revocation feed is alive, and a worker otherwise.

    An async context manager.
    """

    def __init__(self, verifier: CheckVerifier, make_feed: FeedFactory, *, max_age_seconds: float) -> None:
        self._verifier = verifier
        self._cached = CachedVerifier[TokenPair](
            self._ask, make_feed, max_age_seconds=max_age_seconds, validity_of=_basis
        )

    @property
    def counts(self) -> VerificationCounts:
        """Return how many verifications the cache answered, and how many a worker did."""
        return self._cached.counts

    async def __aenter__(self) -> Self:
        await self._cached.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._cached.__aexit__(*exc_info)

    async def verify(self, check: VerifyCheck) -> Claims:
        """Return the claims of a live user token; they may be up to `max_age_seconds` old."""
        return await self._cached.verify((check.tenant_token, check.token))

    async def _ask(self, tokens: TokenPair) -> Claims:
        tenant_token, token = tokens
        check = VerifyCheck(tenant_token=tenant_token, token=token, request_id=request_id.get())
        return await self._verifier.verify(check)


def _basis(tokens: TokenPair, claims: Claims) -> Validity:
    # A worker has just verified the tenant's token, so its claims can be trusted.
    tenant = Claims.model_validate(_payload(tokens[0]))
    # An access token dies with its API key, which is the session.
    return Validity((claims.jti, tenant.client_id or tenant.jti), min(claims.exp, tenant.exp))


def _payload(token: str) -> Any:
    encoded = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
