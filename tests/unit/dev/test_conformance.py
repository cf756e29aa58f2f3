"""The conformance check of messages against the document, with valid and invalid messages."""

import dataclasses
import json
from typing import Any

import pytest

from dev.asyncapi.document import document
from tests.conformance import Declared, Undeclared
from tests.firehose import Published

ADDRESS = "amq.rabbitmq.reply-to.g1h2AA9yZXBseUAx.ksBttTFvuV7FPfpN6KTIvA=="
JSON = "application/json"

REQUEST = Published(
    "rpc",
    "user.delete",
    {
        "content_type": JSON,
        "type": "user.delete",
        "correlation_id": "1",
        "message_id": "1",
        "reply_to": ADDRESS,
        "expiration": "5000",
        "delivery_mode": 1,
    },
    {"x-deadline-ms": 1_795_363_200_000, "x-request-id": "a.1"},
    b'{"tenantToken": "t", "login": "ann"}',
)
REPLY = Published(
    "",
    ADDRESS,
    {"content_type": JSON, "type": "reply", "correlation_id": "1", "delivery_mode": 1},
    {},
    b'{"result": 1}',
)
ERROR = dataclasses.replace(
    REPLY, properties={**REPLY.properties, "type": "error"}, body=b'{"code": "user_not_found", "message": "none"}'
)
EVENT = Published(
    "events",
    "session.revoked.t1",
    {
        "content_type": "application/cloudevents+json; charset=utf-8",
        "type": "com.jincor.auth.session.revoked",
        "message_id": "session.revoked:s1",
        "timestamp": 1_795_363_200,
        "delivery_mode": 2,
    },
    {},
    json.dumps(
        {
            "specversion": "1.0",
            "id": "session.revoked:s1",
            "source": "jincor-auth",
            "type": "com.jincor.auth.session.revoked",
            "subject": "s1",
            "time": "2026-11-22T16:00:00Z",
            "datacontenttype": JSON,
            "data": {
                "sessionId": "s1",
                "tenant": "t1",
                "user": None,
                "login": "ann",
                "deviceId": None,
                "reason": "logout",
                "event_timestamp": 1_795_363_200,
                "exp": 1_795_968_000,
            },
        }
    ).encode(),
)
PROBE = Published(
    "rpc",
    "sub.edge.1",
    {"type": "probe", "message_id": "p1", "expiration": "5000", "delivery_mode": 1},
)


@pytest.fixture(scope="module")
def declared() -> Declared:
    return Declared(document())


def changed(message: Published, part: str, path: str, value: object) -> Published:
    """Return the message with another member of its `properties`, `headers` or `body`; None removes the member."""
    whole = json.loads(message.body) if part == "body" else dict(getattr(message, part))
    inner, (*outer, last) = whole, path.split(".")
    for step in outer:
        inner = inner[step]
    inner[last] = value
    if value is None:
        del inner[last]
    changes: dict[str, Any] = {part: json.dumps(whole).encode() if part == "body" else whole}
    return dataclasses.replace(message, **changes)


def test_declared_messages_in_any_order_are_identified(declared: Declared) -> None:
    assert [name for name, _ in declared.identify([REPLY, ERROR, REQUEST, EVENT, PROBE])] == [
        "user.delete.reply",
        "user.delete.error",
        "user.delete.request",
        "session.revoked",
        "probe",
    ]


@pytest.mark.parametrize(
    "tampered",
    [
        dataclasses.replace(REQUEST, routing_key="user.promote"),
        dataclasses.replace(REQUEST, exchange="events"),
        dataclasses.replace(REQUEST, body=b"{"),
        dataclasses.replace(REQUEST, body=b"[]"),
        dataclasses.replace(REQUEST, body=REQUEST.body + b" " * 131_072),
        changed(REQUEST, "body", "tenantToken", ""),
        changed(REQUEST, "body", "login", "x" * 257),
        changed(REQUEST, "body", "password", "not a member"),
        changed(REQUEST, "properties", "content_type", "text/plain"),
        changed(REQUEST, "properties", "content_type", None),
        changed(REQUEST, "properties", "type", "user.update"),
        changed(REQUEST, "properties", "reply_to", "rpc.manage"),
        changed(REQUEST, "properties", "reply_to", None),
        changed(REQUEST, "properties", "expiration", "soon"),
        changed(REQUEST, "properties", "delivery_mode", 2),
        changed(REQUEST, "properties", "app_id", "x"),
        changed(REQUEST, "headers", "x-deadline-ms", "soon"),
        changed(REQUEST, "headers", "x-request-id", "has a space"),
        changed(REQUEST, "headers", "x-unheard-of", 1),
        dataclasses.replace(REPLY, routing_key=f"{ADDRESS}x"),
        dataclasses.replace(REPLY, body=b'{"result": "1"}'),
        changed(REPLY, "body", "password_hash", "x"),
        changed(REPLY, "properties", "type", "error"),
        changed(REPLY, "properties", "correlation_id", "2"),
        changed(REPLY, "properties", "correlation_id", None),
        changed(REPLY, "headers", "x-request-id", "a"),
        changed(ERROR, "properties", "type", "reply"),
        changed(ERROR, "body", "code", "no_such_code"),
        changed(ERROR, "body", "code", "login_taken"),
        changed(ERROR, "body", "problems", [{"field": "login"}]),
        dataclasses.replace(EVENT, routing_key="session.revoked.t2"),
        dataclasses.replace(EVENT, routing_key="session.revoked.t1.x"),
        dataclasses.replace(EVENT, routing_key="session.created.t1"),
        changed(EVENT, "body", "data.tenant", "t2"),
        changed(EVENT, "body", "data.reason", 7),
        changed(EVENT, "body", "data.token", "a secret"),
        changed(EVENT, "body", "time", "yesterday"),
        changed(EVENT, "body", "specversion", "0.3"),
        changed(EVENT, "properties", "content_type", JSON),
        changed(EVENT, "properties", "delivery_mode", 1),
        changed(EVENT, "properties", "timestamp", None),
        changed(EVENT, "properties", "message_id", None),
        dataclasses.replace(PROBE, body=b"x"),
        dataclasses.replace(PROBE, routing_key="session.revoked.t1"),
        changed(PROBE, "properties", "expiration", "60000"),
        changed(PROBE, "properties", "type", None),
        changed(PROBE, "properties", "type", "com.jincor.auth.session.revoked"),
    ],
)
def test_message_with_one_undeclared_part_is_refused(tampered: Published, declared: Declared) -> None:
    conversation = [] if tampered.exchange else [REQUEST]
    with pytest.raises(Undeclared):
        declared.identify([*conversation, tampered])


def test_batch_answer_with_an_undeclared_code_is_refused(declared: Declared) -> None:
    checks = json.dumps({"checks": [{"tenantToken": "t", "token": "u"}]}).encode()
    request = dataclasses.replace(
        REQUEST, routing_key="auth.verify", properties={**REQUEST.properties, "type": "auth.verify"}, body=checks
    )
    answers = {"answers": [{"error": {"code": "invalid_token", "message": "no"}}]}
    reply = dataclasses.replace(REPLY, body=json.dumps(answers).encode())
    assert [name for name, _ in declared.identify([request, reply])][1] == "auth.verify.reply"
    with pytest.raises(Undeclared):
        declared.identify(
            [request, dataclasses.replace(reply, body=reply.body.replace(b"invalid_token", b"login_taken"))]
        )
