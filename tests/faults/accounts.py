"""What callers were told, and so may rely on: accounts, with the fate of each session as it was acknowledged."""

import base64
import json
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Fate(Enum):
    LIVE = auto()
    """Its login was answered, and nobody asked for its end."""
    ENDED = auto()
    """Its end was answered for."""
    UNKNOWN = auto()
    """Its end was asked for, and the answer was neither yes nor no."""


class Unsure(Enum):
    """The change whose outcome nobody knows: such an account is left alone until it is audited."""

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
    """What it may have instead, if the change of its password is what nobody is sure of."""
    sessions: dict[str, Fate] = field(default_factory=dict)
    """By token."""

    def live(self) -> list[str]:
        return [token for token, fate in self.sessions.items() if fate is Fate.LIVE]

    def end_all(self) -> None:
        self.sessions = dict.fromkeys(self.sessions, Fate.ENDED)


def session_id(token: str) -> str:
    """The id that a token claims for its session."""
    return str(claims(token)["jti"])


def claims(token: str) -> dict[str, Any]:
    """What a token says, unproven."""
    payload = token.split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return said
