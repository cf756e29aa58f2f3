"""Fake of the `Database` port."""


class FakeDatabase:
    """Implements the port `Database`."""

    def __init__(self, *, answers: bool = True) -> None:
        self._answers = answers

    async def ping(self) -> bool:
        return self._answers
