"""health.<lane>: does a worker of this lane answer, and does its database?"""

from .operation import Lane, Operation
from .wire import WireModel


class HealthRequest(WireModel):
    pass


class HealthReply(WireModel):
    database: bool
    """Whether the worker reached its database just now."""


#: One for each lane. They have queues of their own: a lane busy with its work is not a lane that is gone.
HEALTH: dict[Lane, Operation[HealthRequest, HealthReply]] = {
    lane: Operation(f"health.{lane}", lane, HealthRequest, HealthReply, repeatable=True) for lane in Lane
}
