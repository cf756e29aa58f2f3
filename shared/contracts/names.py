"""How logins are spelled: one form for accounts that look alike, and what no new account is called.

Two accounts of one tenant that people cannot tell apart let one of them pass for the other. So a new login is in
Unicode Normalization Form C, and holds nothing that is not displayed. RFC 8265 (usernames) has the reasons, and forbids
more (docs/decisions/0031).
"""

import re
import unicodedata

#: Unicode's DerivedCoreProperties.txt, Default_Ignorable_Code_Point: what a display leaves out, such as U+FE0F after a
#: letter. As of Unicode 17.0; ranges that are reserved for such characters belong to it before those are assigned.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
#: The beginning of every tenant's login, in tokens, events and the audit trail.
RESERVED_PREFIX = "tenant:"


def nfc(login: str) -> str:
    """Return the login in NFC, the form of new accounts: `é` is one character, however it is typed."""
    return unicodedata.normalize("NFC", login)


def nfd(login: str) -> str:
    """Return the login in NFD, as some systems type it: `é` as two characters."""
    return unicodedata.normalize("NFD", login)


def has_ignorable(text: str) -> bool:
    """Return whether the text holds code points that are not displayed."""
    return _IGNORABLE.search(text) is not None


def is_reserved(login: str) -> bool:
    """Return whether the login looks like that of a tenant, in any case and width."""
    return unicodedata.normalize("NFKC", login).casefold().startswith(RESERVED_PREFIX)


def displayed_form(login: str) -> str:
    """Return what is left of a login when it is displayed: in NFC, without outer spaces and ignorable code points."""
    return nfc(_IGNORABLE.sub("", login)).strip(" ")
