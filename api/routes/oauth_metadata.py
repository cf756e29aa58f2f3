"""Route of the OAuth 2.0 server metadata (RFC 8414), which exists only with `AUTH_PUBLIC_URL`."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from api.dependencies import PublicUrl
from api.oauth_clients import AUTHENTICATION_METHODS, CLIENT_CREDENTIALS
from shared.contracts.permissions import TENANT_PERMISSIONS
from shared.contracts.token_introspect import BEARER

router = APIRouter(tags=["Credentials"])

PATH = "/.well-known/oauth-authorization-server"
#: The document is public: pages of any origin and any cache may read it. A change reaches them within an hour.
PUBLIC = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600"}


class ServerMetadata(BaseModel):
    """The members of RFC 8414, 2, that apply."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    issuer: str
    """The URL of this service. The `iss` of tokens is another name, which only this service reads."""
    token_endpoint: str
    introspection_endpoint: str
    revocation_endpoint: str
    response_types_supported: list[str] = []
    """Empty: there is no authorization endpoint. The standard requires the member."""
    grant_types_supported: list[str] = [CLIENT_CREDENTIALS]
    token_endpoint_auth_methods_supported: list[str] = [*AUTHENTICATION_METHODS]
    introspection_endpoint_auth_methods_supported: list[str] = [*AUTHENTICATION_METHODS, BEARER]
    revocation_endpoint_auth_methods_supported: list[str] = [*AUTHENTICATION_METHODS]
    scopes_supported: list[str] = sorted(TENANT_PERMISSIONS)
    """The permissions that API keys and access tokens may have."""


@router.get(PATH, operation_id="oauth.metadata", response_model=ServerMetadata)
async def get_metadata(public_url: PublicUrl) -> Response:
    """Return where OAuth 2.0 clients find the endpoints, and what these support."""
    metadata = ServerMetadata(
        issuer=public_url,
        token_endpoint=f"{public_url}/oauth/token",
        introspection_endpoint=f"{public_url}/introspect",
        revocation_endpoint=f"{public_url}/revoke",
    )
    return Response(metadata.model_dump_json(), headers=PUBLIC, media_type="application/json")
