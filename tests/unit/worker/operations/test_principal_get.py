"""principal.get"""

import pytest

from shared.contracts.errors import InvalidTenantToken
from shared.contracts.permissions import TENANT_PERMISSIONS
from shared.contracts.principal_get import PRINCIPAL_GET, CredentialKind
from shared.contracts.tenant_logout import TENANT_LOGOUT
from tests.unit.worker.in_memory import InMemoryWorker


async def test_a_tenant_token_has_every_permission_of_its_tenant(worker: InMemoryWorker, shop: str) -> None:
    session = await worker.session_of(shop)
    principal = await worker.call(PRINCIPAL_GET, tenantToken=shop)
    assert (principal.credential, principal.tenant) == (CredentialKind.TENANT_TOKEN, session.tenant)
    assert (principal.session_id, principal.login) == (session.id, "tenant:shop@example.com")
    assert set(principal.permissions) == TENANT_PERMISSIONS
    assert principal.exp == int(session.expires_at.timestamp())


async def test_a_revoked_credential_is_refused(worker: InMemoryWorker, shop: str) -> None:
    await worker.call(TENANT_LOGOUT, token=shop)
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=shop)
