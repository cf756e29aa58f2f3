"""Properties of messages that a worker leaves undecoded."""

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
    """The library as it is in a worker's process."""
    before = ContentHeader.unmarshal
    tolerate_unreadable_properties()
    yield
    ContentHeader.unmarshal = before  # type: ignore[method-assign]


def frame(table: bytes) -> bytes:
    """What a header frame holds of a message whose header table has these bytes."""
    return struct.pack(">HHQHI", BASIC_CLASS, 0, BODY_BYTES, HEADERS_FLAG, len(table)) + table


def text(size: int) -> bytes:
    """A table with one text of so many bytes."""
    return b"\x01aS" + struct.pack(">I", size) + size * b"x"


def read(data: bytes) -> ContentHeader:
    header = ContentHeader()
    header.unmarshal(data)
    assert header.body_size == BODY_BYTES
    return header


def test_what_fits_is_read_and_what_is_larger_is_left_out() -> None:
    """The body is read either way."""
    fits = MAX_PROPERTIES_BYTES - len(frame(text(0)))
    assert read(frame(text(fits))).properties.headers == {"a": fits * "x"}
    assert dict(read(frame(text(fits + 1))).properties) == dict(Basic.Properties())


def test_the_log_tells_of_many_in_one_line_without_their_content(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is wrong with them."""
    for _ in range(100):
        read(frame(text(MAX_PROPERTIES_BYTES)))
        read(frame(b"\x01aS" + struct.pack(">I", 2) + b"\xff\xfe"))
    [record] = caplog.records
    assert vars(record)["requests"] == 1
    assert "xx" not in caplog.text
