"""A replica set of two members in front of one database, whose primary falls silent and is replaced.

Both members lead to the same data: the new primary of a replica set has everything that a majority acknowledged.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from bson import ObjectId
from yarl import URL

from tests.faults.mongo_link import MongoLink

NAME = "links"


@dataclass
class ReplicaSet:
    """Two members. The first is the primary at the start."""

    members: tuple[MongoLink, MongoLink]
    elections: int = 0
    primary: MongoLink = field(init=False)

    def __post_init__(self) -> None:
        self.elect(self.members[0])

    @property
    def url(self) -> str:
        """The URL for a worker, whose driver discovers the primary from both members."""
        first, second = (URL(member.url) for member in self.members)
        # The database never changed its primary, so it announces no change by itself.
        options = {"replicaSet": NAME, "retryWrites": "true", "serverMonitoringMode": "poll"}
        url = str(first.with_query({**first.query, **options} | {"directConnection": "false"}))
        return url.replace(first.authority, f"{_address(first)},{_address(second)}")

    @property
    def accepted(self) -> int:
        """The number of connections to both members so far."""
        return sum(member.accepted for member in self.members)

    def elect(self, primary: MongoLink) -> None:
        """Let all members that answer name this one as the primary."""
        self.elections += 1
        self.primary = primary
        hosts = [_address(URL(member.url)) for member in self.members]
        for member, host in zip(self.members, hosts, strict=True):
            is_primary = member is primary
            member.hello = {
                "setName": NAME,
                "setVersion": 1,
                "hosts": hosts,
                "me": host,
                "primary": _address(URL(primary.url)),
                "isWritablePrimary": is_primary,
                "ismaster": is_primary,
                "secondary": not is_primary,
                # MongoDB increases it with each election, and drivers ignore a primary with a smaller one.
                "electionId": ObjectId(f"7fffffff{self.elections:016x}"),
            }

    async def bring_back(self, member: MongoLink) -> None:
        """Let a silent member answer again, on new connections: commands that it holds are not carried out."""
        await member.cut()
        member.let_through()


@contextlib.asynccontextmanager
async def replica_set(database: str) -> AsyncIterator[ReplicaSet]:
    """Run two members in front of the database with this URL."""
    async with MongoLink(database) as first, MongoLink(database) as second:
        yield ReplicaSet((first, second))


def _address(url: URL) -> str:
    return f"{url.host}:{url.port}"
