"""How guessing is slowed down: an attempt is counted before anything is hashed, and no longer when it was right.

A guess is counted against the account, together with those of all other strangers, and against the address that it
comes from. Who logs in from where the account has logged in before is counted apart from the strangers, by place: so
nobody keeps an account's owner out from somewhere else. Unknown accounts are counted as known ones.

After too many wrong ones in a row strangers try no more passwords of the account, until it has a new one or its tenant
says so (NIST SP 800-63B-4, 3.2.2). From where it has logged in before it goes on.

A place is an address, or the service of the broker that sent the request without one. Tenants are believed about where
their users are. About a tenant, and about who shows the registration key, only edges are believed.
"""

import asyncio
import contextlib
import hashlib
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.contracts.address import ClientAddress, client_key
from shared.contracts.errors import InvalidCredentials, Throttled
from worker.domain.attempts import Count, Limit
from worker.domain.call import Call
from worker.domain.ports import Ports

#: 128 bits: keys of two accounts must not meet. Nothing but digests is stored: people type passwords into wrong fields.
KEY_BYTES = 16
#: Whose accounts a login is one of: tenants themselves, or users of a tenant, as `users_of` names them.
TENANTS = ("tenants",)
#: About as long as a password is hashed.
LOOK_SECONDS = 0.025
#: Three seconds in all: less than callers wait, and more than any attempt that is under way.
LOOKS = 120
#: An attempt that is under way for longer was lost with its worker.
LOST_AFTER = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class _Guess:
    """Under which keys an attempt may be counted."""

    place: str
    """This account from this client, from this service, or from edges' callers who do not say from where."""
    account: str
    """This account from anywhere."""
    address: str | None
    """Any account from this client, or any tenant from this service."""


def users_of(tenant: str) -> tuple[str, ...]:
    """The users of a tenant, as those among whom a login is one."""
    return ("users", tenant)


def account_key(among: Sequence[str], login: str) -> str:
    """Under which key attempts at this account are counted that come from strangers."""
    return _key("account", *among, login)


def strangers(call: Call) -> str:
    """Whose turn it is for requests that prove no tenant: of the edges' clients together, or of one service.

    Clients may have any number of addresses. Spaces keep the name apart from the ids of tenants.
    """
    return "clients of edges" if call.service is None else f"service {call.service}"


@contextlib.asynccontextmanager
async def guarded(
    among: Sequence[str], login: str, client: ClientAddress | None, call: Call, ports: Ports
) -> AsyncIterator[None]:
    """Around the look at a password, which raises `InvalidCredentials` if it is wrong.

    `among` names whose accounts `login` is one of: clients are counted for each of them apart. Raises `Throttled`.
    """
    if ports.throttle.account is None and ports.throttle.address is None:
        yield
        return
    guess = _guess(among, login, client, call)
    keys = [key for key in (guess.place, guess.account, guess.address) if key]
    limits = await _admitted(keys, lambda counts, now: _limits(guess, counts, now, ports), call, ports)
    async with _outcome(limits, ports):
        yield
    await _right(guess, limits, ports)


@contextlib.asynccontextmanager
async def guarded_registration_key(client: ClientAddress | None, call: Call, ports: Ports) -> AsyncIterator[None]:
    """Around the look at a registration key, which raises `InvalidCredentials` if it is wrong. Raises `Throttled`.

    Wrong keys are counted by where they come from and nowhere else, so that nobody keeps the operator out from
    somewhere else. A right key forgives the wrong ones: whoever has it has nothing to guess.
    """
    key = _key("registration key", *_whence(call.client(client), call))
    limits = await _admitted([key], lambda _counts, _now: {key: ports.throttle.registration_key}, call, ports)
    async with _outcome(limits, ports):
        yield
    await ports.attempts.forget(key)


@contextlib.asynccontextmanager
async def _outcome(limits: Sequence[str], ports: Ports) -> AsyncIterator[None]:
    """Around an attempt that is counted under these keys: it stays counted there if it was wrong."""
    try:
        yield
    except InvalidCredentials:
        await asyncio.gather(*map(ports.attempts.failed, limits))
        raise
    except Exception:  # nobody knows whether it was right, so it was no guess
        await asyncio.gather(*map(ports.attempts.take_back, limits))
        raise


async def _admitted(
    keys: Sequence[str],
    limits_of: Callable[[Mapping[str, Count], datetime], dict[str, Limit]],
    call: Call,
    ports: Ports,
) -> Sequence[str]:
    """Counts the attempt; the keys that it is counted under, of those that are looked up. Raises `Throttled`.

    Whoever would have to wait because of attempts that are under way waits here until these have an outcome: right
    ones, such as those of many processes that start together, must not be in each other's way.
    """
    wait = timedelta()
    for _ in range(LOOKS):
        now = ports.clock.now()
        counts = await ports.attempts.find(keys)
        limits = limits_of(counts, now)
        if call.redelivered and all(key in counts and counts[key].under_way for key in limits):
            return [*limits]  # counted by the worker that was lost with it, if that had begun with it
        waits = {key: limit.wait(counts.get(key), now) for key, limit in limits.items()}
        wait = max(waits.values(), default=timedelta())
        if not wait:
            if await _counted(limits, counts, now, ports):
                return [*limits]
        elif all(_is_under_way(counts[key], now) for key, each in waits.items() if each):
            await asyncio.sleep(LOOK_SECONDS)
        else:
            break
    call.noted.locked = any(limit.is_locked(counts.get(key), now) for key, limit in limits.items())
    raise Throttled(retry_after_seconds=max(math.ceil(wait.total_seconds()), 1))


async def forget_failures(among: Sequence[str], login: str, ports: Ports) -> None:
    """Forgets what strangers have tried at this account: it has a new password, or its tenant lets them try again."""
    await ports.attempts.forget(account_key(among, login))


def _limits(guess: _Guess, counts: Mapping[str, Count], now: datetime, ports: Ports) -> dict[str, Limit]:
    """Which keys the attempt is counted under, and how many are free there."""
    throttle = ports.throttle
    limits = {}
    if throttle.account is not None and throttle.place is not None:
        place = counts.get(guess.place)
        if place is not None and now < place.kept_until:
            return {guess.place: throttle.place}
        limits[guess.account] = throttle.account
    if throttle.address is not None and guess.address is not None:
        limits[guess.address] = throttle.address
    return limits


async def _counted(limits: Mapping[str, Limit], counts: Mapping[str, Count], now: datetime, ports: Ports) -> bool:
    """Whether the attempt is counted under all keys; if not, somebody was faster, and it is under none."""
    done: list[str] = []
    for key, limit in limits.items():
        if not await ports.attempts.count(key, counts.get(key), limit, now):
            await asyncio.gather(*map(ports.attempts.take_back, done))
            return False
        done.append(key)
    return True


def _is_under_way(count: Count, now: datetime) -> bool:
    return count.under_way > 0 and now < count.last_at + LOST_AFTER


async def _right(guess: _Guess, limits: Sequence[str], ports: Ports) -> None:
    """Nothing is counted any more where it was counted, but for the address: it may have guessed at other accounts."""
    steps = []
    if ports.throttle.account is not None:
        now = ports.clock.now()
        steps.append(ports.attempts.keep(guess.place, now, now + ports.throttle.known_for))
    if guess.account in limits:
        steps.append(ports.attempts.forget(guess.account))
    if guess.address is not None and guess.address in limits:
        steps.append(ports.attempts.take_back(guess.address))
    await asyncio.gather(*steps)


def _guess(among: Sequence[str], login: str, client: ClientAddress | None, call: Call) -> _Guess:
    of_tenants = among == TENANTS
    whence = _whence(call.client(client) if of_tenants else client, call)
    # All users of a product may be behind one service, or behind none that says where they are: that is no client.
    is_client = whence[0] is not None or (of_tenants and call.service is not None)
    return _Guess(
        place=_key("place", *among, login, *whence),
        account=account_key(among, login),
        address=_key("address", *among, *whence) if is_client else None,
    )


def _whence(client: ClientAddress | None, call: Call) -> tuple[str | None, ...]:
    """The client; without one, the service that sent the request, if it was one."""
    if client is not None:
        return (client_key(client),)
    return (None,) if call.service is None else (None, call.service)


def _key(*parts: str | None) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=KEY_BYTES).hexdigest()
