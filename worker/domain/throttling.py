"""Throttling of password attempts. An attempt is counted before the password is hashed; a right one is uncounted.

Each attempt is counted under these keys:

- An attempt from a known origin is counted under the pair of account and origin only. So an attacker
  elsewhere cannot keep the account's owner out. An origin is known if the account has logged in
  from there before.
- An attempt from any other origin is counted under the account, and under the client address.

Unknown accounts are counted like known ones. After too many consecutive wrong passwords the account
is locked for all but its known origins (NIST SP 800-63B-4, 3.2.2). A new password or its tenant
unlocks it.

An origin is a client address, or without one the service that sent the request. The address of a
user's client is taken from the tenant. For logins of tenants, and for the registration key, it is
taken only from an edge.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.contracts.address import ClientAddress, client_key
from shared.contracts.errors import InvalidCredentials, Throttled
from worker.domain.attempts import AttemptCount, Limit
from worker.domain.call import Call
from worker.domain.identifiers import digest
from worker.domain.ports import Ports

#: The namespace of tenants' own logins. `users_of` returns that of a tenant's users.
TENANTS = ("tenants",)
#: About the time it takes to hash a password.
POLL_SECONDS = 0.025
#: Three seconds in all: less than callers wait, and longer than an attempt takes.
MAX_POLLS = 120
#: An attempt in flight for longer is considered lost together with its worker.
LOST_AFTER = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class _AttemptKeys:
    """The keys under which an attempt may be counted: digests, since people type passwords into the login field."""

    account_and_origin: str
    """This account, from this client or service. Requests of edges without a client address share one origin."""
    account: str
    """This account, from any origin."""
    address: str | None
    """Any account of the namespace, from this client. For tenants' logins also from this service."""


def users_of(tenant: str) -> tuple[str, ...]:
    """Return the namespace of the logins of a tenant's users."""
    return ("users", tenant)


def account_key(namespace: Sequence[str], login: str) -> str:
    """Return the key under which attempts at this account from unknown origins are counted."""
    return digest("account", *namespace, login)


def unauthenticated_group(call: Call) -> str:
    """Return the `Turns` group of requests that prove no tenant: one for all clients of edges, one for each service.

    Clients are not grouped by address, since a client may have any number of addresses. Names with
    spaces never equal a tenant id.
    """
    return "clients of edges" if call.service is None else f"service {call.service}"


@contextlib.asynccontextmanager
async def throttled_attempt(
    namespace: Sequence[str], login: str, client: ClientAddress | None, call: Call, ports: Ports
) -> AsyncIterator[None]:
    """Throttle the password check in the body, which raises `InvalidCredentials` for a wrong password.

    `namespace` is the one that `login` belongs to; clients are counted separately for each. Raises
    `Throttled`.
    """
    if ports.throttle.account is None and ports.throttle.address is None:
        yield
        return
    attempt = _attempt_keys(namespace, login, client, call)
    keys = [key for key in (attempt.account_and_origin, attempt.account, attempt.address) if key]
    counted = await _count_attempt(keys, lambda counts, now: _limits(attempt, counts, now, ports), call, ports)
    async with _recording_failure(counted, ports):
        yield
    await _record_success(attempt, counted, ports)


@contextlib.asynccontextmanager
async def throttled_registration_key(client: ClientAddress | None, call: Call, ports: Ports) -> AsyncIterator[None]:
    """Throttle the check of a registration key in the body, which raises `InvalidCredentials` for a wrong key.

    Wrong keys are counted per origin only, so that an attacker elsewhere cannot keep the operator
    out. A right key resets the count: its holder has nothing to guess. Raises `Throttled`.
    """
    async with _throttled_by_origin("registration key", client, call, ports):
        yield


@contextlib.asynccontextmanager
async def throttled_reset_code(client: ClientAddress | None, call: Call, ports: Ports) -> AsyncIterator[None]:
    """Throttle the check of a tenant's reset code in the body, which raises `InvalidCredentials` for a wrong code.

    Like registration keys: an attacker elsewhere cannot keep the tenant out, and no number of guesses finds a code.
    Raises `Throttled`.
    """
    async with _throttled_by_origin("reset code", client, call, ports):
        yield


@contextlib.asynccontextmanager
async def _throttled_by_origin(
    secret: str, client: ClientAddress | None, call: Call, ports: Ports
) -> AsyncIterator[None]:
    key = digest(secret, *_origin(call.client(client), call))
    counted = await _count_attempt([key], lambda _counts, _now: {key: ports.throttle.registration_key}, call, ports)
    async with _recording_failure(counted, ports):
        yield
    await ports.attempts.forget(key)


@contextlib.asynccontextmanager
async def _recording_failure(counted: Sequence[str], ports: Ports) -> AsyncIterator[None]:
    """Keep the attempt counted under these keys if the body raises `InvalidCredentials`; uncount it on other errors."""
    try:
        yield
    except InvalidCredentials:
        await asyncio.gather(*map(ports.attempts.failed, counted))
        raise
    except Exception:  # the outcome is unknown, so the attempt does not count as wrong
        await asyncio.gather(*map(ports.attempts.take_back, counted))
        raise


async def _count_attempt(
    keys: Sequence[str],
    limits_of: Callable[[Mapping[str, AttemptCount], datetime], dict[str, Limit]],
    call: Call,
    ports: Ports,
) -> Sequence[str]:
    """Count the attempt, and return those of the keys under which it is counted. Raises `Throttled`.

    If only attempts in flight would delay this one, it waits here for their outcome. So right
    passwords, such as those of many processes that start at once, do not throttle each other.
    """
    wait = timedelta()
    for _ in range(MAX_POLLS):
        now = ports.clock.now()
        counts = await ports.attempts.find(keys)
        limits = limits_of(counts, now)
        if call.redelivered and all(key in counts and counts[key].in_flight for key in limits):
            return [*limits]  # a lost worker may have counted this attempt already
        waits = {key: limit.wait(counts.get(key), now) for key, limit in limits.items()}
        wait = max(waits.values(), default=timedelta())
        if not wait:
            if await _count_under_all(limits, counts, now, ports):
                return [*limits]
        elif all(_has_in_flight(counts[key], now) for key, each in waits.items() if each):
            await asyncio.sleep(POLL_SECONDS)
        else:
            break
    call.audit_facts.locked = any(limit.is_locked(counts.get(key), now) for key, limit in limits.items())
    raise Throttled(retry_after_seconds=max(math.ceil(wait.total_seconds()), 1))


async def forget_failures(namespace: Sequence[str], login: str, ports: Ports) -> None:
    """Reset the account's count of wrong passwords and unlock it, after a new password or at its tenant's request."""
    await ports.attempts.forget(account_key(namespace, login))


def _limits(attempt: _AttemptKeys, counts: Mapping[str, AttemptCount], now: datetime, ports: Ports) -> dict[str, Limit]:
    """Return the keys under which the attempt is to be counted, each with its limit."""
    throttle = ports.throttle
    limits = {}
    if throttle.account is not None and throttle.known_origin is not None:
        known = counts.get(attempt.account_and_origin)
        if known is not None and now < known.kept_until:
            return {attempt.account_and_origin: throttle.known_origin}
        limits[attempt.account] = throttle.account
    if throttle.address is not None and attempt.address is not None:
        limits[attempt.address] = throttle.address
    return limits


async def _count_under_all(
    limits: Mapping[str, Limit], counts: Mapping[str, AttemptCount], now: datetime, ports: Ports
) -> bool:
    """Count the attempt under all keys. Return False, with nothing counted, if another attempt was counted first."""
    done: list[str] = []
    for key, limit in limits.items():
        if not await ports.attempts.count(key, counts.get(key), limit, now):
            await asyncio.gather(*map(ports.attempts.take_back, done))
            return False
        done.append(key)
    return True


def _has_in_flight(count: AttemptCount, now: datetime) -> bool:
    return count.in_flight > 0 and now < count.last_at + LOST_AFTER


async def _record_success(attempt: _AttemptKeys, counted: Sequence[str], ports: Ports) -> None:
    """Make the origin a known one and reset the account's count.

    Under the address only this attempt is uncounted: the client may have tried other accounts.
    """
    steps = []
    if ports.throttle.account is not None:
        now = ports.clock.now()
        steps.append(ports.attempts.keep(attempt.account_and_origin, now, now + ports.throttle.known_for))
    if attempt.account in counted:
        steps.append(ports.attempts.forget(attempt.account))
    if attempt.address is not None and attempt.address in counted:
        steps.append(ports.attempts.take_back(attempt.address))
    await asyncio.gather(*steps)


def _attempt_keys(namespace: Sequence[str], login: str, client: ClientAddress | None, call: Call) -> _AttemptKeys:
    of_tenants = namespace == TENANTS
    origin = _origin(call.client(client) if of_tenants else client, call)
    # Requests without a client address may come from all users of a product, so they are not
    # counted as one client.
    is_client = origin[0] is not None or (of_tenants and call.service is not None)
    return _AttemptKeys(
        account_and_origin=digest("place", *namespace, login, *origin),  # "place": stored digests contain this text
        account=account_key(namespace, login),
        address=digest("address", *namespace, *origin) if is_client else None,
    )


def _origin(client: ClientAddress | None, call: Call) -> tuple[str | None, ...]:
    """Return the parts of a key that identify the origin: the client, or without one the service, if one sent it."""
    if client is not None:
        return (client_key(client),)
    return (None,) if call.service is None else (None, call.service)
