"""The operation `settings.get`."""

from shared.contracts.settings import TenantSettings
from shared.contracts.settings_get import SETTINGS_GET, SettingsGetRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.tenant_authority import tenant_of


async def settings_get(request: SettingsGetRequest, call: Call, ports: Ports) -> TenantSettings:
    """Return the tenant's settings, without those that have their default."""
    principal = await principal_of(SETTINGS_GET, request, call, ports)
    return (await tenant_of(principal.tenant, ports)).settings
