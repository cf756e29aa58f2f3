"""health.<lane>"""

from shared.contracts.health import HealthReply, HealthRequest
from worker.call import Call
from worker.ports import Ports


async def health(_request: HealthRequest, _: Call, ports: Ports) -> HealthReply:
    """That this is answered at all says the worker lives; the rest is whether its database does."""
    return HealthReply(database=await ports.database.ping())
