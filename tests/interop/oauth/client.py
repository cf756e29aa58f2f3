"""Revoke a token and introspect it before and after, with Authlib. Prints the three results as JSON.

Usage: client.py METHOD, with URL, SECRET and TOKEN in the environment.
"""

import json
import os
import sys

from authlib.integrations.httpx_client import OAuth2Client  # type: ignore[import-untyped]

URL, TOKEN = os.environ["URL"], os.environ["TOKEN"]
method = {} if sys.argv[1] == "default" else {"token_endpoint_auth_method": f"client_secret_{sys.argv[1]}"}
results = []
with OAuth2Client("gateway", os.environ["SECRET"], **method) as client:
    for call, path in (
        (client.introspect_token, "/introspect"),
        (client.revoke_token, "/revoke"),
        (client.introspect_token, "/introspect"),
    ):
        response = call(URL + path, token=TOKEN)
        document = response.json()
        refused = {"error": document["error"], "status": response.status_code} if response.is_error else None
        results.append(refused or ("done" if path == "/revoke" else document))
json.dump(results, sys.stdout)
