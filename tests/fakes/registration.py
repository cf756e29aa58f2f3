"""A fake of the port for registration: in memory, held to the contract suite of the real one."""

from tests.fakes.values import REGISTRATION_KEY


class FakeRegistration:
    """Implements the port `Registration`. `asked` holds the keys and addresses that were shown to it.

    With `allowed` anybody may register from anywhere; without, only the holder of the key.
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
