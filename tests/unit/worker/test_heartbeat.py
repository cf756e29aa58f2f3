"""The heartbeat file, fresh only while the worker takes requests."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from worker.heartbeat import FRESH_SECONDS, beat_forever, fresh, main

PATIENCE_SECONDS = 10


async def test_heartbeat_file_is_fresh_only_while_requests_are_taken(tmp_path: Path) -> None:
    """An old file means that the worker has stopped taking requests."""
    path, taking = tmp_path / "beat", asyncio.Event()
    beating = asyncio.create_task(beat_forever(path, taking))
    try:
        await asyncio.sleep(0)
        assert not fresh(path)
        taking.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not fresh(path):  # noqa: ASYNC110 - a file has no event to wait for
                await asyncio.sleep(0.01)
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
    long_ago = time.time() - FRESH_SECONDS
    os.utime(path, (long_ago, long_ago))
    assert not fresh(path)


def test_health_command_exits_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators see the text in the container's health."""
    monkeypatch.delenv("AUTH_HEARTBEAT_FILE", raising=False)
    with pytest.raises(SystemExit, match="AUTH_HEARTBEAT_FILE is not set"):
        main()
    monkeypatch.setenv("AUTH_HEARTBEAT_FILE", str(tmp_path / "beat"))
    with pytest.raises(SystemExit, match="takes no requests"):
        main()
    (tmp_path / "beat").touch()
    main()
