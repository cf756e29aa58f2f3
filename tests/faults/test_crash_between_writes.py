"""A worker that is killed before or after each single write of an operation."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio

from shared.contracts.errors import AuthError
from tests.faults.accounts import Account, Fate, Unsure, claims
from tests.faults.audit import audited, until_nothing_pending
from tests.faults.load import PASSWORD, REFUSALS, Records
from tests.faults.mongo_link import Moment, MongoLink, Trap
from tests.faults.profile import LONG, note
from tests.faults.stack import Crashable, Stack, running_stack
from tests.faults.transports import OverHttp

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Sessions per user; several, so that a change of all of them can stop halfway.
SESSIONS = 3
#: Short: the broker redelivers the request of a killed worker at once.
REPLY_TIMEOUT_SECONDS = 3


@dataclass(frozen=True)
class Change:
    """A change that revokes sessions."""

    name: str
    unsure: Unsure | None
    """None: the change is about one session."""
    make: Callable[[OverHttp, Account], Awaitable[None]]


CHANGES = [
    Change("logout", None, lambda tenant, account: tenant.logout(next(iter(account.sessions)))),
    Change("delete", Unsure.DELETION, lambda tenant, account: tenant.delete(account.login)),
    Change("revoke_all", Unsure.REVOCATION, lambda tenant, account: tenant.revoke_all(account.login)),
    Change(
        "change_password",
        Unsure.PASSWORD,
        lambda tenant, account: tenant.change_password(account.login, account.new_password or ""),
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def links(
    crashable: Crashable, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Stack, dict[str, MongoLink]]]:
    """A stack in which each worker has a link of its own to the database."""
    directory = tmp_path_factory.mktemp("writes")
    async with contextlib.AsyncExitStack() as undo:
        names = [f"worker-{kind}-{number}" for kind in ("verify", "password") for number in range(2)]
        database = crashable.server.url.replace("/jincor_auth", f"/{directory.name}")
        links = {name: await undo.enter_async_context(MongoLink(database)) for name in names}
        stack = await undo.enter_async_context(
            running_stack(
                directory,
                crashable,
                env={
                    "AUTH_REPLY_TIMEOUT_SECONDS": str(REPLY_TIMEOUT_SECONDS),
                    "AUTH_ACTIVITY_SECONDS": "3600",  # no writes of activity meanwhile
                },
                env_of={name: {"MONGO_URL": link.url} for name, link in links.items()},
            )
        )
        for name, link in links.items():
            link.pid = stack.process(name).pid
        yield stack, links


@pytest.mark.parametrize("change", CHANGES if LONG else CHANGES[:2], ids=lambda change: change.name)
@pytest.mark.parametrize("moment", list(Moment) if LONG else [Moment.AFTER], ids=lambda moment: moment.value)
async def test_worker_killed_at_each_write_leaves_no_half_change(
    links: tuple[Stack, dict[str, MongoLink]], change: Change, moment: Moment
) -> None:
    """Neither the caller, later readers nor subscribers see half of a change."""
    stack, link_of = links
    records = Records()
    trap = Trap([])
    for write in itertools.count():
        account = await _account(stack, f"{change.name}-{moment.value}-{write}")
        records.accounts.append(account)
        trap = _set_trap(link_of, Trap(_ids(account), write, moment))
        await _make(stack, change, account)
        if not await _sprung(stack, trap):
            break  # the change has no more writes
        await _start_again(stack, link_of)
    _set_trap(link_of, Trap([]))  # the audit must not spring the last trap
    found = await audited(records, stack.tenant, stack.service.amqp_url, stack.service.mongo_url)
    note(f"{change.name}: worker killed {moment.value} each of {len(trap.seen)} writes: {dict(found)}")
    assert len(trap.seen) >= 2


async def _sprung(stack: Stack, trap: Trap) -> bool:
    """Return whether a worker reaches the trap before all pending work is done."""
    done = asyncio.create_task(until_nothing_pending(stack.service.mongo_url))
    while not trap.sprung and not done.done():  # noqa: ASYNC110 (a worker springs it)
        await asyncio.sleep(0.02)
    if trap.sprung:
        done.cancel()
    await asyncio.gather(done, return_exceptions=True)
    return trap.sprung


async def _account(stack: Stack, login: str) -> Account:
    account = Account(login, PASSWORD, new_password=f"{PASSWORD} of {login}")
    await stack.tenant.create(login, PASSWORD)
    for _ in range(SESSIONS):
        account.sessions[await stack.tenant.login(login, PASSWORD)] = Fate.LIVE
    return account


async def _make(stack: Stack, change: Change, account: Account) -> None:
    """Make the change once, and record the known outcome."""
    refused = False
    try:
        await change.make(stack.tenant, account)
    except REFUSALS:
        refused = True
    except AuthError as error:
        raise AssertionError(f"{change.name} of {account.login} was answered {error.code}") from error
    if change.unsure is None:
        account.sessions[next(iter(account.sessions))] = Fate.UNKNOWN if refused else Fate.ENDED
    elif refused:
        account.unsure = change.unsure
    else:
        account.end_all()
        account.deleted = change.unsure is Unsure.DELETION
        if change.unsure is Unsure.PASSWORD:
            account.password = account.new_password or ""


def _ids(account: Account) -> list[bytes]:
    ids = {str(claims(token)[name]) for token in account.sessions for name in ("jti", "id")}
    return [each.encode() for each in ids]


def _set_trap(links: dict[str, MongoLink], trap: Trap) -> Trap:
    for link in links.values():
        link.trap = trap
    return trap


async def _start_again(stack: Stack, links: dict[str, MongoLink]) -> None:
    """Restart the worker that the trap killed."""
    while not (dead := [name for name, link in links.items() if link.sprung]):  # noqa: ASYNC110 (the link sets it)
        await asyncio.sleep(0.02)
    name = dead[0]
    await stack.process(name).wait()
    await stack.start_again(name)
    links[name].sprung = False
    links[name].pid = stack.process(name).pid
