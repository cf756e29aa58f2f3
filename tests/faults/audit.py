"""Compares what the service acknowledged to callers with its state after the faults."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import aio_pika
import pymongo
from aio_pika.abc import AbstractQueue

from shared.contracts.errors import InvalidCredentials, InvalidToken
from shared.contracts.events import SessionRevokedEvent
from tests.faults.accounts import Account, Fate, Unsure, session_id
from tests.faults.load import PASSWORD, REFUSALS, Records
from tests.faults.transports import PATIENCE_SECONDS, OverHttp

AUDIT_QUEUE = "audit"
#: Accounts inspected at a time: most calls are logins, which use all cores.
CONCURRENCY = 4


async def collect_events(amqp_url: str) -> None:
    """Declare the queue that keeps every revocation from now on."""
    async with await aio_pika.connect(amqp_url) as connection:
        await _audit_queue(connection)


async def audited(records: Records, tenant: OverHttp, amqp_url: str, mongo_url: str) -> Counter[str]:
    """Return counts of what was found, by kind.

    Raise `AssertionError` with everything that contradicts an acknowledgement. Requires a ready service; pending
    revocations get the time that they need.
    """
    audit = Inspection(tenant)
    await audit.inspect(records.accounts)
    await until_nothing_pending(mongo_url)
    announced = await received_revocations(amqp_url, audit.ended)
    lost, spurious = audit.ended - announced, audit.live & announced
    wrong = [*records.violations, *audit.violations]
    wrong += [f"no event announces the end of {session}" for session in sorted(lost)]
    wrong += [f"an event announces the end of {session}, which is live" for session in sorted(spurious)]
    assert not wrong, "\n".join(wrong)
    return Counter(
        answers=len(records.answers),
        acknowledged=records.codes()["ok"],
        accounts=len(records.accounts),
        unsure=sum(account.unsure is not None for account in records.accounts),
        live=len(audit.live),
        ended=len(audit.ended),
        events=len(announced),
    )


async def until_nothing_pending(mongo_url: str) -> None:
    """Wait until no revocation is unfinished or unannounced in the database. Raise `TimeoutError`."""
    with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
        database = client.get_default_database()
        async with asyncio.timeout(PATIENCE_SECONDS):
            for collection, pending in (("users", "ending"), ("sessions", "outbox")):
                query = {pending: {"$exists": True}}
                while await asyncio.to_thread(database[collection].find_one, query):  # noqa: ASYNC110 (workers finish it)
                    await asyncio.sleep(0.1)


class Service(Protocol):
    """The service that an inspection calls."""

    async def create(self, login: str, password: str) -> None: ...

    async def login(self, login: str, password: str) -> str: ...

    async def verify(self, token: str) -> None: ...


class Inspection:
    """Inspects accounts as their tenant sees them now: live sessions, ended sessions and violations."""

    def __init__(self, tenant: Service) -> None:
        self._tenant = tenant
        self._turns = asyncio.Semaphore(CONCURRENCY)
        self.violations: list[str] = []
        self.live: set[str] = set()
        self.ended: set[str] = set()

    async def inspect(self, accounts: Sequence[Account]) -> None:
        await asyncio.gather(*(self._account(account) for account in accounts))

    async def _account(self, account: Account) -> None:
        async with self._turns:
            changed = await self._user(account)
            for token, fate in account.sessions.items():
                alive = await self._accepts(token)
                (self.live if alive else self.ended).add(session_id(token))
                if fate is Fate.ENDED and alive:
                    self._violate(account, f"session is live again: {session_id(token)}")
                if fate is Fate.LIVE and alive is changed:
                    kept = "lives on after" if changed else "is lost without"
                    self._violate(account, f"session {session_id(token)} {kept} {account.unsure or 'any change'}")

    async def _user(self, account: Account) -> bool:
        """Return whether a change of unknown outcome happened; all sessions must agree with it."""
        exists = await self._logs_in(account, account.password)
        match account.unsure:
            case None:
                if exists == account.deleted:
                    self._violate(account, "user is back" if exists else "user is lost")
                return False
            case Unsure.CREATION:
                # Created completely or not at all; then the login is free.
                if not exists:
                    await self._retried(lambda: self._tenant.create(account.login, PASSWORD))
                return False
            case Unsure.PASSWORD:
                assert account.new_password is not None
                changed = await self._logs_in(account, account.new_password)
                if changed == exists:
                    self._violate(account, "both passwords are right" if exists else "neither password is right")
                return changed
            case Unsure.REVOCATION:
                if not exists:
                    self._violate(account, "user is lost")
                alive = [await self._accepts(token) for token in account.live()]
                return not any(alive)
            case Unsure.DELETION:
                return not exists

    async def _logs_in(self, account: Account, password: str) -> bool:
        try:
            token = await self._retried(lambda: self._tenant.login(account.login, password))
        except InvalidCredentials:
            return False
        self.live.add(session_id(token))
        return True

    async def _accepts(self, token: str) -> bool:
        try:
            await self._retried(lambda: self._tenant.verify(token))
        except InvalidToken:
            return False
        return True

    async def _retried(self, call: Any) -> Any:
        """Return the call's result, with retries while the service recovers."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with contextlib.suppress(*REFUSALS):
                    return await call()
                await asyncio.sleep(0.1)

    def _violate(self, account: Account, text: str) -> None:
        self.violations.append(f"{account.login}: {text}")


async def received_revocations(amqp_url: str, enough: Collection[str]) -> set[str]:
    """Return the sessions that the audit queue received, once `enough` are among them and the queue is empty.

    Events that are missing after the timeout are lost.
    """
    announced: set[str] = set()
    async with await aio_pika.connect(amqp_url) as connection:
        queue = await _audit_queue(connection)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    message = await queue.get(fail=False)
                    if message is not None:
                        await message.ack()
                        announced.add(SessionRevokedEvent.model_validate_json(message.body).data.session_id)
                    elif announced.issuperset(enough):
                        break
                    else:
                        await asyncio.sleep(0.1)
    return announced


async def _audit_queue(connection: aio_pika.abc.AbstractConnection) -> AbstractQueue:
    channel = await connection.channel()
    await channel.declare_exchange("events", aio_pika.ExchangeType.TOPIC, durable=True)
    queue = await channel.declare_queue(AUDIT_QUEUE, durable=True)
    await queue.bind("events", routing_key="session.revoked.#")
    return queue
