"""An edge with an additional route that does the work of a verification at the edge, without calling a worker.

Apart from that, `python -m bench.edge` is `python -m api`. The route is FastAPI's, with the middleware, dependencies,
body and response of a verification. Unlike `POST /auth/verify` it has no plain path.
"""

from typing import Final

from fastapi import Response

from api.__main__ import main
from api.dependencies import Authenticated, EdgeVerifier
from api.messages import to_response
from api.routes import auth
from shared.contracts.auth_verify import VerifyCheck
from shared.contracts.claims import Claims
from shared.process.logging import request_id

FLOOR_PATH: Final = "/auth/without-worker"
#: As long as the claims in a worker's reply.
CLAIMS: Final = Claims(
    iss="jincor-auth",
    aud="mBoTqvb9kCJwQPRyzHnY",
    sub="ann@example.com",
    iat=1_795_363_200,
    exp=1_795_968_000,
    jti="8kQx0pEoZk3mYv9wKq2rTs5uBn7cDf1g",
    id="Zt3sYQkXbW9aVfGhJmPq",
    login="ann",
    tenant="mBoTqvb9kCJwQPRyzHnY",
    device_id="bench",
)


# On the router of the real route, so that routing takes as long.
@auth.router.post(FLOOR_PATH.removeprefix("/auth"), include_in_schema=False)
async def verify_nobody(body: auth.AuthVerifyBody, caller: Authenticated, _: EdgeVerifier) -> Response:
    """Do what `verify_user` does, with constant claims."""
    VerifyCheck(**caller, token=body.token, request_id=request_id.get())
    return to_response(auth.AuthVerified(decoded=CLAIMS))


if __name__ == "__main__":
    main()
