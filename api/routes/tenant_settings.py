"""Routes of a tenant's settings."""

from fastapi import APIRouter, Response

from api.bodies import JsonBodyRoute
from api.dependencies import AuthenticatedOnTenant, Workers
from api.messages import to_response
from api.openapi import documented
from shared.contracts.settings_get import SETTINGS_GET, SettingsGetRequest
from shared.contracts.settings_update import SETTINGS_UPDATE, SettingsPatch, SettingsUpdateRequest

router = APIRouter(prefix="/settings", tags=["Tenants"], route_class=JsonBodyRoute)


@router.get("", **documented(SETTINGS_GET))
async def get_settings(caller: AuthenticatedOnTenant, workers: Workers) -> Response:
    """Return the tenant's settings. A setting that is absent has its default."""
    reply = await workers.call(SETTINGS_GET, SettingsGetRequest(**caller))
    return to_response(reply)


@router.patch("", **documented(SETTINGS_UPDATE))
async def update_settings(body: SettingsPatch, caller: AuthenticatedOnTenant, workers: Workers) -> Response:
    """Change the given settings (RFC 7396); null restores a default. An unknown setting is answered 422."""
    reply = await workers.call(SETTINGS_UPDATE, SettingsUpdateRequest(**caller, settings=body))
    return to_response(reply)
