"""Ports of sessions: their storage, their tokens and their events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.contracts.claims import Claims
from worker.domain.records import Revocation, StoredSession, StoredUser, TenantRevocation, UserRevocation

#: Sessions read to count the live ones, for each that may be counted. Ended sessions are kept until they expire, and a
#: day longer.
COUNT_READS = 4


class Sessions(Protocol):
    async def add(self, session: StoredSession) -> StoredSession:
        """Store a session durably. If the same login has stored it, return the stored one.

        Raises `Unavailable` if the session with this id is of another owner or idempotency key.
        """

    async def find(self, ids: Sequence[str]) -> dict[str, StoredSession]:
        """Return the sessions with these ids, by id, in one query. Sees every acknowledged write."""

    async def live_of_user(self, user: StoredUser, now: datetime, limit: int) -> Sequence[StoredSession]:
        """Return the newest `limit` live sessions of the user, newest first.

        Live: of the user's generation, neither revoked nor expired.
        """

    async def live_keys(self, tenant: str, now: datetime, limit: int) -> Sequence[StoredSession]:
        """Return up to `limit` API keys of the tenant that are neither revoked nor expired, newest first."""

    async def replace_secrets(self, session: StoredSession, changed: StoredSession) -> bool:
        """Durably store the secrets and the expiry of a changed API key, whose first secret is new.

        Returns False, and stores nothing, if the key's secrets were changed since `session` was read, or if it was
        revoked.
        """

    async def revoke(self, session: StoredSession, revocation: Revocation) -> StoredSession | None:
        """Revoke a session durably and record, in the same update, that its event has to be published.

        Returns None if the session was revoked before. So only one caller gets the session and has
        to announce it. A revoked API key expires as `StoredSession.revoked` says.
        """

    async def revoke_older(self, decision: UserRevocation, now: datetime, limit: int) -> Sequence[StoredSession]:
        """Revoke every session of the user older than the decision's generation, in the way of `revoke`.

        Returns up to `limit` revoked sessions that are due to be announced, whichever request
        revoked them. The others are left to `unannounced`.
        """

    async def revoke_of_tenant(self, decision: TenantRevocation, now: datetime, limit: int) -> Sequence[StoredSession]:
        """Revoke the tenant's sessions older than the decision's generation, in the way of `revoke`.

        The tenant's own sessions come first, so that no caller can use them while the users'
        sessions are revoked. API keys and the users' sessions follow if the decision includes them. Returns up to
        `limit` revoked sessions that are due to be announced, whichever request revoked them. The others
        are left to `unannounced`.
        """

    async def count_of_users(self, tenant: str, now: datetime, limit: int | None) -> int | None:
        """Return how many live sessions the tenant's users have, `limit` at most.

        None if more than `COUNT_READS * limit` stored sessions would have to be read. `limit=None` counts all, in
        steps, and may take long.
        """

    async def over_limit(self, session: StoredSession, kept: int, now: datetime, limit: int) -> Sequence[StoredSession]:
        """Return up to `limit` live sessions of the session's user and generation, without the `kept` newest.

        Newest first. Among sessions created at the same time the greatest id is the newest, so that
        all workers agree.
        """

    async def limit_enforced(self, session: StoredSession) -> None:
        """Record that the session limit has been enforced for this session."""

    async def tenants_enforcing_limit(self, older_than: datetime) -> Sequence[str]:
        """Return the ids of the tenants for which `enforcing_limit` returns sessions."""

    async def enforcing_limit(self, tenant: str, older_than: datetime, limit: int) -> Sequence[StoredSession]:
        """Return the tenant's sessions, oldest first, for which the session limit has not been enforced yet.

        Only sessions created before `older_than`.
        """

    async def tenants_unannounced(self, older_than: datetime) -> Sequence[str]:
        """Return the ids of the tenants for which `unannounced` returns sessions.

        The cost does not depend on the length of a tenant's backlog.
        """

    async def unannounced(self, tenant: str, older_than: datetime, limit: int) -> Sequence[StoredSession]:
        """Return the tenant's sessions whose events were due before `older_than`, the longest due first.

        An event is due from the revocation on until it reaches the broker; after a refusal, from
        `retry_at` on.
        """

    async def unannounced_of(self, tenant: str, limit: int) -> Sequence[StoredSession]:
        """Return the tenant's own and its users' sessions that are still to be announced and not yet listed, the
        longest due first. A refused event is listed."""

    async def announced_after(self, tenant: str, at: datetime, session_id: str, limit: int) -> Sequence[StoredSession]:
        """Return sessions of the tenant and its users announced after `at`, or at `at` with an id above `session_id`.

        Up to `limit`, in order of time and id. Fewer than `limit` means that there are no more.
        """

    async def announced(self, session: StoredSession, at: datetime) -> None:
        """Record that the session's event reached the broker by `at`. From now on `announced_after` returns it."""

    async def refused(self, session: StoredSession, at: datetime, retry_at: datetime | None) -> bool:
        """Record that a subscriber's queue refused the event, or that the broker did not confirm it in time.

        The event is due again at `retry_at`; None: never.

        From the first refusal on `announced_after` returns the session, since other queues may have
        taken the event. Returns False, and changes nothing, if another refusal was recorded since
        the session was read, or if the event has reached the broker.
        """


class Tokens(Protocol):
    """JWTs. The key of each token is derived from a master key and its session's secret."""

    @property
    def issuer(self) -> str: ...

    @property
    def signing_key_id(self) -> str:
        """The id of the master key for new sessions."""

    def sign(self, session: StoredSession, claims: Claims) -> str: ...

    def session_id(self, token: str) -> str | None:
        """Return the id of the session that the token claims, unverified. None if it is not a token of ours."""

    def verify(self, token: str, session: StoredSession, now: datetime) -> Claims:
        """Return the verified claims of a token of this session. Raises `InvalidToken`."""


class Events(Protocol):
    def announce(self, session: StoredSession) -> None:
        """Publish the revocation of a session in the background, at least once. Never raises, never waits."""

    @property
    def connected(self) -> bool:
        """Whether events can be published now. If not, `announce` leaves them to the sweep."""


class Activity(Protocol):
    def seen(self, session: StoredSession, at: datetime) -> None:
        """Queue the time of activity of the session's user, to be written in a batch. Never raises, never waits."""

    def used(self, key: str, at: datetime) -> None:
        """Queue the time of an API key's use, in the same way. It is stored to the minute."""
