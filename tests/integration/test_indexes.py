"""The command that creates indexes, and workers that wait for it, as processes."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pymongo

from dev.ports import free_port
from dev.processes import ChildProcess
from dev.services import worker_service
from shared.contracts.operation import Lane
from shared.process.environment import EX_UNAVAILABLE
from tests.import_command import ended, start_command
from tests.mongo_driver import connect
from tests.service import START_TIMEOUT_SECONDS, takes_requests
from worker.adapters.index_definitions import INDEXES

WAITING = "worker waits for the database and its indexes"


async def create(mongo_url: str) -> tuple[int | None, list[str]]:
    done = await ended(await start_command("worker.indexes", mongo_url=mongo_url))
    return done.code, done.err


async def test_worker_without_indexes_waits_and_names_them(amqp_url: str, mongo_url: str, tmp_path: Path) -> None:
    """It creates none: many workers would start one build after another. It takes requests when they are there."""
    keys = tmp_path / "keys"
    keys.write_text(f"test:{base64.b64encode(bytes(32)).decode()}")
    service = worker_service(",".join(Lane), amqp_url=amqp_url, mongo_url=mongo_url, master_keys_file=keys)
    worker = ChildProcess(service, tmp_path)

    async def waits() -> bool:
        return WAITING in worker.tail()

    worker.start()
    try:
        await worker.wait_until(waits, START_TIMEOUT_SECONDS)
        (line,) = (json.loads(line) for line in worker.tail().splitlines() if WAITING in line)
        names = {(name, index.document["name"]) for name, indexes in INDEXES.items() for index in indexes}
        assert line["problems"] == [
            f"index {index.document['name']} of {name} is missing; run `python -m worker.indexes`"
            for name, indexes in INDEXES.items()
            for index in indexes
        ]
        assert not await takes_requests(worker)
        with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
            assert client.get_default_database().list_collection_names() == []
        code, said = await create(mongo_url)
        assert code == 0
        assert said == [*(f"created {name}.{index}" for name, index in _in_order()), "all indexes exist"]
        assert len(said) == len(names) + 1
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            while not await takes_requests(worker):  # noqa: ASYNC110 - another process brings it about
                await asyncio.sleep(0.1)
    finally:
        assert await worker.terminate() == 0
    assert await create(mongo_url) == (0, ["all indexes exist"])


async def test_creation_with_a_conflicting_index_names_it_and_creates_none(mongo_url: str) -> None:
    async with connect(mongo_url) as database:
        await database.collection("tenants").create_index("email")
        expected = "index email_1 of tenants has another definition than expected; drop it"
        assert await create(mongo_url) == (1, [expected])
        assert set(await database.collection("users").index_information()) <= {"_id_"}


async def test_creation_of_a_unique_index_on_duplicates_quotes_no_document(mongo_url: str) -> None:
    async with connect(mongo_url) as database:
        await database.collection("tenants").insert_many([{"email": "shop@secret.test"}, {"email": "shop@secret.test"}])
    code, (line,) = await create(mongo_url)
    assert code == 1
    assert line.startswith("documents contradict a unique index: ")
    assert "secret" not in line


async def test_creation_without_a_database_fails_with_its_address() -> None:
    code, (line, again) = await create(f"mongodb://127.0.0.1:{(port := free_port())}/away?appname=hunter2hunter2")
    assert code == EX_UNAVAILABLE
    assert line.startswith(f"cannot be reached: 127.0.0.1:{port}")
    assert again.startswith("run the command again")


def _in_order() -> list[tuple[str, str]]:
    return [(name, index.document["name"]) for name, indexes in INDEXES.items() for index in indexes]
