"""A database that runs a callback before one of its steps: another request, or the death of the worker."""

from collections.abc import Awaitable, Callable
from typing import Any, Self

from worker.adapters.mongo_database import MongoDatabase

#: Methods of a collection; each call is one round trip to the database.
STEPS = {"find_one", "insert_one", "update_one", "update_many", "delete_one", "delete_many"}


class Died(BaseException):
    """The death of the worker. No handler for `Exception` catches it."""


class SteppedDatabase:
    """Forwards everything to a database and awaits `meanwhile` before the step with this number, counted from 0."""

    def __init__(self, database: MongoDatabase, number: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self.reached = False
        self.taken = 0
        """Steps taken until now."""
        self._database = database
        self._left = number
        self._meanwhile = meanwhile

    def collection(self, name: str) -> "_Collection":
        return _Collection(self._database.collection(name), self.step)

    async def step(self) -> None:
        self.taken += 1
        self._left -= 1
        if self._left == -1:
            self.reached = True
            await self._meanwhile()


async def die() -> None:
    """Stop the worker before a step."""
    raise Died


Step = Callable[[], Awaitable[None]]


class _Collection:
    def __init__(self, collection: Any, step: Step) -> None:
        self._collection = collection
        self._step = step

    def with_options(self, **options: Any) -> "_Collection":
        return _Collection(self._collection.with_options(**options), self._step)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        assert name in STEPS, f"{name} is not a known step"

        async def stepped(*args: Any, **kwargs: Any) -> Any:
            await self._step()
            return await getattr(self._collection, name)(*args, **kwargs)

        return stepped

    def find(self, *args: Any, **kwargs: Any) -> "_Cursor":
        return _Cursor(self._collection.find(*args, **kwargs), self._step)


class _Cursor:
    def __init__(self, cursor: Any, step: Step) -> None:
        self._cursor = cursor
        self._step = step

    @property
    def delegate(self) -> Any:
        return getattr(self._cursor, "delegate", self._cursor)  # Motor wraps the cursor of PyMongo

    def sort(self, order: Any) -> Self:
        self._cursor = self._cursor.sort(order)
        return self

    def skip(self, number: int) -> Self:
        self._cursor = self._cursor.skip(number)
        return self

    def batch_size(self, size: int) -> Self:
        self._cursor = self._cursor.batch_size(size)
        return self

    def limit(self, limit: int) -> Self:
        self._cursor = self._cursor.limit(limit)
        return self

    async def to_list(self, length: int) -> list[Any]:
        await self._step()
        found: list[Any] = await self._cursor.to_list(length)
        return found
