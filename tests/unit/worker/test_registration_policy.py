"""Registration of tenants, allowed with the key or from the configured networks."""

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
def test_registration_is_allowed_with_the_key_or_from_a_network(
    key: str | None, address: str | None, *, allowed: bool
) -> None:
    policy = RegistrationPolicy(NETWORKS, "right")
    assert (policy.admits(address) or (key is not None and policy.is_key(key))) is allowed


@pytest.mark.parametrize("key", [None, "", "any"])
def test_registration_without_configuration_is_refused(key: str | None) -> None:
    policy = RegistrationPolicy([], None)
    assert not policy.admits(None)
    assert not policy.admits("127.0.0.1")
    assert not policy.is_key(key or "")
    assert not policy.has_key
    assert RegistrationPolicy([], "right").has_key


@pytest.mark.parametrize(("key", "wrong"), [("right", ["right", "wrong"]), (None, [])])
def test_wrong_keys_are_counted_if_a_key_is_configured(key: str | None, wrong: list[str]) -> None:
    counted: list[str] = []
    policy = RegistrationPolicy(NETWORKS, key, on_wrong_key=lambda: counted.append("wrong"))
    for shown in ("right", "wrong", ""):
        policy.is_key(shown)
    assert len(counted) == len(wrong)


@pytest.mark.parametrize(("key", "right"), [("right", True), ("wrong", False), ("", False), ("right ", False)])
def test_configured_network_does_not_replace_the_key(key: str, *, right: bool) -> None:
    """Deleting or disabling a tenant with the key must not be possible from a network alone."""
    assert RegistrationPolicy(NETWORKS, "right").is_key(key) is right
