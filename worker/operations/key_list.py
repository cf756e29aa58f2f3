"""The operation `key.list`."""

from shared.contracts.key_create import MAX_KEYS
from shared.contracts.key_list import KEY_LIST, KeyListReply, KeyListRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.views import public_key


async def key_list(request: KeyListRequest, call: Call, ports: Ports) -> KeyListReply:
    """Return the live API keys of the tenant."""
    tenant = (await principal_of(KEY_LIST, request, call, ports)).tenant
    live = await ports.sessions.live_keys(tenant, ports.clock.now(), MAX_KEYS)
    return KeyListReply(keys=tuple(public_key(session) for session in live))
