"""Which `mongos` a worker uses if MONGO_URL names several."""

from collections.abc import Sequence

from pymongo.server_description import ServerDescription

ROUTER = "Mongos"


def one_router(servers: Sequence[ServerDescription]) -> Sequence[ServerDescription]:
    """Return one of the usable servers if they are routers, the same one as long as it is usable.

    A router may not know yet that a shard has a new primary. So the confirmation of one router says
    nothing about the answers of another (`primary_lease`). Processes choose different routers,
    because Python salts hashes of strings in each.
    """
    if not servers or servers[0].server_type_name != ROUTER:
        return servers
    return [min(servers, key=lambda server: hash(str(server.address)))]
