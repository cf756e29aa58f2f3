"""The permissions that a scope grants."""

import pytest
from hypothesis import given, strategies as st
from pydantic import JsonValue

from shared.client.scopes import SCOPE_NAME, granted, scope_names

names = st.from_regex(SCOPE_NAME, fullmatch=True)
words = names.filter(lambda name: ":" not in name)
#: A small set, so that members, their values and requested names often coincide.
few = st.sampled_from(["", "a", "b", "a:b", "b:a", "a:b:a", "a b", "b a:b"])
json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1) | few, lambda inner: st.lists(inner) | st.dictionaries(few, inner)
)


@given(st.lists(names))
def test_scope_string_grants_each_space_separated_name(listed: list[str]) -> None:
    assert granted("  ".join(listed)) == set(listed)


@given(st.dictionaries(words, st.lists(words)), st.booleans())
def test_scope_object_grants_the_same_as_its_string_form(actions: dict[str, list[str]], as_text: bool) -> None:
    """`{"company": "read write"}` and `{"company": ["read", "write"]}` are `"company:read company:write"`."""
    scope: dict[str, JsonValue] = {
        name: " ".join(allowed) if as_text else list(allowed) for name, allowed in actions.items()
    }
    listed = " ".join(f"{name}:{action}" for name, allowed in actions.items() for action in allowed)
    assert granted(scope) == granted(listed)


@given(st.dictionaries(few, json_values), few.filter(lambda name: name.split() == [name]))
def test_scope_object_grants_only_true_members_and_listed_actions(scope: dict[str, JsonValue], name: str) -> None:
    """A name is granted by a member of this name that is true, or by its last part in the member of its first part."""
    by_itself = scope.get(name) is True
    by_parts = [
        (scope[name[:at]], name[at + 1 :]) for at, char in enumerate(name) if char == ":" and name[:at] in scope
    ]
    by_a_part = any(
        (isinstance(value, str) and part in value.split(" ")) or (isinstance(value, list) and part in value)
        for value, part in by_parts
        if part
    )
    assert (name in granted(scope)) == (by_itself or by_a_part)


def test_scope_examples_of_the_documentation_grant_the_listed_names() -> None:
    assert granted({"company": "read write", "settings": ["update"], "admin": True}) == {
        "company:read",
        "company:write",
        "settings:update",
        "admin",
    }
    assert granted({"company": {"read": True}, "admin": 1, "root": False, "x": None, "y": [["z"], 1, ""]}) == set()
    assert granted(None) == granted("") == granted({}) == set()


def test_required_scopes_split_at_spaces_and_reject_invalid_names() -> None:
    """An invalid name would otherwise refuse every request."""
    assert scope_names("company:read", "company:write admin") == ("company:read", "company:write", "admin")
    assert scope_names() == scope_names("") == ()
    for wrong in ('say "friend"', "back\\slash", "naïve", "two\nlines"):
        with pytest.raises(ValueError, match="not a valid scope name"):
            scope_names(wrong)
