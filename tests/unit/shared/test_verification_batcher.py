"""Coalescing of verifications: a single one is sent at once, others share batches, each caller gets its answer."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from shared.amqp.rpc_port import DEFAULT_TIMEOUT_SECONDS
from shared.amqp.verification_batcher import MAX_QUEUED_BYTES, MAX_QUEUED_CHECKS, VerificationBatcher
from shared.contracts.auth_verify import AUTH_VERIFY, MAX_BATCH, VerifyCheck
from shared.contracts.claims import Claims
from shared.contracts.errors import (
    AuthError,
    DeadlineExceeded,
    InternalError,
    InvalidTenantToken,
    InvalidToken,
    Overloaded,
    Unavailable,
)
from shared.contracts.operation import Operation, ReplyT, RequestT
from shared.contracts.wire import MAX_TOKEN_CHARS

#: Seconds, longer than any test runs.
NEVER = 3600.0


@dataclass
class Batch:
    """A sent message and its pending reply."""

    tokens: list[str]
    body_bytes: int
    timeout_seconds: float
    reply: asyncio.Future[list[dict[str, Any]]] = field(default_factory=asyncio.Future)

    def answer(self) -> None:
        """Answer as a worker does: tokens whose name starts with `dead` are invalid, all others valid."""
        self.reply.set_result([answer_to(token) for token in self.tokens])


class HeldRpc:
    """Holds each batch until a test answers it. Messages pass through JSON, as on the wire."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    @property
    def open(self) -> list[Batch]:
        """Return the batches without an answer."""
        return [batch for batch in self.batches if not batch.reply.done()]

    async def call(
        self,
        operation: Operation[RequestT, ReplyT],
        request: RequestT,
        *,
        request_id: str | None = None,  # noqa: ARG002 - the overridden signature
        message_id: str | None = None,  # noqa: ARG002 - the overridden signature
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> ReplyT:
        body = request.to_json()
        sent = operation.request.model_validate_json(body)
        tokens = [check["token"] for check in json.loads(sent.to_json())["checks"]]
        self.batches.append(Batch(tokens, len(body), timeout_seconds))
        answers = await self.batches[-1].reply
        return operation.reply.model_validate_json(json.dumps({"answers": answers}))


def answer_to(token: str) -> dict[str, Any]:
    if token.startswith("dead"):
        return {"error": {"code": "invalid_token", "message": f"{token} is invalid"}}
    claims = dict.fromkeys(("iss", "aud", "sub", "id", "login", "tenant"), "")
    return {"claims": {**claims, "iat": 1, "exp": 2, "jti": token}}


def ask(verifier: VerificationBatcher, token: str) -> asyncio.Task[Claims]:
    return asyncio.create_task(verifier.verify(VerifyCheck(tenant_token="tenant", token=token)))


async def ask_in_turn(verifier: VerificationBatcher, tokens: Sequence[str]) -> list[asyncio.Task[Claims]]:
    """Start the calls one after the other: the first are sent alone, the others wait for a free batch."""
    asked = []
    for token in tokens:
        asked.append(ask(verifier, token))
        await settled()
    return asked


async def outcome(asked: Awaitable[Claims]) -> str:
    """Return the token of the claims, or the text of the error."""
    try:
        return (await asked).jti
    except AuthError as error:
        return f"{type(error).__name__}: {error}"


def expected(token: str) -> str:
    return f"InvalidToken: {token} is invalid" if token.startswith("dead") else token


async def settled() -> None:
    """Let the event loop run until only answers are missing."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def rpc() -> HeldRpc:
    return HeldRpc()


@pytest.fixture
def verifier(rpc: HeldRpc) -> VerificationBatcher:
    return VerificationBatcher(rpc, timeout_seconds=60, max_batches_in_flight=2, stalled_seconds=NEVER)


async def test_single_call_is_sent_at_once(rpc: HeldRpc, verifier: VerificationBatcher) -> None:
    asked = ask(verifier, "one")
    await settled()
    (batch,) = rpc.batches
    assert batch.tokens == ["one"]
    assert batch.timeout_seconds == 60
    batch.answer()
    assert await outcome(asked) == "one"


async def test_calls_beyond_the_batches_in_flight_share_the_next_batch(
    rpc: HeldRpc, verifier: VerificationBatcher
) -> None:
    asked = await ask_in_turn(verifier, [f"token-{number}" for number in range(7)])
    assert [batch.tokens for batch in rpc.batches] == [["token-0"], ["token-1"]]
    rpc.batches[1].answer()
    await settled()
    assert [batch.tokens for batch in rpc.batches[2:]] == [[f"token-{number}" for number in range(2, 7)]]
    for batch in rpc.open:
        batch.answer()
    assert [await outcome(each) for each in asked] == [f"token-{number}" for number in range(7)]


async def test_stalled_batches_do_not_block_further_calls(rpc: HeldRpc) -> None:
    """Their callers still wait for the reply until the deadline."""
    verifier = VerificationBatcher(rpc, timeout_seconds=5, stalled_seconds=0.1)
    lost = await ask_in_turn(verifier, ["a", "b"])
    behind = ask(verifier, "c")
    await settled()
    assert [batch.tokens for batch in rpc.batches] == [["a"], ["b"]]
    async with asyncio.timeout(30):
        while len(rpc.batches) < 3:  # noqa: ASYNC110 - a batch stalls by the real clock
            await asyncio.sleep(0.01)
    rpc.batches[2].answer()
    rpc.batches[0].answer()
    assert [await outcome(call) for call in (behind, lost[0])] == [expected("c"), expected("a")]
    with pytest.raises(DeadlineExceeded):
        await lost[1]


async def test_simultaneous_calls_are_split_evenly_over_the_free_batches(
    rpc: HeldRpc, verifier: VerificationBatcher
) -> None:
    asked = [ask(verifier, f"token-{number}") for number in range(7)]
    await settled()
    assert [batch.tokens for batch in rpc.batches] == [
        ["token-0", "token-1", "token-2", "token-3"],
        ["token-4", "token-5", "token-6"],
    ]
    for batch in rpc.batches:
        batch.answer()
    assert [await outcome(each) for each in asked] == [f"token-{number}" for number in range(7)]


async def test_batches_hold_at_most_the_maximum_in_order_of_arrival(
    rpc: HeldRpc, verifier: VerificationBatcher
) -> None:
    tokens = [f"token-{number}" for number in range(2 * MAX_BATCH + 100)]
    asked = [ask(verifier, token) for token in tokens]
    await settled()
    while rpc.open:
        assert len(rpc.open) <= 2
        rpc.open[0].answer()
        await settled()
    assert [len(batch.tokens) for batch in rpc.batches] == [MAX_BATCH, MAX_BATCH, 100]
    assert [token for batch in rpc.batches for token in batch.tokens] == tokens
    assert [await outcome(each) for each in asked] == tokens


#: The longest token in JSON (all characters escaped), the longest plain token, and a common one.
LONGEST = '"' * MAX_TOKEN_CHARS
LONG = "x" * MAX_TOKEN_CHARS
SHORT = "x" * 400


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param([LONGEST], id="one"),
        pytest.param([LONGEST] * MAX_BATCH, id="many"),
        pytest.param([LONG] * MAX_BATCH, id="long"),
        pytest.param([SHORT, LONGEST, LONG] * 80, id="mixed"),
    ],
)
async def test_batch_of_any_tokens_fits_into_the_maximum_body(tokens: list[str]) -> None:
    """A caller with unusual tokens must not get the batch of other callers refused."""
    rpc = HeldRpc()
    verifier = VerificationBatcher(rpc, timeout_seconds=60, max_batches_in_flight=1)
    first = ask(verifier, "first")
    await settled()
    checks = [VerifyCheck(tenant_token=token, token=token, request_id="x" * 128) for token in tokens]
    asked = [asyncio.create_task(verifier.verify(check)) for check in checks]
    await settled()
    while rpc.open:
        rpc.open[0].answer()
        await settled()
    assert [token for batch in rpc.batches for token in batch.tokens] == ["first", *tokens]
    assert max(batch.body_bytes for batch in rpc.batches) <= AUTH_VERIFY.max_body_bytes
    assert [(await each).jti for each in [first, *asked]] == ["first", *tokens]


async def test_batch_of_long_tokens_is_filled_up_to_the_maximum_body(rpc: HeldRpc) -> None:
    """The next check would not have fitted."""
    verifier = VerificationBatcher(rpc, timeout_seconds=60, max_batches_in_flight=1)
    asked = await ask_in_turn(verifier, ["first", *[LONG] * 100])
    while rpc.open:
        rpc.open[0].answer()
        await settled()
    await asyncio.gather(*asked)
    check = len(VerifyCheck(tenant_token="tenant", token=LONG).to_json()) + 1
    for batch in rpc.batches[1:-1]:
        assert AUTH_VERIFY.max_body_bytes - check < batch.body_bytes <= AUTH_VERIFY.max_body_bytes


async def test_waiting_checks_beyond_the_size_limit_are_refused(rpc: HeldRpc, verifier: VerificationBatcher) -> None:
    """The limit, 32 MiB, protects the memory of the process. Cancelled callers free their share."""
    await ask_in_turn(verifier, ["one", "two"])
    asked = [ask(verifier, LONGEST) for _ in range(1000)]
    await settled()
    refused = [each for each in asked if each.done()]
    size = len(VerifyCheck(tenant_token="tenant", token=LONGEST).to_json()) + 1
    assert len(asked) - len(refused) == MAX_QUEUED_BYTES // size < MAX_QUEUED_CHECKS
    assert {await outcome(each) for each in refused} == {f"Overloaded: {Overloaded.text}"}
    for each in asked:
        each.cancel()
    await settled()
    last = ask(verifier, LONGEST)
    await settled()
    assert not last.done()
    assert len(rpc.batches) == 2
    last.cancel()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(["live", "dead"])),
        st.tuples(st.sampled_from(["answer", "fail"]), st.integers(0, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
    ),
    min_size=5,
    max_size=60,
)


@settings(deadline=None)
@given(steps=steps, max_batches_in_flight=st.integers(1, 4))
async def test_answers_in_any_order_reach_their_own_callers(
    steps: list[tuple[str, Any]], max_batches_in_flight: int
) -> None:
    """In any order, batches are answered or fail, and callers are cancelled."""
    rpc = HeldRpc()
    verifier = VerificationBatcher(
        rpc, timeout_seconds=60, max_batches_in_flight=max_batches_in_flight, stalled_seconds=NEVER
    )
    asked: dict[str, asyncio.Task[Claims]] = {}
    failed: set[str] = set()
    for step, which in steps:
        if step == "ask":
            token = f"{which}-{len(asked)}"
            asked[token] = ask(verifier, token)
        elif step == "cancel" and which < len(asked):
            list(asked.values())[which].cancel()
        elif step in {"answer", "fail"} and which < len(rpc.open):
            batch = rpc.open[which]
            if step == "answer":
                batch.answer()
            else:
                failed.update(batch.tokens)
                batch.reply.set_exception(Unavailable())
        await settled()
        assert len(rpc.open) <= max_batches_in_flight
    while rpc.open:
        rpc.open[0].answer()
        await settled()
    for token, task in asked.items():
        assert task.done()
        if not task.cancelled():
            unavailable = f"Unavailable: {Unavailable.text}"
            assert await outcome(task) == (unavailable if token in failed else expected(token))


@pytest.mark.parametrize("error", [Unavailable(), Overloaded(), DeadlineExceeded(), InternalError(incident="1")])
async def test_failed_batch_fails_only_its_own_callers(
    rpc: HeldRpc, verifier: VerificationBatcher, error: AuthError
) -> None:
    """Later calls are sent as usual."""
    asked = await ask_in_turn(verifier, [f"token-{number}" for number in range(5)])
    rpc.batches[0].answer()
    await settled()
    rpc.batches[2].reply.set_exception(error)
    await settled()
    late = ask(verifier, "late")
    await settled()
    rpc.batches[1].answer()
    rpc.batches[3].answer()
    outcomes = [await outcome(each) for each in [*asked, late]]
    assert outcomes == ["token-0", "token-1", *[f"{type(error).__name__}: {error}"] * 3, "late"]


async def test_unexpected_exception_fails_the_callers_of_its_batch_at_once(
    rpc: HeldRpc, verifier: VerificationBatcher
) -> None:
    """Later calls are sent as usual."""
    asked = ask(verifier, "one")
    await settled()
    rpc.batches[0].reply.set_exception(ZeroDivisionError())
    assert await outcome(asked) == f"InternalError: {InternalError.text}"
    again = ask(verifier, "two")
    await settled()
    rpc.batches[1].answer()
    assert await outcome(again) == "two"


@pytest.mark.parametrize("answers", [[], [answer_to("one")] * 2])
async def test_reply_with_a_wrong_number_of_answers_is_an_internal_error(
    rpc: HeldRpc, verifier: VerificationBatcher, answers: list[dict[str, Any]]
) -> None:
    """The answers cannot be assigned to callers."""
    asked = ask(verifier, "one")
    await settled()
    rpc.batches[0].reply.set_result(answers)
    assert await outcome(asked) == f"InternalError: {InternalError.text}"


async def test_cancelled_waiting_call_is_not_sent(rpc: HeldRpc, verifier: VerificationBatcher) -> None:
    """A batch without callers is not sent at all."""
    asked = await ask_in_turn(verifier, [f"token-{number}" for number in range(6)])
    for number in (2, 4):
        asked[number].cancel()
    rpc.batches[0].answer()
    await settled()
    assert rpc.batches[2].tokens == ["token-3", "token-5"]
    gone = [ask(verifier, f"gone-{number}") for number in range(3)]
    await settled()
    for each in gone:
        each.cancel()
    rpc.batches[1].answer()
    await settled()
    assert len(rpc.batches) == 3
    rpc.batches[2].answer()
    assert await outcome(asked[3]) == "token-3"
    last = ask(verifier, "last")
    await settled()
    rpc.batches[3].answer()
    assert await outcome(last) == "last"


async def test_cancelled_sent_call_does_not_affect_the_others_of_its_batch(
    rpc: HeldRpc, verifier: VerificationBatcher
) -> None:
    asked = await ask_in_turn(verifier, [f"token-{number}" for number in range(5)])
    rpc.batches[0].answer()
    await settled()
    asked[3].cancel()
    for batch in rpc.open:
        batch.answer()
    assert [await outcome(asked[number]) for number in (0, 1, 2, 4)] == ["token-0", "token-1", "token-2", "token-4"]


async def test_unanswered_call_ends_at_its_deadline(rpc: HeldRpc) -> None:
    """This holds for sent and waiting checks; a late answer is ignored."""
    verifier = VerificationBatcher(rpc, timeout_seconds=0.01, max_batches_in_flight=1, stalled_seconds=NEVER)
    asked = await ask_in_turn(verifier, ["sent", "waiting"])
    assert [await outcome(each) for each in asked] == [f"DeadlineExceeded: {DeadlineExceeded.text}"] * 2
    rpc.batches[0].answer()
    await settled()
    assert [batch.tokens for batch in rpc.batches] == [["sent"]]


@pytest.mark.parametrize("text", ["x" * (MAX_TOKEN_CHARS + 1), "\x01", "x\n", "ü", "\u200b"])
async def test_malformed_token_is_refused_without_a_request(
    rpc: HeldRpc, verifier: VerificationBatcher, text: str
) -> None:
    """It takes no room in the batch of other callers."""
    with pytest.raises(InvalidToken):
        await verifier.verify(VerifyCheck(tenant_token="tenant", token=text))
    with pytest.raises(InvalidTenantToken):
        await verifier.verify(VerifyCheck(tenant_token=text, token="token"))
    assert rpc.batches == []


async def test_waiting_checks_beyond_the_count_limit_are_refused() -> None:
    """Cancelled callers free their slots in the queue and in batches."""
    rpc = HeldRpc()
    verifier = VerificationBatcher(rpc, max_batches_in_flight=2, stalled_seconds=NEVER)
    calls = await ask_in_turn(verifier, ["token 0", "token 1"])
    calls += [ask(verifier, f"token {number}") for number in range(2, 2 + MAX_QUEUED_CHECKS)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await verifier.verify(VerifyCheck(tenant_token="t", token="one too many"))
    for call in calls[2:-1]:
        call.cancel()
    await asyncio.sleep(0)
    last = asyncio.ensure_future(verifier.verify(VerifyCheck(tenant_token="t", token="room again")))
    await asyncio.sleep(0)
    while not (calls[-1].done() and last.done()):
        for batch in rpc.open:
            batch.answer()
        await asyncio.sleep(0)
    assert [batch.tokens for batch in rpc.batches[2:]] == [[f"token {1 + MAX_QUEUED_CHECKS}", "room again"]]
    assert (await last).jti == "room again"
    await asyncio.gather(*calls, return_exceptions=True)
