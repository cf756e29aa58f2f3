"""Message properties that a worker leaves undecoded."""

import struct
from collections.abc import Iterator

import pytest
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from worker.amqp.unreadable import MAX_PROPERTIES_BYTES, tolerate_unreadable_properties

BASIC_CLASS = 60
HEADERS_FLAG = 1 << 13
BODY_BYTES = 7


@pytest.fixture(autouse=True)
def tolerant() -> Iterator[None]:
    """Patch the library as a worker's process does."""
    before = ContentHeader.unmarshal
    tolerate_unreadable_properties()
    yield
    ContentHeader.unmarshal = before  # type: ignore[method-assign]


def frame(table: bytes) -> bytes:
    """Return the payload of a header frame whose header table has these bytes."""
    return struct.pack(">HHQHI", BASIC_CLASS, 0, BODY_BYTES, HEADERS_FLAG, len(table)) + table


def text(size: int) -> bytes:
    """Return a table with one text of this size."""
    return b"\x01aS" + struct.pack(">I", size) + size * b"x"


def read(data: bytes) -> ContentHeader:
    header = ContentHeader()
    header.unmarshal(data)
    assert header.body_size == BODY_BYTES
    return header


def test_properties_over_the_limit_are_left_out() -> None:
    """The body is read in both cases."""
    fits = MAX_PROPERTIES_BYTES - len(frame(text(0)))
    assert read(frame(text(fits))).properties.headers == {"a": fits * "x"}
    assert dict(read(frame(text(fits + 1))).properties) == dict(Basic.Properties())


def test_unreadable_properties_are_logged_once_without_their_content(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        read(frame(text(MAX_PROPERTIES_BYTES)))
        read(frame(b"\x01aS" + struct.pack(">I", 2) + b"\xff\xfe"))
    [record] = caplog.records
    assert vars(record)["requests"] == 1
    assert "xx" not in caplog.text
