"""A program that calls the client with misspelled arguments, for type checkers."""

#: Each line with `# typo` is an error to a type checker, and no other line is.
PROGRAM = """\
from jincor_auth_client import AuditRecord, AuthClient, Scope, ServiceCredentialsRejected
from jincor_auth_client.asgi import ServiceAuth
from jincor_auth_client.fastapi import FastApiAuth


async def administer(auth: AuthClient, scope: Scope, rights: dict[str, str]) -> AuditRecord:
    await auth.users.create("ann", "correct horse", email="ann@example.com", scope="read", sub="7")
    await auth.users.create("ann", "correct horse", email="ann@example.com", scope=rights)
    await auth.users.create("ann", "correct horse", email="ann@example.com", scop="read")  # typo
    await auth.users.update("ann", scope=None, unlock=True)
    await auth.users.update("ann", scope={"notes": ["read"]})
    await auth.users.update("ann", pasword="correct horse")  # typo
    await auth.users.update("ann", unlock="yes")  # typo
    await auth.login("ann", "correct horse", device_id="laptop", client_adress="192.0.2.1")  # typo
    page = await auth.audit(login="ann", type="auth.login", since=0)
    await auth.audit(logn="ann")  # typo
    await auth.tenant.register("a@example.com", "correct horse", registration_kee="key")  # typo
    return page.records[0]


async def connect(url: str) -> None:
    async with AuthClient.connect(url, email="a@example.com", password="correct horse", nam="notes"):  # typo
        pass
    FastApiAuth(url, email="a@example.com", password="correct horse", max_age=3)  # typo
    ServiceAuth(url, email="a@example.com", pasword="correct horse")  # typo


def code_of(error: ServiceCredentialsRejected) -> str:
    return error.code
"""


def typo_lines() -> list[int]:
    """Return the numbers of the lines with errors."""
    return [number for number, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# typo")]
