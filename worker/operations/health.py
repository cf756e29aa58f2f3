"""health.<lane>"""

from shared.contracts.health import HealthReply, HealthRequest
from worker.domain.call import Call
from worker.domain.ports import Ports


async def health(_request: HealthRequest, _: Call, ports: Ports) -> HealthReply:
    """That this is answered at all says the worker lives; the rest is whether its database does."""
    return HealthReply(database=await ports.database.ping())
