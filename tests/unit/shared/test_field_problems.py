"""Validation errors use the words of JSON, which senders know, and not those of Python."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.contracts.errors import field_problems
from shared.contracts.key_create import KeyCreateBody


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"permissions": []}, "must have at least 1 item"),
        ({"permissions": "users:read"}, "must be a list"),
        ({"permissions": None}, "must be a list"),
        ({"networks": "10.0.0.0/8"}, "must be a list"),
        ({"networks": [f"10.{number}.0.0/16" for number in range(33)]}, "must have at most 32 items"),
    ],
)
def test_invalid_list_is_named_in_the_words_of_json(members: dict[str, Any], message: str) -> None:
    body = {"name": "gateway", "permissions": ["tokens:verify"]} | members
    with pytest.raises(ValidationError) as refusal:
        KeyCreateBody.model_validate(body)
    [problem] = field_problems(refusal.value.errors())
    assert ([problem.field], problem.message) == (list(members), message)
