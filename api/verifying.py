"""Optional cache of verifications at the edge: `AUTH_VERIFY_CACHE_SECONDS`.

A verification depends on the user's session and on the caller's credential: a tenant token, an API key or an access
token. The cache key holds both texts, so only what a worker accepted gets the cached answer. The answer is dropped
when either session ends. An API key and its access tokens may be bound to networks, so a worker accepts them from
each address by itself.
"""

from typing import Protocol, Self

from shared.amqp.verification_batcher import Verified
from shared.client.cached_verifier import CachedVerifier, VerificationCounts
from shared.client.feed_port import FeedFactory
from shared.client.validity import Validity, is_tenant_token, validity_of
from shared.contracts.auth_verify import VerifyCheck
from shared.contracts.claims import Claims
from shared.process.logging import request_id

#: The caller's credential, the user's token, and the caller's address unless the credential is a tenant token.
Question = tuple[str, str, str]


class CheckVerifier(Protocol):
    """Verifier of user tokens, with or without a cache."""

    async def verify(self, check: VerifyCheck) -> Claims:
        """Return the claims of a live user token of this tenant. Raises what `VerificationBatcher.verify` raises."""


class WorkerVerifier(Protocol):
    """Verifier that asks a worker, as `VerificationBatcher` does."""

    async def verified(self, check: VerifyCheck) -> Verified:
        """Return the claims of a live user token of this tenant, and what a cache must know."""


class EdgeVerificationCache:
    """Verifier that uses its cache while the revocation feed is alive, and a worker otherwise.

    An async context manager.
    """

    def __init__(self, verifier: WorkerVerifier, make_feed: FeedFactory, *, max_age_seconds: float) -> None:
        self._verifier = verifier
        self._cached = CachedVerifier[Question](self._ask, make_feed, max_age_seconds=max_age_seconds)

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
        anywhere = check.caller_address is None or is_tenant_token(check.tenant_token)
        address = "" if anywhere else str(check.caller_address)
        return await self._cached.verify((check.tenant_token, check.token, address))

    async def _ask(self, question: Question) -> tuple[Claims, Validity | None]:
        credential, token, address = question
        check = VerifyCheck(
            tenant_token=credential, token=token, request_id=request_id.get(), caller_address=address or None
        )
        verified = await self._verifier.verified(check)
        return verified.claims, validity_of(credential, verified)
