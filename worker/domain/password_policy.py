"""The password policy: a minimum length and refused passwords. Any characters are allowed."""

import unicodedata

from pydantic import SecretStr

from shared.contracts.errors import FieldProblem, InvalidRequest
from shared.contracts.wire import MAX_PASSWORD_CHARS
from worker.domain.ports import Ports


def accepted_password(password: SecretStr, login: str, email: str, ports: Ports) -> str:
    """Return a new password that the policy accepts. Raises `InvalidRequest`.

    NIST SP 800-63B-4, 3.1.1.2: refuses common passwords and those equal to a name of the account.
    Only the whole password is compared: a rule about parts would refuse good passwords. Not checked
    at login, so that existing passwords keep working.
    """
    text = password.get_secret_value()
    if len(text) < ports.min_password_chars:  # the contract enforces only the lowest minimum that can be configured
        raise _refusal(f"must have {ports.min_password_chars} to {MAX_PASSWORD_CHARS} characters")
    comparable = _comparable(text)
    if comparable in {_comparable(name) for name in (login, email, email.partition("@")[0])}:
        raise _refusal("must not be the login, the email or the part of the email before the @")
    if comparable in ports.common_passwords:
        raise _refusal("must not be a common password")
    return text


def _comparable(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _refusal(message: str) -> InvalidRequest:
    return InvalidRequest(problems=[FieldProblem(field="password", message=message)])
