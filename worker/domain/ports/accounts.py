"""Ports of stored accounts: tenants and their users."""

from collections.abc import Collection, Mapping, Sequence, Set as AbstractSet
from datetime import datetime
from typing import Any, Protocol

from shared.contracts.events import RevocationReason
from shared.contracts.permissions import Permission
from worker.domain.records import (
    IdempotencyKey,
    StoredCounts,
    StoredReset,
    StoredTenant,
    StoredUser,
    TenantRevocation,
    UserChanges,
    UserRevocation,
)


class Tenants(Protocol):
    async def add(self, tenant: StoredTenant) -> None:
        """Store a new tenant durably.

        Raises `EmailTaken` if the email or the id is in use, or if the same request stored a tenant that was
        deleted since.
        """

    async def find(self, tenant: str) -> StoredTenant | None:
        """Return the tenant with this id, disabled or not. None if it does not exist or is being deleted."""

    async def find_by_email(self, email: str) -> StoredTenant | None:
        """Return the tenant with this email, disabled or not. None if there is none or it is being deleted."""

    async def page(self, search: str, after: str, limit: int) -> Sequence[StoredTenant]:
        """Return up to `limit` tenants with an email greater than `after`, in order of email.

        `search` matches a part of the email, ignoring case. An empty string matches all. Tenants that are being
        deleted are left out.
        """

    async def is_current(self, tenant: StoredTenant) -> bool:
        """Return whether the tenant is active and still at this generation. Active: neither disabled nor deleted."""

    async def admits(self, tenant: str, generation: int) -> bool:
        """Return whether users may log in, and API keys be created, through a tenant session of this generation.

        False if the tenant is disabled or being deleted, or if since that generation it was disabled or its API keys
        were revoked.
        """

    async def replace_hash(self, tenant: StoredTenant, password_hash: str) -> None:
        """Store a stronger hash of the same password, unless the password has changed since the tenant was read."""

    async def decide_revocation(
        self,
        tenant: str,
        reason: RevocationReason,
        key: IdempotencyKey,
        password_hash: str | None = None,
        *,
        with_users: bool = False,
        revoke_keys: bool = False,
        code_digest: bytes | None = None,
    ) -> TenantRevocation:
        """Durably store the decision to revoke the tenant's sessions, together with its cause, in one update.

        The cause is a new password hash, or follows from the reason: the tenant is disabled or
        deleted. A deleted tenant is not found any more. `with_users` includes users' sessions and `revoke_keys`
        includes API keys for any reason; disabling and deletion always do. If the same request decided before, that
        decision is returned, finished or not. Raises `TenantNotFound`, and `InvalidCredentials` unless `code_digest`,
        if given, is a live code of the tenant's reset. The same update voids the code.
        """

    async def find_decision(self, tenant: str, key: IdempotencyKey) -> TenantRevocation | None:
        """Return what this request decided about the tenant, even if it is finished and the tenant deleted."""

    async def find_decision_by_email(self, email: str, key: IdempotencyKey) -> TenantRevocation | None:
        """Return what this request decided about a tenant with this email.

        If that tenant is deleted, another tenant may have the email by now.
        """

    async def finish_revocation(self, decision: TenantRevocation) -> None:
        """Forget a decision whose sessions are all revoked.

        Removes the tenant if that was the decision, but keeps its idempotency keys.
        """

    async def unfinished_revocations(self, older_than: datetime, limit: int) -> Sequence[TenantRevocation]:
        """Return up to `limit` decisions that were made before `older_than` and are not finished."""

    async def enable(self, tenant: str, key: IdempotencyKey) -> None:
        """Enable a disabled tenant, once per request: a retry does not undo a later `tenant.disable`."""

    async def begin_reset(self, tenant: StoredTenant, reset: StoredReset) -> None:
        """Store the reset durably. It replaces another one, but keeps the codes of one of the same request.

        Raises `Unavailable` if the tenant is not at the reset's generation any more.
        """

    async def change_settings(self, tenant: str, changes: Mapping[str, Any], key: IdempotencyKey) -> StoredTenant:
        """Write these settings durably, once per request, and return the tenant as stored afterwards.

        None removes a setting. A retry does not undo later changes. Raises `TenantNotFound`.
        """

    async def request_counts(self, tenants: Collection[str], now: datetime) -> None:
        """Record that these tenants are to be counted. A failover may lose this."""

    async def with_requested_counts(self, limit: int) -> Sequence[str]:
        """Return the ids of up to `limit` tenants that are to be counted, the longest waiting first."""

    async def store_counts(self, tenant: str, counts: StoredCounts | None) -> None:
        """Store the counts of a tenant, which is then not to be counted any more. A failover may lose this.

        None keeps older counts.
        """


class Users(Protocol):
    async def add(self, user: StoredUser) -> StoredUser:
        """Store a new user durably. If the same request stored a user before, return that user as it is now.

        Raises `LoginTaken` if another user of the tenant has the login or the id, or if the same request
        stored a user that was deleted since.
        """

    async def add_new(self, users: Sequence[StoredUser]) -> AbstractSet[str]:
        """Durably store the users whose logins are free. Return the ids of the others, which are not stored.

        If this raises, some users may be stored. When it is repeated, their ids are among those
        returned.
        """

    async def find(self, tenant: str, login: str) -> StoredUser | None:
        """Return the user with this login, compared code point by code point. None if it is being deleted."""

    async def spelling(self, tenant: str, login: str, key: IdempotencyKey | None = None) -> str:
        """Return the login as stored: as given if an account has this exact spelling, in Unicode form NFC otherwise.

        `key` is the idempotency key of the request. A retry gets the login as given, even if its account
        has been deleted since the first attempt, so it never reaches another account. An unknown
        login costs the same work.
        """

    async def spelled(self, tenant: str, logins: Collection[str]) -> AbstractSet[str]:
        """Return those of these logins that accounts have in exactly this spelling.

        Includes accounts that are being deleted.
        """

    async def is_current(self, user: StoredUser) -> bool:
        """Return whether the user is still at this generation and not being deleted. Sees every acknowledged write."""

    async def page(self, tenant: str, search: str, after: str, limit: int) -> Sequence[StoredUser]:
        """Return up to `limit` users with a login greater than `after`, in order of login.

        `search` matches a part of login or email, ignoring case. An empty string matches all.
        """

    async def named(self, names: Collection[str], after: str, limit: int) -> Sequence[StoredUser]:
        """Return up to `limit` users of all tenants with an id greater than `after`, in order of id.

        Their login or their email is one of `names`. Users that are being deleted are left out.
        """

    async def tenants_of(self, logins: Collection[str], limit: int) -> AbstractSet[str]:
        """Return the ids of up to `limit` tenants that have a user with one of these logins."""

    async def count(self, tenant: str, limit: int | None) -> int:
        """Return how many users the tenant has, `limit` at most. Users that are being deleted count.

        None counts all, in steps, and may take long.
        """

    async def logins(self, tenant: str, after: str, limit: int) -> Sequence[str]:
        """Return up to `limit` logins greater than `after`, in order, including users that are being deleted."""

    async def change(self, tenant: str, login: str, changes: UserChanges, key: IdempotencyKey) -> StoredUser:
        """Write attributes other than the password, and return the user as stored afterwards.

        If the same request wrote before, nothing is written, so later changes of other requests are
        kept. Raises `UserNotFound`, also if the changed user was deleted since and another user has
        the login.
        """

    async def operators(
        self, tenant: str | None, limit: int, permission: Permission | None = None
    ) -> Sequence[StoredUser]:
        """Return up to `limit` users of the tenant that have this operator permission, in order of login.

        Without `permission`: any operator permission. Without `tenant`: of all tenants.
        """

    async def replace_operator_permissions(
        self, user: StoredUser, permissions: AbstractSet[Permission], key: IdempotencyKey
    ) -> StoredUser | None:
        """Write the user's operator permissions, and return the user as stored afterwards.

        Returns None, with nothing written, if others were written since the user was read, or the user was deleted.
        If the same request wrote before, nothing is written.
        """

    async def replace_hash(self, user: StoredUser, password_hash: str) -> None:
        """Store a stronger hash of the same password, unless the password has changed since the user was read."""

    async def decide_revocation(
        self, tenant: str, login: str, reason: RevocationReason, key: IdempotencyKey, changes: UserChanges | None = None
    ) -> UserRevocation:
        """Durably store the decision to revoke all current sessions of the user, with its cause, in one update.

        The cause is `changes`, or the user's deletion if the reason is `USER_DELETED`; `find` does
        not find a deleted user. If the same request decided before, that decision is returned,
        finished or not, even if the user was deleted since. Raises `UserNotFound`.
        """

    async def finish_revocation(self, decision: UserRevocation) -> None:
        """Forget a decision whose sessions are all revoked.

        Removes the user if that was the decision, but keeps its idempotency keys.
        """

    async def tenants_with_unfinished_revocations(self, older_than: datetime) -> Sequence[str]:
        """Return the ids of the tenants for which `unfinished_revocations` returns decisions."""

    async def unfinished_revocations(self, tenant: str, older_than: datetime, limit: int) -> Sequence[UserRevocation]:
        """Return unfinished decisions about the tenant's users made before `older_than`, the oldest first."""

    async def remove_all(self, tenant: str) -> None:
        """Remove all users of a tenant that is being deleted and whose sessions are revoked."""
