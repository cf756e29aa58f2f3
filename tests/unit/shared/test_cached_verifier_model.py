"""The cached verifier against a model: it keeps its promise in any order of events.

Requests, answers and events take any time and arrive in any order. Events are duplicated, late or lost.
The feed loses its connection, with or without noticing. The service has a credential, which ends like a session.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.client.cached_verifier import CachedVerifier
from shared.client.validity import Validity
from shared.contracts.claims import Claims
from shared.contracts.errors import InvalidToken, ServiceCredentialsRejected, Unavailable
from shared.contracts.events import SessionRevokedEvent
from tests.records import a_revocation, some_claims

MAX_AGE_SECONDS = 10
#: Small, so that events often concern the same sessions; the cache holds fewer.
MAX_LIVE = 3
MAX_ENTRIES = 2
#: How long the verifier may believe a disconnected feed to be alive.
TRUST_SECONDS = 3


@dataclass
class Session:
    """The true state of a session."""

    claims: Claims
    ended_at: float | None = None
    told: bool = False
    """The event has reached the verifier."""
    cleared: bool = False
    """The verifier has dropped all entries since the session ended."""

    @property
    def token(self) -> str:
        return f"token of {self.claims.jti}"


class ModelFeed:
    """A feed that is alive until a moment that the model sets."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        on_revoked: Callable[[SessionRevokedEvent], None],
        on_interrupted: Callable[[], None],
    ) -> None:
        self.on_revoked = on_revoked
        self.on_interrupted = on_interrupted
        self.alive_until = float("inf")
        self.proven_at = 0.0
        self._clock = clock

    @property
    def alive(self) -> bool:
        return self._clock() < self.alive_until

    async def wait_alive(self, timeout_seconds: float) -> bool:  # noqa: ARG002 - the interface
        return self.alive

    async def __aenter__(self) -> "ModelFeed":
        return self

    async def __aexit__(self, *_: object) -> None:
        return


@dataclass
class Question:
    """A verification in flight."""

    session: Session
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False
    checked_at: float | None = None
    was_live: bool | None = None
    caller: Session | None = None
    """The session of the credential that the worker checked."""
    task: "asyncio.Task[None] | None" = None


class World(RuleBasedStateMachine):
    """Sessions, a worker that knows the truth, the feed, and the verifier under test."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.time = 1_000.0
        self.sessions: list[Session] = []
        self.callers = [Session(some_claims(jti="c0", exp=int(self.time) + 100))]
        """Sessions of the service's credentials, the present one last."""
        self.travelling: list[Session] = []
        self.subscribed = True
        self.cut_at: float | None = None
        self.questions: list[Question] = []
        self.asking: dict[asyncio.Task[object] | None, Question] = {}
        self.feed: ModelFeed

        def make_feed(
            *, on_revoked: Callable[[SessionRevokedEvent], None], on_interrupted: Callable[[], None]
        ) -> ModelFeed:
            self.feed = ModelFeed(self.clock, on_revoked=on_revoked, on_interrupted=on_interrupted)
            return self.feed

        self.verifier = CachedVerifier(
            self.ask,
            make_feed,
            max_age_seconds=MAX_AGE_SECONDS,
            max_entries=MAX_ENTRIES,
            monotonic=self.clock,
            now=self.clock,
        )

    def teardown(self) -> None:
        for question in self.questions:
            assert question.task
            question.task.cancel()
        self.loop.run_until_complete(self.settle())
        self.loop.close()

    def clock(self) -> float:
        return self.time

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def ask(self, _token: str) -> tuple[Claims, Validity]:
        """Answer as a worker, at the moment that the test chooses. If the verifier asks again, answer at once.

        The answer tells in `login` which credential of the service it depends on.
        """
        question = self.asking[asyncio.current_task()]
        if question.asked.is_set():
            self.check(question)
        question.asked.set()
        await question.answered.wait()
        if question.away:
            raise Unavailable
        caller = question.caller
        assert caller
        if not question.was_live:
            raise InvalidToken if self.is_live(caller) else ServiceCredentialsRejected
        claims = question.session.claims.model_copy(update={"login": caller.claims.jti})
        sessions = (claims.jti, caller.claims.jti)
        return claims, Validity(sessions, min(claims.exp, caller.claims.exp))

    def check(self, question: Question) -> None:
        question.checked_at, question.caller = self.time, self.callers[-1]
        question.was_live = self.is_live(question.session) and self.is_live(question.caller)

    def some_session(self, data: st.DataObject) -> Session:
        return data.draw(st.sampled_from(self.sessions[-MAX_LIVE:]))

    def is_live(self, session: Session) -> bool:
        return session.ended_at is None and self.time < session.claims.exp

    # Actions of the environment.

    @precondition(lambda self: sum(map(self.is_live, self.sessions)) < MAX_LIVE)
    @rule(lifetime=st.sampled_from([6, 15, 100]))
    def log_in(self, lifetime: int) -> None:
        number = len(self.sessions)
        self.sessions.append(Session(some_claims(jti=f"s{number}", exp=int(self.time) + lifetime)))

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def log_out(self, data: st.DataObject) -> None:
        self.end(self.some_session(data))

    @rule(renewed=st.booleans())
    def end_credential(self, renewed: bool) -> None:
        """The service's API key or session is revoked. A service with a password logs in again."""
        self.end(self.callers[-1])
        if renewed:
            self.renew_credential(100)

    @rule(lifetime=st.sampled_from([6, 15, 100]))
    def renew_credential(self, lifetime: int) -> None:
        claims = some_claims(jti=f"c{len(self.callers)}", exp=int(self.time) + lifetime)
        self.callers.append(Session(claims))

    def end(self, session: Session) -> None:
        if session.ended_at is None:
            session.ended_at = self.time
            if self.subscribed:
                self.travelling.append(session)

    @precondition(lambda self: self.travelling)
    @rule(data=st.data(), again=st.booleans())
    def event_arrives(self, data: st.DataObject, again: bool) -> None:
        session = data.draw(st.sampled_from(self.travelling))
        if not again:
            self.travelling.remove(session)
        session.told = True
        self.feed.on_revoked(a_revocation(session.claims))

    @precondition(lambda self: self.travelling)
    @rule(data=st.data())
    def event_is_lost(self, data: st.DataObject) -> None:
        """The worker died before publishing, and the sweep has not run yet."""
        self.travelling.remove(data.draw(st.sampled_from(self.travelling)))

    @precondition(lambda self: self.subscribed)
    @rule(noticed=st.booleans())
    def cut(self, noticed: bool) -> None:
        """The feed loses the events in transit. Unnoticed, it is trusted a little longer."""
        self.subscribed = False
        self.travelling.clear()
        self.cut_at = self.time
        self.feed.alive_until = self.time + TRUST_SECONDS
        if noticed:
            self.notice()

    @precondition(lambda self: not self.subscribed)
    @rule()
    def resubscribe(self) -> None:
        self.notice()
        self.subscribed = True
        self.cut_at = None
        self.feed.alive_until = float("inf")

    def notice(self) -> None:
        for session in (*self.sessions, *self.callers):
            session.cleared = session.ended_at is not None
        self.feed.alive_until = float("-inf")
        self.feed.on_interrupted()

    @rule(seconds=st.sampled_from([0.5, 1, 2, 5]))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds

    # Actions of the service.

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def verify(self, data: st.DataObject) -> None:
        """Verify from the cache, or with a request that is answered at once."""
        self.loop.run_until_complete(self.begin(self.some_session(data), quick=True))

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def begin_to_verify(self, data: st.DataObject) -> None:
        """Verify from the cache, or with a request that stays in flight."""
        self.loop.run_until_complete(self.begin(self.some_session(data), quick=False))

    @rule()
    def verify_everything(self) -> None:
        for session in self.sessions[-MAX_LIVE:]:
            self.loop.run_until_complete(self.begin(session, quick=True))

    async def begin(self, session: Session, *, quick: bool) -> None:
        question = Question(session)
        question.task = asyncio.create_task(self.finish(question))
        self.asking[question.task] = question
        await self.settle()
        if not question.asked.is_set():
            await question.task
        elif quick:
            self.check(question)
            question.answered.set()
            await question.task
        else:
            self.questions.append(question)

    @precondition(lambda self: self.questions)
    @rule(data=st.data())
    def worker_checks(self, data: st.DataObject) -> None:
        question = data.draw(st.sampled_from(self.questions))
        if question.checked_at is None:
            self.check(question)

    @precondition(lambda self: any(question.checked_at is not None for question in self.questions))
    @rule(data=st.data(), away=st.booleans())
    def answer_arrives(self, data: st.DataObject, away: bool) -> None:
        question = data.draw(st.sampled_from([each for each in self.questions if each.checked_at is not None]))
        self.questions.remove(question)

        async def arrive() -> None:
            question.away = away
            question.answered.set()
            assert question.task
            await question.task

        self.loop.run_until_complete(arrive())

    async def finish(self, question: Question) -> None:
        session = question.session
        try:
            claims = await self.verifier.verify(session.token)
        except (InvalidToken, ServiceCredentialsRejected, Unavailable):
            return
        caller = next(each for each in self.callers if each.claims.jti == claims.login)
        for depended_on in (session, caller):
            self.judge_acceptance(question, depended_on)

    def judge_acceptance(self, question: Question, session: Session) -> None:
        """Check the promise: an accepted token and the credential were acceptable at that moment."""
        assert not session.told, "accepted after its event had arrived"
        if question.checked_at is not None:
            assert question.was_live, "accepted although the worker refused it"
            return
        assert self.time < session.claims.exp, "accepted from memory after it expired"
        assert self.feed.alive, "accepted from memory without a feed"
        assert not session.cleared, "accepted from memory that should have been dropped"
        if session.ended_at is not None:
            assert self.time < session.ended_at + MAX_AGE_SECONDS, "accepted for longer than the maximum age"
            if self.cut_at is not None:
                assert self.time < self.cut_at + TRUST_SECONDS, "accepted long after the feed was cut"

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.verifier.size <= MAX_ENTRIES


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=100, deadline=None)
