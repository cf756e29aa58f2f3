"""The document as a Markdown page."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from dev.asyncapi.schemas import SCHEMAS, Json

FOREWORD = """\
# Messages over AMQP

All messages of Jincor Auth on RabbitMQ. To get started, read
[calling it from another language](other-languages.md). Do not edit this page: `make asyncapi` generates it and
[asyncapi.json](asyncapi.json) from the contracts."""

#: Schema keywords that limit a value, by type, and the unit of the limits.
LIMITS = {
    "string": ("minLength", "maxLength", " characters"),
    "integer": ("minimum", "maximum", ""),
    "array": ("minItems", "maxItems", " items"),
}

#: Members of an operation that name its permissions.
PERMISSIONS = ("x-permission", "x-second-permission", "x-permission-of-operator")


def page(document: Json) -> str:
    """Return the page of this document."""
    return "\n\n".join(_Page(document).sections()) + "\n"


class _Page:
    """Sections of the page. It remembers which schemas were already shown."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._shown: set[str] = set()

    def sections(self) -> Iterator[str]:
        operations: dict[str, Json] = self._document["operations"]
        calls = {name: operation for name, operation in operations.items() if operation["action"] == "receive"}
        sent = {name: operation for name, operation in operations.items() if operation["action"] == "send"}
        yield FOREWORD
        yield self._document["info"]["description"]
        yield from self._overview(calls)
        yield from self._envelopes()
        for name, operation in calls.items():
            yield from self._call(name, operation)
        for name, operation in sent.items():
            yield from self._sent(name, operation)
        yield "## Objects"
        for name, schema in self._document["components"]["schemas"].items():
            if name not in self._shown:
                yield f"### {name}"
                yield from _members(schema)

    def _overview(self, calls: dict[str, Json]) -> Iterator[str]:
        yield "## Operations"
        yield _table(
            ("operation", "purpose", "permission", "lane", "repeatable"),
            (
                (
                    _link(name),
                    operation["summary"],
                    ", ".join(f"`{operation[name]}`" for name in PERMISSIONS if name in operation),
                    operation["x-lane"],
                    "yes" if operation["x-repeatable"] else "",
                )
                for name, operation in calls.items()
            ),
        )
        yield "[Who may do what](permissions.md) says which credentials have a permission."
        yield (
            "If it is unknown whether a repeatable operation was done, send it again with the same `message_id`. A lane"
            " is a class of operations with its own queue and workers."
        )

    def _envelopes(self) -> Iterator[str]:
        for title, trait in (("Requests", "request"), ("Replies", "reply")):
            carried = self._document["components"]["messageTraits"][trait]
            yield f"## {title}"
            for part in ("x-amqp-properties", "headers"):
                if part in carried:
                    yield from self._shown_here(carried[part])

    def _call(self, name: str, operation: Json) -> Iterator[str]:
        request = self._at(operation["messages"][0])
        reply, error = (self._at(message) for message in operation["reply"]["messages"])
        yield f"## {name}"
        yield operation["summary"]
        yield operation["description"]
        yield (
            f"Queue `{operation['x-queue']}`, a body of at most {operation['x-max-body-bytes']:,} bytes,"
            f" {'repeatable' if operation['x-repeatable'] else 'not repeatable'}."
        )
        for title, payload in (("Request", request["payload"]), ("Reply", reply["payload"])):
            # Replies that several operations share are shown once, under "Objects".
            if _name(payload).endswith(title):
                yield f"**{title}**"
                yield from self._shown_here(payload)
            else:
                yield f"**{title}**: {_type(payload)}"
        yield f"**Errors**: {_type(error['payload']['allOf'][1]['properties']['code'])}"
        if "x-codes-in-reply" in operation:
            yield f"**Errors within the reply**: {_type({'enum': operation['x-codes-in-reply']})}"

    def _sent(self, name: str, operation: Json) -> Iterator[str]:
        channel, message = self._at(operation["channel"]), self._at(operation["messages"][0])
        exchange, payload = self._at(channel["bindings"])["amqp"]["exchange"]["name"], message["payload"]
        yield f"## Message {name}"
        yield " ".join([operation["summary"], operation.get("description", "")]).strip()
        yield f"On the exchange `{exchange}` under `{channel['address']}`. {channel['description']}"
        yield from self._shown_here(message["x-amqp-properties"])
        yield f"The body is a {_type(payload)}." if "$ref" in payload else payload["description"]

    def _shown_here(self, reference: Json) -> Iterator[str]:
        self._shown.add(_name(reference))
        return _members(self._at(reference))

    def _at(self, value: Json) -> Json:
        """Return the value that a reference, or a chain of references, leads to."""
        while "$ref" in value:
            found: Any = self._document
            for part in value["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            value = found
        return value


def _members(schema: Json) -> Iterator[str]:
    """Yield the description of a schema and the table of its members or values."""
    if "description" in schema:
        yield schema["description"]
    if "enum" in schema:
        meanings = schema.get("x-enum-descriptions", [""] * len(schema["enum"]))
        yield _table(("value", "meaning"), zip((f"`{value}`" for value in schema["enum"]), meanings, strict=True))
        return
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", "yes" if name in required else "", _type(member), member.get("description", ""))
        for name, member in schema.get("properties", {}).items()
    ]
    yield _table(("member", "required", "type", "meaning"), rows) if rows else "An empty object."


def _type(schema: Json) -> str:
    """Return a type in words."""
    if "$ref" in schema:
        return _link(_name(schema))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for keyword, word in (("anyOf", " or "), ("allOf", " and ")):
        if keyword in schema:
            return word.join(_type(each) for each in schema[keyword])
    kind = f"array of {_type(schema['items'])}" if schema["type"] == "array" else str(schema["type"])
    rules = ", ".join(_rules(schema))
    return f"{kind} ({rules})" if rules else kind


def _rules(schema: Json) -> Iterator[str]:
    if "format" in schema:
        yield str(schema["format"])
    if "pattern" in schema:
        yield f"`{schema['pattern']}`"
    lower, upper, unit = LIMITS.get(schema["type"], ("", "", ""))
    least, most = schema.get(lower), schema.get(upper)
    if least is not None and most is not None:
        yield f"{least} to {most}{unit}"
    elif most is not None:
        yield f"at most {most}{unit}"
    elif least is not None:
        yield "not empty" if lower == "minLength" and least == 1 else f"at least {least}{unit}"
    if schema.get("default"):
        yield f"`{json.dumps(schema['default'])}` if absent"


def _name(reference: Json) -> str:
    return str(reference["$ref"]).removeprefix(SCHEMAS)


def _link(name: str) -> str:
    # GitHub's anchor of a heading.
    return f"[`{name}`](#{name.lower().replace('.', '')})"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
