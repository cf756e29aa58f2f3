"""Texts that tell why a broker is not usable."""

from yarl import URL

from shared.amqp.connection import connect_problem

BROKER = URL("amqp://user:secret@broker.invalid/")


def test_problem_of_exceptions_that_cause_each_other_is_found() -> None:
    """An aiormq error and its cause may refer to each other; following them for ever would stop the process."""
    first, second = OSError("closed"), RuntimeError("reader")
    first.__cause__, second.__context__ = second, first
    assert connect_problem(first, BROKER) == "OSError: closed"
    second.__cause__ = ConnectionRefusedError()
    assert connect_problem(first, BROKER) == "connection is refused: nothing listens on this port"


def test_problem_whose_text_holds_the_password_is_told_without_it() -> None:
    assert connect_problem(OSError("bad amqp://user:secret@broker.invalid/"), BROKER) == (
        "OSError: bad amqp://user:***@broker.invalid/"
    )
