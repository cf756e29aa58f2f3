"""Who may register a tenant: holders of the key, and addresses in the networks."""

from ipaddress import ip_network

import pytest

from worker.adapters.registration_policy import RegistrationPolicy

NETWORKS = [ip_network("10.1.0.0/16"), ip_network("2001:db8::/32")]


@pytest.mark.parametrize(
    ("key", "address", "allowed"),
    [
        ("right", None, True),
        ("right", "203.0.113.1", True),
        (None, "10.1.2.3", True),
        (None, "2001:db8::1", True),
        ("wrong", "10.1.2.3", True),
        ("wrong", None, False),
        ("wrong", "203.0.113.1", False),
        ("", None, False),
        ("righ", None, False),
        ("right ", None, False),
        ("ключ 🔑", None, False),
        (None, "10.2.0.1", False),
        (None, "2001:db9::1", False),
        (None, None, False),
    ],
)
def test_key_or_network_opens(key: str | None, address: str | None, *, allowed: bool) -> None:
    """Either is enough."""
    policy = RegistrationPolicy(NETWORKS, "right")
    assert (policy.admits(address) or (key is not None and policy.is_key(key))) is allowed


@pytest.mark.parametrize("key", [None, "", "any"])
def test_nobody_may_unless_configured(key: str | None) -> None:
    """Without a key and without networks there is no way in."""
    policy = RegistrationPolicy([], None)
    assert not policy.admits(None)
    assert not policy.admits("127.0.0.1")
    assert not policy.is_key(key or "")
    assert not policy.has_key
    assert RegistrationPolicy([], "right").has_key


@pytest.mark.parametrize(("key", "wrong"), [("right", ["right", "wrong"]), (None, [])])
def test_wrong_keys_are_counted(key: str | None, wrong: list[str]) -> None:
    """Each that is shown; where there is no key, nobody can guess at it."""
    counted: list[str] = []
    policy = RegistrationPolicy(NETWORKS, key, on_wrong_key=lambda: counted.append("wrong"))
    for shown in ("right", "wrong", ""):
        policy.is_key(shown)
    assert len(counted) == len(wrong)


@pytest.mark.parametrize(("key", "right"), [("right", True), ("wrong", False), ("", False), ("right ", False)])
def test_a_network_is_no_key(key: str, *, right: bool) -> None:
    """What takes the key takes the key: from no network may anybody end a tenant without it."""
    assert RegistrationPolicy(NETWORKS, "right").is_key(key) is right
