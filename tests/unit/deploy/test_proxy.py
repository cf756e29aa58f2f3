"""The proxy's configuration, as far as it can be judged without running it."""

from dev.processes import REPOSITORY

CONFIGURATION = REPOSITORY / "deploy/haproxy/haproxy.cfg"


def test_plain_http_is_refused() -> None:
    """Before anything else, and with no redirect: whoever follows one has sent its secrets in clear by then."""
    lines = [line.strip() for line in CONFIGURATION.read_text().splitlines()]
    rules = [line for line in lines if line.startswith("http-request")]
    assert rules[0].startswith("http-request return status 403 ")
    assert rules[0].endswith(" unless { ssl_fc }")
    assert not [rule for rule in rules if "redirect" in rule]
