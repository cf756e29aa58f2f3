"""Which passwords may be chosen: how long they are at least, and which ones are refused. Anything may be in them."""

import unicodedata

from pydantic import SecretStr

from shared.contracts.errors import FieldProblem, InvalidRequest
from shared.contracts.wire import MAX_PASSWORD_CHARS
from worker.domain.ports import Ports


def chosen(password: SecretStr, login: str, email: str, ports: Ports) -> str:
    """A password that its owner may have. Raises `InvalidRequest`.

    NIST SP 800-63B-4, 3.1.1.2: neither a common one nor one that follows from the account's names. Looked up whole: a
    rule about parts would refuse good ones. At a login nothing of this is asked, or who has such a password already
    would be locked out.
    """
    choice = password.get_secret_value()
    if len(choice) < ports.min_password_chars:  # the contract knows the least that may be configured
        raise _refusal(f"must have {ports.min_password_chars} to {MAX_PASSWORD_CHARS} characters")
    comparable = _comparable(choice)
    if comparable in {_comparable(name) for name in (login, email, email.partition("@")[0])}:
        raise _refusal("must not be the login, the email or the part of it before the @")
    if comparable in ports.common_passwords:
        raise _refusal("must not be a common password")
    return choice


def _comparable(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _refusal(message: str) -> InvalidRequest:
    return InvalidRequest(problems=[FieldProblem(field="password", message=message)])
