"""The blocks of an event stream (HTML, 9.2.6)."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.contracts.events import SessionRevokedEvent


@dataclass(frozen=True, slots=True)
class Block:
    """The fields of a block."""

    id: str | None = None
    event: str | None = None
    data: str | None = None
    retry: str | None = None
    comment: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Block":
        fields = dict(line.split(": ", 1) for line in text.splitlines())
        if "" in fields:
            fields["comment"] = fields.pop("")
        return cls(**fields)


def sessions_of(blocks: Iterable[Block]) -> list[str]:
    """Return the revoked sessions that these blocks announce."""
    events = [SessionRevokedEvent.model_validate_json(block.data) for block in blocks if block.data is not None]
    return [event.data.session_id for event in events]
