"""Holds everything that callers were told against what is so once the faults are over."""

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
#: Accounts looked at at a time: what is asked most are logins, and those take all the cores there are.
AT_A_TIME = 4


async def collect_events(amqp_url: str) -> None:
    """From now on the broker keeps every revocation, as for an audit that is not running."""
    async with await aio_pika.connect(amqp_url) as connection:
        await _audit_queue(connection)


async def audited(records: Records, tenant: OverHttp, amqp_url: str, mongo_url: str) -> Counter[str]:
    """What was found, by kind. Raises `AssertionError` naming everything that is not as it was acknowledged.

    The service is ready again, and calls are answered; what was left behind has as long as it takes to be finished.
    """
    audit = Inspection(tenant)
    await audit.look_at(records.accounts)
    await nothing_left_behind(mongo_url)
    told = await heard(amqp_url, audit.ended)
    lost, spurious = audit.ended - told, audit.live & told
    wrong = [*records.violations, *audit.violations]
    wrong += [f"no event tells of the end of {session}" for session in sorted(lost)]
    wrong += [f"an event tells of the end of {session}, which is live" for session in sorted(spurious)]
    assert not wrong, "\n".join(wrong)
    return Counter(
        answers=len(records.answers),
        acknowledged=records.codes()["ok"],
        accounts=len(records.accounts),
        unsure=sum(account.unsure is not None for account in records.accounts),
        live=len(audit.live),
        ended=len(audit.ended),
        events=len(told),
    )


async def nothing_left_behind(mongo_url: str) -> None:
    """Returns when the database holds neither a session to announce nor an ending to finish. Raises `TimeoutError`."""
    with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
        database = client.get_default_database()
        async with asyncio.timeout(PATIENCE_SECONDS):
            for collection, left in (("users", "ending"), ("sessions", "outbox")):
                query = {left: {"$exists": True}}
                while await asyncio.to_thread(database[collection].find_one, query):  # noqa: ASYNC110 (workers finish it)
                    await asyncio.sleep(0.1)


class Witness(Protocol):
    """Whom an inspection asks."""

    async def create(self, login: str, password: str) -> None: ...

    async def login(self, login: str, password: str) -> str: ...

    async def verify(self, token: str) -> None: ...


class Inspection:
    """A look at accounts as their tenant sees them now: what is live, what has ended, and what should not be so."""

    def __init__(self, tenant: Witness) -> None:
        self._tenant = tenant
        self._turns = asyncio.Semaphore(AT_A_TIME)
        self.violations: list[str] = []
        self.live: set[str] = set()
        self.ended: set[str] = set()

    async def look_at(self, accounts: Sequence[Account]) -> None:
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
        """Whether what nobody was sure of has happened, which all its sessions have to bear out."""
        exists = await self._logs_in(account, account.password)
        match account.unsure:
            case None:
                if exists == account.deleted:
                    self._violate(account, "user is back" if exists else "user is lost")
                return False
            case Unsure.CREATION:
                # Either whole, or not there at all: then its login is free.
                if not exists:
                    await self._again(lambda: self._tenant.create(account.login, PASSWORD))
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
            token = await self._again(lambda: self._tenant.login(account.login, password))
        except InvalidCredentials:
            return False
        self.live.add(session_id(token))
        return True

    async def _accepts(self, token: str) -> bool:
        try:
            await self._again(lambda: self._tenant.verify(token))
        except InvalidToken:
            return False
        return True

    async def _again(self, call: Any) -> Any:
        """What it answers, tried again while the service is still catching its breath."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with contextlib.suppress(*REFUSALS):
                    return await call()
                await asyncio.sleep(0.1)

    def _violate(self, account: Account, text: str) -> None:
        self.violations.append(f"{account.login}: {text}")


async def heard(amqp_url: str, enough: Collection[str]) -> set[str]:
    """The sessions that the audit's queue has heard of, once `enough` are among them and it is empty.

    What is missing after that is lost: it gets the time that the sweep may take, and no more.
    """
    told: set[str] = set()
    async with await aio_pika.connect(amqp_url) as connection:
        queue = await _audit_queue(connection)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    message = await queue.get(fail=False)
                    if message is not None:
                        await message.ack()
                        told.add(SessionRevokedEvent.model_validate_json(message.body).data.session_id)
                    elif told.issuperset(enough):
                        break
                    else:
                        await asyncio.sleep(0.1)
    return told


async def _audit_queue(connection: aio_pika.abc.AbstractConnection) -> AbstractQueue:
    channel = await connection.channel()
    await channel.declare_exchange("events", aio_pika.ExchangeType.TOPIC, durable=True)
    queue = await channel.declare_queue(AUDIT_QUEUE, durable=True)
    await queue.bind("events", routing_key="session.revoked.#")
    return queue
