"""The life of a token as one service sees it, for a Python with only the distribution installed.

python life_of_a_token.py AMQP_URL REGISTRATION_KEY
"""

import asyncio
import secrets
import sys

from jincor_auth_client import AuthClient, Claims, InvalidToken, RevocationReason, SessionRevokedEvent

PASSWORD = "correct horse battery"
PATIENCE_SECONDS = 30


async def main(url: str, registration_key: str) -> None:
    email = f"{secrets.token_hex(6)}@client.test"
    async with AuthClient.connect(url, anonymous=True, name="first") as first:
        await first.tenant.register(email, PASSWORD, registration_key=registration_key)
        await first.users.create("ann", PASSWORD, email="ann@users.test", scope="notes:read")

    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        AuthClient.connect(url, email=email, password=PASSWORD, name="second") as auth,
        auth.verifier(max_age_seconds=30) as verifier,
    ):
        assert await verifier.wait_trusted(PATIENCE_SECONDS)
        token = await auth.login("ann", PASSWORD, device_id="laptop")
        claims: Claims = await verifier.verify(token)
        assert claims.login == "ann"
        assert await verifier.verify(token) == claims
        assert (await auth.introspect(token)).active

        received = asyncio.create_task(next_revocation(auth))
        ended = asyncio.create_task(verifier.until_ended(token))
        await auth.logout(token)
        await ended
        try:
            await verifier.verify(token)
        except InvalidToken:
            pass
        else:
            raise AssertionError("the token is still accepted")
        # The subscription may begin after the event; then it receives the next one.
        while not received.done():
            await auth.logout(await auth.login("ann", PASSWORD, device_id="laptop"))
            await asyncio.wait({received}, timeout=1)
        assert received.result().data.reason == RevocationReason.LOGOUT


async def next_revocation(auth: AuthClient) -> SessionRevokedEvent:
    return await anext(aiter(auth.revocations()))


asyncio.run(main(*sys.argv[1:]))
