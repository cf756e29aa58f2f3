"""Development tools: the local stack of `make run`, `make demo` and the tests, and the generators of documentation."""
