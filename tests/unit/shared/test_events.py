"""What subscribers are told of a session that ended."""

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


def test_an_event_is_a_cloudevent() -> None:
    """The envelope is CloudEvents 1.0 in structured JSON, the data CAEP's, times as each of them has it."""
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


def test_a_revocation_is_one_event() -> None:
    """Made again, by another worker or after a crash, it is the same event: subscribers may count on its id."""
    assert SessionRevokedEvent.of(DATA, "auth.test") == SessionRevokedEvent.of(DATA, "auth.test")
    other = DATA.model_copy(update={"session_id": "session-2"})
    assert SessionRevokedEvent.of(other, "auth.test").id != SessionRevokedEvent.of(DATA, "auth.test").id


def test_events_are_routed_by_tenant() -> None:
    """A subscriber can ask for the events of its tenant alone."""
    assert DATA.routing_key == "session.revoked.shop"


@pytest.mark.parametrize("reason", RevocationReason)
def test_an_event_is_read_as_it_was_written(reason: RevocationReason) -> None:
    """Subscribers read what was published, whatever the reason, for users and for tenants."""
    for changes in ({"reason": reason}, {"reason": reason, "user": None, "device_id": None}):
        event = SessionRevokedEvent.of(DATA.model_copy(update=changes), "auth.test")
        assert SessionRevokedEvent.model_validate_json(event.to_json()) == event


def test_a_reason_that_is_not_known_yet_is_read() -> None:
    """A service that is newer than its subscriber may end sessions for other reasons: they end all the same."""
    newer = SessionRevokedEvent.of(DATA, "auth.test").to_json().replace(b'"logout"', b'"moved_to_mars"')
    event = SessionRevokedEvent.model_validate_json(newer)
    assert event.data.reason == "moved_to_mars"
    assert event.to_json() == newer
    known = SessionRevokedEvent.model_validate_json(newer.replace(b"moved_to_mars", b"session_limit"))
    assert known.data.reason is RevocationReason.SESSION_LIMIT


@pytest.mark.parametrize("reason", ["null", "1", "[]", "{}"])
def test_a_reason_is_a_text(reason: str) -> None:
    """Anything else is no event of ours."""
    event = SessionRevokedEvent.of(DATA, "auth.test").to_json().decode().replace('"logout"', reason)
    with pytest.raises(ValidationError):
        SessionRevokedEvent.model_validate_json(event)
