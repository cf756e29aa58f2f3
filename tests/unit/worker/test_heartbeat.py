"""The heartbeat file: fresh while the worker takes requests, and otherwise not."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from worker.heartbeat import FRESH_SECONDS, beat_forever, fresh, main

PATIENCE_SECONDS = 10


async def test_it_beats_once_requests_are_taken(tmp_path: Path) -> None:
    """Not before; and a file that was not touched for long says that they are not taken any more."""
    path, taking = tmp_path / "beat", asyncio.Event()
    beating = asyncio.create_task(beat_forever(path, taking))
    try:
        await asyncio.sleep(0)
        assert not fresh(path)
        taking.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not fresh(path):  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
    long_ago = time.time() - FRESH_SECONDS
    os.utime(path, (long_ago, long_ago))
    assert not fresh(path)


def test_the_check_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its exit code, and in words for whoever looks at the container's health."""
    monkeypatch.delenv("AUTH_HEARTBEAT_FILE", raising=False)
    with pytest.raises(SystemExit, match="AUTH_HEARTBEAT_FILE is not set"):
        main()
    monkeypatch.setenv("AUTH_HEARTBEAT_FILE", str(tmp_path / "beat"))
    with pytest.raises(SystemExit, match="takes no requests"):
        main()
    (tmp_path / "beat").touch()
    main()
