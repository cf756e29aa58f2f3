"""Accounts with the state of each session as the service acknowledged it to callers."""

import base64
import json
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Fate(Enum):
    LIVE = auto()
    """The login was answered, and no revocation was requested."""
    ENDED = auto()
    """The revocation was acknowledged."""
    UNKNOWN = auto()
    """The revocation was requested, and its outcome is unknown."""


class Unsure(Enum):
    """The change whose outcome is unknown. Such an account is not used until it is audited."""

    CREATION = auto()
    PASSWORD = auto()
    REVOCATION = auto()
    DELETION = auto()


@dataclass
class Account:
    """A user as its tenant knows it."""

    login: str
    password: str
    deleted: bool = False
    unsure: Unsure | None = None
    new_password: str | None = None
    """The password after a change whose outcome is unknown."""
    sessions: dict[str, Fate] = field(default_factory=dict)
    """By token."""

    def live(self) -> list[str]:
        return [token for token, fate in self.sessions.items() if fate is Fate.LIVE]

    def end_all(self) -> None:
        self.sessions = dict.fromkeys(self.sessions, Fate.ENDED)


def session_id(token: str) -> str:
    """Return the session id that a token claims."""
    return str(claims(token)["jti"])


def claims(token: str) -> dict[str, Any]:
    """Return the unverified claims of a token."""
    payload = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return decoded
