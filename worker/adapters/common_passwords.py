"""Common passwords, which attackers try first: the ranked dictionaries of zxcvbn.

They hold the most frequent passwords, words and names. zxcvbn's strength estimator is not used: 256
characters chosen for that kept it busy for 39 seconds.
"""

from collections import ChainMap
from collections.abc import Set as AbstractSet


def common_passwords() -> AbstractSet[str]:
    """Return the common passwords, in lower case.

    Loads zxcvbn, which takes 12 MB and about 0.2 seconds. Workers without the password lane do not
    call this.
    """
    from zxcvbn.matching import RANKED_DICTIONARIES  # noqa: PLC0415 - see above

    return ChainMap(*RANKED_DICTIONARIES.values()).keys()
