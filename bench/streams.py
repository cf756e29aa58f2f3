"""`python -m bench.streams 5000`: measures the cost of this many idle event streams on one edge.

It starts its own stack and opens the streams of one tenant from this process. It waits for some heartbeats,
revokes one session of the tenant, and stops the edge.
"""

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from bench.usage import cpu_seconds, resident_mib
from dev.ports import free_port
from dev.processes import StackError
from dev.stack import LocalStack

DEFAULT_STREAMS: Final = 1_000
#: Streams that are opened at a time: each opening makes two worker calls.
OPENING: Final = 50
#: Two heartbeats of each stream.
IDLE_SECONDS: Final = 30
VERIFICATIONS: Final = 300
PASSWORD: Final = "correct horse battery"
TIMEOUT_SECONDS: Final = 120


class Stream:
    """One client that reads continuously."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.told_at: float | None = None

    @classmethod
    async def open(cls, url: str, token: str) -> "Stream":
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(f"GET /events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            sys.exit(f"bench: unexpected answer: {head.decode()}")
        return cls(reader, writer)

    async def read(self) -> None:
        while data := await self._reader.read(65_536):
            if b"event: session.revoked" in data:
                self.told_at = time.perf_counter()
        self._writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("streams", type=int, nargs="?", default=DEFAULT_STREAMS)
    count = parser.parse_args().streams
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ |= {"AUTH_EVENT_STREAMS": str(count), "AUTH_EVENT_STREAMS_PER_TENANT": str(count)}
    try:
        asyncio.run(_bench(count))
    except StackError as error:
        sys.exit(f"bench: {error}")


async def _bench(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="jincor-auth-bench-") as directory:
        async with LocalStack(Path(directory), free_port()) as stack, httpx.AsyncClient(base_url=stack.url) as http:
            edge = next(child for child in stack.children if child.name == "api")
            token = (await _post(http, "/tenant", email="bench@example.com", password=PASSWORD))["token"]
            http.headers["Authorization"] = f"Bearer {token}"
            await _post(http, "/user", email="ann@example.com", login="ann", password=PASSWORD)
            users = [await _log_in(http) for _ in range(2)]
            alone = await _latencies(lambda: _post(http, "/auth/verify", token=users[0]))

            memory, began = resident_mib(edge.pid), time.perf_counter()
            streams = await _open(count, stack.url, token)
            print(f"opened {count} streams in {time.perf_counter() - began:.1f} s")
            readers = [asyncio.create_task(stream.read()) for stream in streams]
            used = resident_mib(edge.pid) - memory
            print(f"edge: {memory:.0f} MiB, plus {used:.0f} MiB for the streams, {1024 * used / count:.1f} KiB each")

            cpu = cpu_seconds({"edge": edge.pid})["edge"]
            await asyncio.sleep(IDLE_SECONDS)
            cpu = cpu_seconds({"edge": edge.pid})["edge"] - cpu
            print(f"heartbeats: {100 * cpu / IDLE_SECONDS:.1f} % of a core")
            beside = await _latencies(lambda: _post(http, "/auth/verify", token=users[0]))
            print(f"a verification: {_spread(alone)} without streams, {_spread(beside)} with streams")

            began = time.perf_counter()
            await _post(http, "/auth/logout", token=users[1])
            told = [await _told(stream) - began for stream in streams]
            first, last = 1000 * min(told), 1000 * max(told)
            print(f"a revocation: on the first stream after {first:.0f} ms, on the last after {last:.0f} ms")

            began = time.perf_counter()
            await edge.terminate()
            await asyncio.gather(*readers)
            print(f"stop: all streams closed and the edge stopped after {time.perf_counter() - began:.1f} s")


async def _open(count: int, url: str, token: str) -> list[Stream]:
    turn = asyncio.Semaphore(OPENING)

    async def opened() -> Stream:
        async with turn:
            return await Stream.open(url, token)

    return await asyncio.gather(*(opened() for _ in range(count)))


async def _log_in(http: httpx.AsyncClient) -> str:
    return str((await _post(http, "/auth", login="ann", password=PASSWORD, deviceId="bench"))["accessToken"])


async def _post(http: httpx.AsyncClient, path: str, **body: str) -> dict[str, str]:
    answer: dict[str, str] = (await http.post(path, json=body, timeout=TIMEOUT_SECONDS)).raise_for_status().json()
    return answer


async def _latencies(request: Callable[[], Awaitable[object]]) -> list[float]:
    latencies = []
    for _ in range(VERIFICATIONS):
        began = time.perf_counter()
        await request()
        latencies.append(time.perf_counter() - began)
    return sorted(latencies)


def _spread(latencies: Sequence[float]) -> str:
    p50, p99 = (1000 * latencies[len(latencies) * percent // 100] for percent in (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


async def _told(stream: Stream) -> float:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while stream.told_at is None:  # noqa: ASYNC110 - the reader measures the time; polling does not affect it
            await asyncio.sleep(0.01)
    return stream.told_at


if __name__ == "__main__":
    main()
