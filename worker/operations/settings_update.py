"""The operation `settings.update`."""

from shared.contracts.settings import TenantSettings
from shared.contracts.settings_update import SETTINGS_UPDATE, SettingsUpdateRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import principal_of


async def settings_update(request: SettingsUpdateRequest, call: Call, ports: Ports) -> TenantSettings:
    """Write the settings that the request names, and return all. A retry does not undo later changes."""
    principal = await principal_of(SETTINGS_UPDATE, request, call, ports)
    changes = request.settings.model_dump(exclude_unset=True, by_alias=False)
    key = idempotency_key_of(SETTINGS_UPDATE, call, ports, [principal.tenant, changes])
    tenant = await ports.tenants.change_settings(principal.tenant, changes, key)
    facts = call.audit_facts
    facts.tenant, facts.login = tenant.id, tenant.login
    facts.changed = tuple(sorted(request.settings.model_dump(exclude_unset=True)))
    return tenant.settings
