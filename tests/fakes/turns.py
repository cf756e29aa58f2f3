"""Fake of the `Turns` port."""

from worker.domain.call import Call


class FakeTurns:
    """Implements the port `Turns` without waiting. `entered` holds the group of each request, in order."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.left = 0

    async def enter(self, group: str, call: Call) -> None:  # noqa: ARG002 - the port's signature
        self.entered.append(group)

    def leave(self) -> None:
        self.left += 1
