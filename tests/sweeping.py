"""A single run of a worker's sweeps."""

from worker.domain.ports import Ports
from worker.sweeper import Sweeper, Unannounced


async def sweep(ports: Ports) -> tuple[int, Unannounced]:
    """Return how many decisions a new worker finished, and what it then found unannounced."""
    sweeper = Sweeper(ports)
    return await sweeper.finish(), await sweeper.announce()
