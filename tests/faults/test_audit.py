"""Tests of the audit itself."""

import base64
import json

import pytest

from shared.contracts.errors import InvalidCredentials, InvalidToken
from tests.faults.accounts import Account, Fate, Unsure
from tests.faults.audit import Inspection

OLD, NEW = "the old password", "the new password"


class FakeTenant:
    """A service with these valid passwords and live tokens."""

    def __init__(self, passwords: set[str], tokens: set[str]) -> None:
        self._passwords = passwords
        self._tokens = tokens

    async def create(self, login: str, password: str) -> None:  # noqa: ARG002 - the signature of the protocol
        self._passwords.add(password)

    async def login(self, login: str, password: str) -> str:
        if password not in self._passwords:
            raise InvalidCredentials
        return token(f"{login}'s newest")

    async def verify(self, token: str) -> None:
        if token not in self._tokens:
            raise InvalidToken


def token(session: str) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"jti": session}).encode()).decode().rstrip("=")
    return f"header.{claims}.signature"


A, B = token("a"), token("b")


@pytest.mark.parametrize(
    ("account", "passwords", "tokens", "reported"),
    [
        (Account("ann", OLD, sessions={A: Fate.LIVE, B: Fate.ENDED}), {OLD}, {A}, []),
        (Account("ann", OLD, sessions={A: Fate.LIVE}), {OLD}, set(), ["is lost without"]),
        (Account("ann", OLD, sessions={A: Fate.ENDED}), {OLD}, {A}, ["is live again"]),
        (Account("ann", OLD, sessions={A: Fate.UNKNOWN}), {OLD}, {A}, []),
        (Account("ann", OLD, sessions={A: Fate.UNKNOWN}), {OLD}, set(), []),
        (Account("ann", OLD), set(), set(), ["user is lost"]),
        (Account("ann", OLD, deleted=True), {OLD}, set(), ["user is back"]),
        (Account("ann", OLD, unsure=Unsure.PASSWORD, new_password=NEW), {OLD, NEW}, set(), ["both passwords"]),
        (Account("ann", OLD, unsure=Unsure.PASSWORD, new_password=NEW), set(), set(), ["neither password"]),
        (Account("ann", OLD, False, Unsure.PASSWORD, NEW, {A: Fate.LIVE}), {NEW}, {A}, ["lives on after"]),
        (Account("ann", OLD, False, Unsure.PASSWORD, NEW, {A: Fate.LIVE}), {OLD}, set(), ["is lost without"]),
        (Account("ann", OLD, False, Unsure.PASSWORD, NEW, {A: Fate.LIVE}), {NEW}, set(), []),
        (Account("ann", OLD, False, Unsure.DELETION, None, {A: Fate.LIVE}), set(), {A}, ["lives on after"]),
        (
            Account("ann", OLD, False, Unsure.REVOCATION, None, {A: Fate.LIVE, B: Fate.LIVE}),
            {OLD},
            {A},
            ["is lost"],
        ),
    ],
)
async def test_inspection_reports_only_contradictions_of_acknowledgements(
    account: Account, passwords: set[str], tokens: set[str], reported: list[str]
) -> None:
    inspection = Inspection(FakeTenant(passwords, tokens))
    await inspection.inspect([account])
    assert len(inspection.violations) == len(reported), inspection.violations
    for text, violation in zip(reported, inspection.violations, strict=True):
        assert text in violation
