"""Exit code and error output of the operator commands."""

import sys

#: The exit code that shells use after SIGINT.
INTERRUPTED = 130


def print_error(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr)  # noqa: T201 - output of a command
