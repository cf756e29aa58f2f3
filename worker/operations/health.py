"""The operations `health.<lane>`."""

from shared.contracts.health import HealthReply, HealthRequest
from worker.domain.call import Call
from worker.domain.ports import Ports


async def health(_request: HealthRequest, _: Call, ports: Ports) -> HealthReply:
    """Return whether the database replies. The reply itself shows that a worker serves the lane."""
    return HealthReply(database=await ports.database.ping())
