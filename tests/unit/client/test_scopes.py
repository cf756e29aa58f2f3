"""What a scope grants."""

import pytest
from hypothesis import given, strategies as st
from pydantic import JsonValue

from shared.client.scopes import SCOPE_NAME, granted, scope_names

names = st.from_regex(SCOPE_NAME, fullmatch=True)
words = names.filter(lambda name: ":" not in name)
#: So few that members, their values and what is asked for often meet.
few = st.sampled_from(["", "a", "b", "a:b", "b:a", "a:b:a", "a b", "b a:b"])
json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1) | few, lambda inner: st.lists(inner) | st.dictionaries(few, inner)
)


@given(st.lists(names))
def test_a_string_grants_the_names_in_it(listed: list[str]) -> None:
    """Separated by spaces, however many."""
    assert granted("  ".join(listed)) == set(listed)


@given(st.dictionaries(words, st.lists(words)), st.booleans())
def test_an_object_grants_what_the_list_it_stands_for_grants(actions: dict[str, list[str]], as_text: bool) -> None:
    """`{"company": "read write"}` and `{"company": ["read", "write"]}` are `"company:read company:write"`."""
    scope: dict[str, JsonValue] = {
        name: " ".join(allowed) if as_text else list(allowed) for name, allowed in actions.items()
    }
    listed = " ".join(f"{name}:{action}" for name, allowed in actions.items() for action in allowed)
    assert granted(scope) == granted(listed)


@given(st.dictionaries(few, json_values), few.filter(lambda name: name.split() == [name]))
def test_whatever_else_is_in_an_object_grants_nothing(scope: dict[str, JsonValue], name: str) -> None:
    """A name is granted by a member of its own that is true, or by its last part in the member of its first part."""
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


def test_examples_of_the_documentation() -> None:
    """As services write them."""
    assert granted({"company": "read write", "settings": ["update"], "admin": True}) == {
        "company:read",
        "company:write",
        "settings:update",
        "admin",
    }
    assert granted({"company": {"read": True}, "admin": 1, "root": False, "x": None, "y": [["z"], 1, ""]}) == set()
    assert granted(None) == granted("") == granted({}) == set()


def test_what_is_required_is_given_as_names_or_as_lists_of_names() -> None:
    """And what can be no name is a mistake that shows at once, not a door that stays shut."""
    assert scope_names("company:read", "company:write admin") == ("company:read", "company:write", "admin")
    assert scope_names() == scope_names("") == ()
    for wrong in ('say "friend"', "back\\slash", "naïve", "two\nlines"):
        with pytest.raises(ValueError, match="not a valid scope name"):
            scope_names(wrong)
