"""health.<lane>: check that a worker of this lane replies and reaches its database."""

from .operation import Lane, Operation
from .wire import WireModel


class HealthRequest(WireModel):
    pass


class HealthReply(WireModel):
    database: bool
    """Whether the worker could reach its database for this request."""


#: One operation per lane. Each has its own queue, so that a busy lane is not reported as a missing
#: one.
HEALTH: dict[Lane, Operation[HealthRequest, HealthReply]] = {
    lane: Operation(f"health.{lane}", lane, HealthRequest, HealthReply, repeatable=True) for lane in Lane
}
