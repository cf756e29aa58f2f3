"""Idempotency keys as the fakes of tenants and users store them."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.contracts.events import RevocationReason
from worker.domain.records import (
    IdempotencyKey,
)


@dataclass(frozen=True)
class _AppliedKey:
    """The key of an applied request, with the decision that the request made."""

    key: IdempotencyKey
    generation: int | None = None
    reason: RevocationReason | None = None
    users_before: int = 0
    keys_before: int = 0


def _find_applied(keys: Iterable[_AppliedKey], key: IdempotencyKey) -> _AppliedKey | None:
    fresh = (each for each in keys if each.key.at > key.valid_after)
    return next((each for each in fresh if each.key.value == key.value), None)
