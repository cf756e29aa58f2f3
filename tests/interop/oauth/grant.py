"""Find the server's endpoints and get an access token by client credentials, with Authlib. Prints the results as JSON.

Usage: grant.py METHOD, with URL, CLIENT, SECRET, SCOPE and TOKEN in the environment.
"""

import json
import os
import sys

from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import OAuth2Client  # type: ignore[import-untyped]
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url  # type: ignore[import-untyped]

URL, SCOPE, TOKEN = (os.environ[name] for name in ("URL", "SCOPE", "TOKEN"))
method = f"client_secret_{sys.argv[1]}"
results = []
with OAuth2Client(os.environ["CLIENT"], os.environ["SECRET"], token_endpoint_auth_method=method, scope=SCOPE) as client:
    metadata = AuthorizationServerMetadata(
        client.request("GET", get_well_known_url(URL, external=True), withhold_token=True).json()
    )
    assert metadata["issuer"] == URL
    assert method in metadata["token_endpoint_auth_methods_supported"]
    metadata.validate_grant_types_supported()
    metadata.validate_scopes_supported()
    try:
        results.append(client.fetch_token(metadata["token_endpoint"], grant_type="client_credentials"))
    except OAuthError as error:
        results.append({"error": error.error})
    response = client.introspect_token(metadata["introspection_endpoint"], token=TOKEN)
    results.append(response.json())
json.dump(results, sys.stdout)
