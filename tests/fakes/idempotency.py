"""What a request left behind, as the fakes of tenants and users remember it."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.contracts.events import RevocationReason
from worker.domain.records import (
    IdempotencyKey,
)


@dataclass(frozen=True)
class _Left:
    """A mark as a request has left it, with the generation that the request decided."""

    key: IdempotencyKey
    generation: int | None = None
    reason: RevocationReason | None = None
    users_before: int = 0


def _left_by(marks: Iterable[_Left], key: IdempotencyKey) -> _Left | None:
    fresh = (left for left in marks if left.key.at > key.valid_after)
    return next((left for left in fresh if left.key.value == key.value), None)
