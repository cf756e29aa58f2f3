"""`--check` as an operator runs it before the first start: one line per problem, and an exit code."""

import asyncio
import base64
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest
from aio_pika import ExchangeType
from yarl import URL

from shared.amqp.topology import EVENTS_EXCHANGE, RPC_EXCHANGE
from shared.process.environment import EX_CONFIG, EX_UNAVAILABLE
from tests.backends import with_indexes
from tests.mongo_driver import connect
from tests.primary_link import PrimaryLink
from worker.adapters.mongo_database import clock_problems

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KEYS = f"test:{base64.b64encode(b'K' * 32).decode()}"
SECRET = "hunter2hunter2"
TIMEOUT_SECONDS = 120


async def check(side: str, **settings: str) -> tuple[int | None, list[str]]:
    """Return the exit code and the lines on stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", side, "--check"),
        env={**{name: value for name, value in os.environ.items() if not name.startswith("AUTH_")}, **settings},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(TIMEOUT_SECONDS):
        _, lines = await process.communicate()
    return process.returncode, lines.decode().splitlines()


async def check_worker(amqp_url: str, mongo_url: str, **settings: str) -> tuple[int | None, list[str]]:
    given = {"AMQP_URL": amqp_url, "MONGO_URL": mongo_url, "AUTH_LANES": "verify", "AUTH_MASTER_KEYS": KEYS}
    return await check("worker", **given, **settings)


async def test_check_of_a_fresh_broker_and_database_is_ok(amqp_url: str, mongo_url: str) -> None:
    await with_indexes(mongo_url)
    assert await check("api", AMQP_URL=amqp_url) == (0, ["ok"])
    assert await check_worker(amqp_url, mongo_url) == (0, ["ok"])


async def test_check_with_invalid_settings_names_them_all() -> None:
    code, lines = await check("worker", AMQP_URL=f"http://user:{SECRET}@broker", AUTH_LANES="swim")
    assert code == EX_CONFIG
    assert {line.split(": ")[1].partition(".")[0] for line in lines} == {
        "AMQP_URL",
        "MONGO_URL",
        "AUTH_LANES",
        "AUTH_MASTER_KEYS",
    }
    assert SECRET not in str(lines)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"password": SECRET}, "user name or password is refused"),
        ({"path": "/nowhere"}, "no such virtual host, or this user may not use it or has no more connections"),
        ({"port": 1}, "connection is refused"),
        ({"scheme": "amqps"}, "TLS handshake failed"),
    ],
)
async def test_check_of_an_unusable_broker_prints_address_and_reason(
    amqp_url: str, change: dict[str, Any], expected: str
) -> None:
    """The password is not printed."""
    url = URL(amqp_url)
    for part, value in change.items():
        url = getattr(url, f"with_{part}")(value)
    code, (line,) = await check("api", AMQP_URL=str(url))
    assert code == EX_UNAVAILABLE
    assert line.startswith(f"broker 127.0.0.1:{url.port}: ")
    assert expected in line
    assert SECRET not in line


async def test_check_without_declaring_names_each_missing_exchange(amqp_url: str) -> None:
    """The check declares nothing itself."""
    for _ in range(2):
        code, lines = await check("api", AMQP_URL=amqp_url, AUTH_DECLARE_TOPOLOGY="false")
        assert code == EX_UNAVAILABLE
        assert [line.partition(" - ")[2].partition(" in ")[0] for line in lines] == [
            "no exchange 'rpc'",
            "no exchange 'events'",
        ]


async def test_check_of_definitions_of_an_older_version_asks_for_an_import(amqp_url: str) -> None:
    """Without the binding for probes no feed becomes alive."""
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        for name in (RPC_EXCHANGE, EVENTS_EXCHANGE):
            await channel.declare_exchange(name, ExchangeType.TOPIC, durable=True)
    code, (line,) = await check("api", AMQP_URL=amqp_url, AUTH_DECLARE_TOPOLOGY="false")
    assert code == EX_UNAVAILABLE
    assert line.endswith("`rpc` passes no probes on to `events`: import the definitions")


async def test_check_of_an_unreachable_database_prints_its_address(amqp_url: str) -> None:
    """The password is not printed."""
    code, (line,) = await check_worker(amqp_url, f"mongodb://127.0.0.1:1/auth?appname={SECRET}")
    assert code == EX_UNAVAILABLE
    assert line.startswith("database: cannot be reached: 127.0.0.1:1")
    assert SECRET not in line


async def test_check_of_a_database_without_linearizable_reads_names_the_setting(amqp_url: str, mongo_url: str) -> None:
    await with_indexes(mongo_url)
    async with PrimaryLink(mongo_url) as link:
        link.linearizable_error = 72
        code, (line,) = await check_worker(amqp_url, link.url)
        assert code == EX_UNAVAILABLE
        assert line.startswith("database: refuses linearizable reads with error 72")
        assert line.endswith("set AUTH_PRIMARY_LEASE to false")
        assert await check_worker(amqp_url, link.url, AUTH_PRIMARY_LEASE="false") == (0, ["ok"])


async def test_check_with_a_missing_and_a_conflicting_index_names_both(amqp_url: str, mongo_url: str) -> None:
    await with_indexes(mongo_url)
    async with connect(mongo_url) as database:
        tenants = database.collection("tenants")
        await tenants.drop_indexes()
        await tenants.create_index("email")
    assert await check_worker(amqp_url, mongo_url) == (
        EX_UNAVAILABLE,
        [
            "database: index ending.at_1 of tenants is missing; run `python -m worker.indexes`",
            "database: index recount_1 of tenants is missing; run `python -m worker.indexes`",
            "database: index email_1 of tenants has another definition than expected; drop it",
        ],
    )


@pytest.mark.parametrize(
    ("database_time", "problem"),
    [
        (NOW, None),
        (NOW + timedelta(seconds=2), None),  # the answer took that long
        (NOW + timedelta(seconds=5), "this machine's clock is 3.0 s behind the database's"),
        (NOW - timedelta(seconds=90), "this machine's clock is 90.0 s ahead of the database's"),
        ((NOW - timedelta(seconds=90)).replace(tzinfo=None), "this machine's clock is 90.0 s ahead of the database's"),
        (None, None),
    ],
)
def test_clock_check_reports_the_difference_beyond_the_time_of_the_answer(
    database_time: datetime | None, problem: str | None
) -> None:
    """Deadlines are set by one clock and checked by another."""
    assert clock_problems(database_time, NOW, NOW + timedelta(seconds=2)) == ([problem] if problem else [])
