"""Fake of the `Registration` port."""

from tests.fakes.values import REGISTRATION_KEY


class FakeRegistration:
    """Implements the port `Registration`. `asked` holds the keys and addresses that it was called with.

    With `allowed`, every address may register a tenant; otherwise only the holder of the key.
    """

    def __init__(self, *, allowed: bool = True, has_key: bool = True) -> None:
        self.asked: list[str | None] = []
        self.has_key = has_key
        self.allowed = allowed

    def admits(self, address: str | None) -> bool:
        self.asked.append(address)
        return self.allowed

    def is_key(self, key: str) -> bool:
        self.asked.append(key)
        return self.has_key and key == REGISTRATION_KEY
