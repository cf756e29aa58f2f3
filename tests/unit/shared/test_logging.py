"""Content and format of log lines."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from shared.process.logging import ConsoleFormatter, JsonFormatter, configure, request_id, sampled


@pytest.fixture
def current_request() -> Iterator[str]:
    token = request_id.set("request-1")
    yield "request-1"
    request_id.reset(token)


def record(message: str = "user created", *args: object, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("worker.test").makeRecord(
        "worker.test", logging.INFO, "test.py", 1, message, args, None, extra=extra
    )


def failed() -> logging.LogRecord:
    error = ZeroDivisionError("division by zero")
    return logging.getLogger().makeRecord("root", logging.ERROR, "test.py", 1, "oh", (), (type(error), error, None))


def json_line(given: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter("worker").format(given)
    assert "\n" not in line
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_log_line_is_one_json_object_with_the_given_fields() -> None:
    """The time is in UTC; field values keep their JSON types."""
    line = json_line(record("%d users created", 3, tenant="shop", users=3, first=None))
    assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    assert line == {
        "level": "info",
        "service": "worker",
        "logger": "worker.test",
        "event": "3 users created",
        "tenant": "shop",
        "users": 3,
        "first": None,
    }


def test_extra_field_cannot_replace_a_built_in_field() -> None:
    """Values may come from outside: a field `service` must not make a line look like another process's."""
    own = json_line(record())
    hostile = json_line(record(**dict.fromkeys(own, "api"), tenant="shop"))
    assert {**hostile, "time": None} == {**own, "time": None, "tenant": "shop"}


def test_log_line_within_a_request_carries_its_id(current_request: str) -> None:
    """The call site may name another request."""
    assert json_line(record())["request_id"] == current_request
    assert json_line(record(request_id="another"))["request_id"] == "another"
    assert ConsoleFormatter().format(record()).endswith(f"user created request_id={current_request}")


def test_log_line_outside_a_request_has_no_request_id() -> None:
    assert "request_id" not in json_line(record())


def test_line_breaks_in_values_do_not_start_another_line() -> None:
    """Otherwise a client could forge log records."""
    hostile = 'x\n{"level": "info", "event": "all is well"}\r\u2028'
    line = json_line(record("%s", hostile, login=hostile))
    assert line["event"] == line["login"] == hostile


def test_exception_is_logged_with_its_traceback() -> None:
    """The traceback is a JSON field, or follows the line in the console format."""
    assert "ZeroDivisionError: division by zero" in json_line(failed())["traceback"]
    first, *rest = ConsoleFormatter().format(failed()).splitlines()
    assert first.endswith(" error   oh")
    assert rest[-1] == "ZeroDivisionError: division by zero"


def test_value_that_is_not_json_is_logged_as_text() -> None:
    """A line must not be lost because of a field."""
    assert json_line(record(error=ValueError("no")))["error"] == "no"


def test_console_line_has_time_level_message_and_fields() -> None:
    _, _, rest = ConsoleFormatter().format(record(tenant="shop", users=3)).partition(" ")
    assert rest == "info    user created tenant=shop users=3"


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Restore the logging of the process after a test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("aio_pika", "aiormq")}
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.mark.usefixtures("logging_as_it_was")
def test_logging_configured_twice_writes_each_record_once_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Records below the level are dropped."""
    for _ in range(2):
        configure("worker", "warning", "json")
    logging.getLogger("any").info("not this")
    logging.getLogger("any").warning("this")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "this"


@pytest.mark.parametrize(
    ("rate", "least", "most"), [(0.0, 0, 0), (0.01, 50, 150), (0.5, 4_800, 5_200), (1.0, 10_000, 10_000)]
)
def test_sampling_selects_about_the_given_share(rate: float, least: int, most: int) -> None:
    assert least <= sum(sampled(f"request-{number}", rate) for number in range(10_000)) <= most


def test_sampling_of_a_name_is_the_same_everywhere() -> None:
    """The name decides, not chance; a larger rate includes the selection of a smaller one."""
    names = [f"request-{number}" for number in range(1_000)]
    assert [sampled(name, 0.1) for name in names] == [sampled(name, 0.1) for name in names]
    assert all(sampled(name, 0.2) for name in names if sampled(name, 0.1))
