"""A fake of the port for turns: in memory, held to the contract suite of the real one."""

from worker.domain.call import Call


class FakeTurns:
    """Implements the port `Turns`: it is always everybody's turn. `entered` holds whose requests have come."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.left = 0

    async def enter(self, group: str, call: Call) -> None:  # noqa: ARG002 - as the port has it
        self.entered.append(group)

    def leave(self) -> None:
        self.left += 1
