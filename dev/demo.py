from pathlib import Path


async def demo(directory: Path) -> None:
    raise NotImplementedError
