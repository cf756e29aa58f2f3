"""Storing a user's new password, together with the decision to revoke all its sessions."""

from typing import Any

from shared.contracts.errors import BadRequest, UserNotFound
from shared.contracts.events import RevocationReason
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import IdempotencyKey, StoredUser, UserChanges
from worker.domain.session_revocation import revoke_all_sessions
from worker.domain.tokens import user_of


async def store_new_password(
    tenant: str, login: str, password: str, call: Call, ports: Ports, *, key: IdempotencyKey, fields: dict[str, Any]
) -> StoredUser:
    """Store the accepted password and other new attributes, and revoke all sessions of the user.

    Returns the user as stored afterwards. A retried request writes nothing. Raises `UserNotFound`, and `BadRequest`
    if another request with the same idempotency key stored another password.
    """
    changes = UserChanges(fields, await ports.hasher.hash(password))
    reason = RevocationReason.PASSWORD_CHANGED
    decision = await revoke_all_sessions(tenant, login, reason, call, ports, key=key, changes=changes)
    changed = await user_of(tenant, login, ports)
    if changed.id != decision.user:  # the changed user was deleted since, and another has the login
        raise UserNotFound
    superseded = changed.generation > decision.generation
    # Another hash: an earlier delivery of this request stored it, or this is another request with
    # the same idempotency key. Keys do not contain passwords, so the password is verified.
    stored_now = changed.password_hash == changes.password_hash
    if not (superseded or stored_now or await ports.hasher.verify(changed.password_hash, password)):
        raise BadRequest("message_id is already used by another request")
    return changed
