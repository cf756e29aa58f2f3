"""How long a cached verification is valid: as long as the user's session and the caller's credential."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from ..amqp.verification_batcher import Verified
from ..contracts.auth_verify import CallerSession
from ..contracts.claims import TENANT_TYPE

#: The header of a tenant token has about 100 characters. A longer one may be nested too deeply to parse.
MAX_HEADER_CHARS = 256


@dataclass(frozen=True, slots=True)
class Validity:
    """How long a cached answer is valid: until one of these sessions is revoked, and until
    `expires_at`, in seconds since the epoch."""

    sessions: tuple[str, ...]
    expires_at: float


def validity_of(credential: str, verified: Verified) -> Validity | None:
    """Return how long the answer to a caller with this credential is valid.

    A worker has just accepted the credential. None means that the answer must not be cached, since it does not tell
    what it depends on.
    """
    caller = verified.caller or _session_of(credential)
    if caller is None:
        return None
    claims = verified.claims
    return Validity((claims.jti, caller.session_id), min(claims.exp, caller.exp))


def is_tenant_token(credential: str) -> bool:
    """Return whether the credential has the form of a tenant token. Its signature is not verified."""
    header, _, _ = credential[: MAX_HEADER_CHARS + 1].partition(".")
    try:
        return len(header) <= MAX_HEADER_CHARS and _decoded(header)["typ"] == TENANT_TYPE
    except (ValueError, LookupError, TypeError):
        return False


def _session_of(tenant_token: str) -> CallerSession | None:
    """Return the session of a tenant token that a worker has accepted, or None for any other credential."""
    if not is_tenant_token(tenant_token):
        return None
    payload = _decoded(tenant_token.split(".")[1])
    return CallerSession(session_id=payload["jti"], exp=payload["exp"])


def _decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
