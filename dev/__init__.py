"""The local stack: what `make run`, `make demo` and the tests start where there is no Docker."""
