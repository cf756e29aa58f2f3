"""The local stack of `make run`, `make demo` and the tests; and `asyncapi/`, which describes the messages."""
