"""Callers in a process of their own that repeat one request. `flooded` runs them and returns their answers.

In the test process they would wait for the tests, which would distort the measured times.
"""

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from yarl import URL

#: Time for an overloaded service to answer the last request and for the process to end.
END_SECONDS = 60
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Flood:
    """The input of the process. It contains a token, so it is passed over standard input."""

    url: str
    path: str
    token: str
    body: dict[str, str]
    callers: int
    seconds: float
    pause_seconds: float

    def request(self) -> bytes:
        """Return the raw HTTP request."""
        body = json.dumps(self.body)
        headers = ("Host: flood", f"Authorization: Bearer {self.token}", "Content-Type: application/json")
        return "\r\n".join((f"POST {self.path} HTTP/1.1", *headers, f"Content-Length: {len(body)}", "", body)).encode()


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers, each as (status, seconds, Retry-After)."""

    all: Sequence[tuple[int, float, int | None]]

    @property
    def statuses(self) -> Counter[int]:
        return Counter(status for status, _, _ in self.all)

    def retries(self) -> Counter[int | None]:
        """Count the `Retry-After` values of refusals."""
        return Counter(retry_after for status, _, retry_after in self.all if status == 503)

    def quantile(self, status: int, share: float) -> float:
        """Return this quantile of the seconds until answers with this status."""
        ordered = sorted(seconds for each, seconds, _ in self.all if each == status)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


async def flooded(flood: Flood) -> Answers:
    """Run the callers for the time given in `flood`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.flood"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        settings = json.dumps({name: getattr(flood, name) for name in Flood.__slots__})
        output, _ = await asyncio.wait_for(process.communicate(settings.encode()), flood.seconds + END_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return Answers([(status, seconds, retry_after) for status, seconds, retry_after in json.loads(output)])


async def _run(flood: Flood) -> None:
    answers: list[tuple[int, float, int | None]] = []
    request = flood.request()
    ends_at = time.monotonic() + flood.seconds

    async def call() -> None:
        url = URL(flood.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        while (started := time.monotonic()) < ends_at:
            writer.write(request)
            headers = await reader.readuntil(b"\r\n\r\n")
            length, retry_after = CONTENT_LENGTH.search(headers), RETRY_AFTER.search(headers)
            await reader.readexactly(int(length[1]) if length else 0)
            status = int(headers.split(b" ", 2)[1])
            answers.append((status, time.monotonic() - started, int(retry_after[1]) if retry_after else None))
            # Jitter: callers refused together do not return together.
            await asyncio.sleep(flood.pause_seconds * random.uniform(0.5, 1.5))
        writer.close()
        await writer.wait_closed()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(flood.callers):
            tasks.create_task(call())
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    asyncio.run(_run(Flood(**json.loads(sys.stdin.read()))))
