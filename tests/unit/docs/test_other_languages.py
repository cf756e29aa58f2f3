"""The sample bodies for clients in other languages."""

import json
import re
from typing import Any

import pytest

from dev.processes import REPOSITORY
from shared.contracts import OPERATIONS

ROW = re.compile(r"^\| `([a-z_.]+)` \| `(\{.*\})` \| `(\{.*\})` \|$", re.MULTILINE)
SAMPLES = ROW.findall((REPOSITORY / "docs" / "other-languages.md").read_text(encoding="utf-8"))


def without_absent(body: Any) -> Any:
    """Return the body without members that have no value, which documents leave out."""
    if isinstance(body, dict):
        return {name: without_absent(value) for name, value in body.items() if value is not None}
    return [without_absent(item) for item in body] if isinstance(body, list) else body


def test_samples_show_each_step_once() -> None:
    steps = ["tenant.register", "tenant.login", "tenant.verify", "user.create", "auth.login", "auth.verify"]
    assert [name for name, _, _ in SAMPLES] == [*steps, "auth.logout"]


@pytest.mark.parametrize(("name", "request_body", "reply_body"), SAMPLES)
def test_sample_of_an_operation_is_what_its_contract_reads_and_writes(
    name: str, request_body: str, reply_body: str
) -> None:
    """No member is misspelt: all of them come back."""
    operation = OPERATIONS[name]
    operation.request.model_validate_json(request_body)
    fields = operation.request.model_fields.items()
    assert set(json.loads(request_body)) <= {field.alias or member for member, field in fields}
    reply = operation.reply.model_validate_json(reply_body)
    assert without_absent(json.loads(reply.to_json())) == json.loads(reply_body)
