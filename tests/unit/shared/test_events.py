"""Events about revoked sessions."""

import json

import pytest
from pydantic import ValidationError

from shared.contracts.events import RevocationReason, SessionRevoked, SessionRevokedEvent

DATA = SessionRevoked(
    session_id="session-1",
    tenant="shop",
    user="ann",
    login="ann@example.com",
    device_id="phone",
    reason=RevocationReason.LOGOUT,
    event_timestamp=1_893_499_200,
    exp=1_893_585_600,
)


def test_revocation_event_is_a_cloudevent_with_caep_data() -> None:
    """The envelope is CloudEvents 1.0 in structured JSON; each format has its own form of time."""
    assert json.loads(SessionRevokedEvent.of(DATA, "auth.test").to_json()) == {
        "specversion": "1.0",
        "id": "session.revoked:session-1",
        "source": "auth.test",
        "type": "com.jincor.auth.session.revoked",
        "subject": "session-1",
        "time": "2030-01-01T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "sessionId": "session-1",
            "tenant": "shop",
            "user": "ann",
            "login": "ann@example.com",
            "deviceId": "phone",
            "reason": "logout",
            "event_timestamp": 1_893_499_200,
            "exp": 1_893_585_600,
        },
    }


def test_event_built_twice_for_a_revocation_is_the_same() -> None:
    """Subscribers rely on the id when another worker publishes it again."""
    assert SessionRevokedEvent.of(DATA, "auth.test") == SessionRevokedEvent.of(DATA, "auth.test")
    other = DATA.model_copy(update={"session_id": "session-2"})
    assert SessionRevokedEvent.of(other, "auth.test").id != SessionRevokedEvent.of(DATA, "auth.test").id


def test_event_is_routed_by_its_tenant() -> None:
    """A subscriber can bind the events of one tenant."""
    assert DATA.routing_key == "session.revoked.shop"


@pytest.mark.parametrize("reason", RevocationReason)
def test_event_is_read_back_unchanged(reason: RevocationReason) -> None:
    """This holds for every reason, and for users and tenants."""
    for changes in ({"reason": reason}, {"reason": reason, "user": None, "device_id": None}):
        event = SessionRevokedEvent.of(DATA.model_copy(update=changes), "auth.test")
        assert SessionRevokedEvent.model_validate_json(event.to_json()) == event


def test_event_with_an_unknown_reason_is_read() -> None:
    """A newer service may revoke for a reason that this subscriber does not know."""
    newer = SessionRevokedEvent.of(DATA, "auth.test").to_json().replace(b'"logout"', b'"moved_to_mars"')
    event = SessionRevokedEvent.model_validate_json(newer)
    assert event.data.reason == "moved_to_mars"
    assert event.to_json() == newer
    known = SessionRevokedEvent.model_validate_json(newer.replace(b"moved_to_mars", b"session_limit"))
    assert known.data.reason is RevocationReason.SESSION_LIMIT


@pytest.mark.parametrize("reason", ["null", "1", "[]", "{}"])
def test_reason_that_is_no_text_is_rejected(reason: str) -> None:
    event = SessionRevokedEvent.of(DATA, "auth.test").to_json().decode().replace('"logout"', reason)
    with pytest.raises(ValidationError):
        SessionRevokedEvent.model_validate_json(event)
