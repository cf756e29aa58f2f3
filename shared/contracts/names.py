"""The Unicode form of logins, and the logins that no new account may have.

If two accounts of a tenant look the same, one user can pass for the other. So a new login is in
Unicode Normalization Form C (NFC) and has no invisible code points. RFC 8265 (usernames) gives the
reasons and forbids more (docs/decisions/0031).
"""

import re
import unicodedata

#: Default_Ignorable_Code_Point of DerivedCoreProperties.txt in Unicode 17.0: code points that a
#: display leaves out, such as U+FE0F after a letter. Reserved ranges are included before they are
#: assigned.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
#: Prefix of every tenant's login in tokens, events and the audit trail.
RESERVED_PREFIX = "tenant:"


def nfc(login: str) -> str:
    """Return the login in NFC, the form of new logins: `é` is one code point, however it is
    typed."""
    return unicodedata.normalize("NFC", login)


def nfd(login: str) -> str:
    """Return the login in NFD, the form that some systems type: `é` is two code points."""
    return unicodedata.normalize("NFD", login)


def has_ignorable(text: str) -> bool:
    """Return whether the text has invisible code points."""
    return _IGNORABLE.search(text) is not None


def is_reserved(login: str) -> bool:
    """Return whether the login looks like a tenant's, in any case and width."""
    return unicodedata.normalize("NFKC", login).casefold().startswith(RESERVED_PREFIX)


def displayed_form(login: str) -> str:
    """Return the login as displayed: in NFC, without leading and trailing spaces and invisible code
    points."""
    return nfc(_IGNORABLE.sub("", login)).strip(" ")
