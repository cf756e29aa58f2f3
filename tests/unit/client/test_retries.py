"""The client's attempts of one call share the call's timeout."""

import asyncio

import pytest

from shared.client.retries import with_retries
from shared.contracts.errors import DeadlineExceeded, Overloaded, Temporary, Unavailable


async def test_slow_refusals_are_retried_within_the_timeout_of_the_call_only() -> None:
    """A silent database refuses each attempt seconds later, and the caller still gets the refusal."""
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            await asyncio.sleep(60)
        raise Unavailable("database did not answer in time, try again")

    async with asyncio.timeout(30):
        with pytest.raises(Unavailable, match="database did not answer"):
            await with_retries(attempt, repeatable=True, timeout_seconds=1.0)
    assert attempts == 2


@pytest.mark.parametrize(("refusal", "raised"), [(Unavailable, Unavailable), (Overloaded, DeadlineExceeded)])
async def test_retry_without_an_answer_raises_the_refusal_unless_that_says_not_done(
    refusal: type[Temporary], raised: type[Temporary]
) -> None:
    """`Overloaded` promises that nothing was done, and the retry may have been done."""
    answers = [refusal(), DeadlineExceeded()]

    async def attempt() -> None:
        raise answers.pop(0)

    with pytest.raises(raised):
        await with_retries(attempt, repeatable=True)
    assert not answers
