"""What a log line says, and in which form."""

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


def test_a_line_is_one_json_object() -> None:
    """Time in UTC, level, service, logger and event, and what the call site named, each as itself."""
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


def test_no_field_replaces_what_the_process_says_of_itself() -> None:
    """A value may come from outside: who writes `service` would pass for another process."""
    own = json_line(record())
    hostile = json_line(record(**dict.fromkeys(own, "api"), tenant="shop"))
    assert {**hostile, "time": None} == {**own, "time": None, "tenant": "shop"}


def test_a_request_is_on_every_line_of_it(current_request: str) -> None:
    """Whatever is logged while a request is worked on carries its id, unless the call site names another."""
    assert json_line(record())["request_id"] == current_request
    assert json_line(record(request_id="another"))["request_id"] == "another"
    assert ConsoleFormatter().format(record()).endswith(f"user created request_id={current_request}")


def test_without_a_request_there_is_no_id() -> None:
    """Lines of a process's own work carry no id."""
    assert "request_id" not in json_line(record())


def test_a_hostile_text_stays_on_its_line() -> None:
    """Line breaks in a message or a field cannot make up a second record."""
    hostile = 'x\n{"level": "info", "event": "all is well"}\r\u2028'
    line = json_line(record("%s", hostile, login=hostile))
    assert line["event"] == line["login"] == hostile


def test_a_fault_brings_its_traceback() -> None:
    """The traceback is one field of the line, or follows it where a person reads."""
    assert "ZeroDivisionError: division by zero" in json_line(failed())["traceback"]
    first, *rest = ConsoleFormatter().format(failed()).splitlines()
    assert first.endswith(" error   oh")
    assert rest[-1] == "ZeroDivisionError: division by zero"


def test_values_that_are_not_json_are_text() -> None:
    """A call site may name anything: a line is never lost to its fields."""
    assert json_line(record(error=ValueError("no")))["error"] == "no"


def test_a_line_for_people() -> None:
    """Time, level, message, and what the call site named."""
    _, _, rest = ConsoleFormatter().format(record(tenant="shop", users=3)).partition(" ")
    assert rest == "info    user created tenant=shop users=3"


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Puts the process's logging back after a test that configured it."""
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
def test_all_records_go_to_standard_error_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Configured again, each record is still one line; what is below the level is none."""
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
def test_a_share_is_sampled(rate: float, least: int, most: int) -> None:
    """About so many, and all or none where that is said."""
    assert least <= sum(sampled(f"request-{number}", rate) for number in range(10_000)) <= most


def test_what_is_sampled_in_one_log_is_in_the_other() -> None:
    """The name decides, not chance; and what is in a small share is in each greater one."""
    names = [f"request-{number}" for number in range(1_000)]
    assert [sampled(name, 0.1) for name in names] == [sampled(name, 0.1) for name in names]
    assert all(sampled(name, 0.2) for name in names if sampled(name, 0.1))
