"""What a worker's sweeps do every second or two, once, when a test wants it."""

from worker.domain.ports import Ports
from worker.sweeper import Sweeper, Unannounced


async def sweep(ports: Ports) -> tuple[int, Unannounced]:
    """How many endings a worker that has just started finished, and what it then found unannounced."""
    sweeper = Sweeper(ports)
    return await sweeper.finish(), await sweeper.announce()
