"""The proofs that permit the operations that need no permission of the caller's credential."""

from typing import Any

from .operation import Operation

#: The proof for each operation that needs no permission, by its name.
OTHER_PROOFS: dict[str, str] = {
    "principal.get": "any valid credential reads its own permissions",
    "oauth.token": "the API key that it exchanges is the proof",
    "tenant.register": "the client's network or the registration key permits it",
    "tenant.login": "the tenant's password is the proof",
    "tenant.verify": "the tenant token that it verifies is the proof",
    "tenant.logout": "the tenant token that it revokes is the proof",
    "tenant.update": "the tenant's own token and its password are the proof",
    "tenant.disable": "the tenant's own token and its password, or the registration key, are the proof",
    "tenant.enable": "the registration key is the proof",
    "tenant.delete": "the tenant's own token and its password, or the registration key, are the proof",
    "operator.logout": "the operator's token that it revokes is the proof",
    "operator.set_password": "the operator's token and its password are the proof",
    "tenant.complete_reset": "the code from an operator is the proof",
    "health.verify": "it shows no data",
    "health.manage": "it shows no data",
    "health.password": "it shows no data",
}


def sentence_of(operation: Operation[Any, Any], *, by_operator: bool = False) -> str:
    """Return the sentence of the documentation that says what an operation needs.

    `by_operator`: an operator's token is the proof, in place of what other callers show.
    """
    if by_operator:
        return f"Needs the permission `{operation.of_operator}`."
    if operation.permission is None:
        return f"Needs no permission: {OTHER_PROOFS[operation.name]}."
    if operation.also_needs is not None:
        return f"Needs the permissions `{operation.permission}` and `{operation.also_needs}`."
    return f"Needs the permission `{operation.permission}`."
