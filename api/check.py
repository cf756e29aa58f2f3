"""`python -m api --check`: check that an edge can use the configured broker."""

from api.main import SUBSCRIBER
from api.settings import Settings
from shared.amqp.topology import EVENTS_EXCHANGE, RPC_EXCHANGE, subscriber_queue
from shared.process.broker_check import BrokerNeeds, broker_problems


async def edge_problems(settings: Settings) -> list[str]:
    """Return one line for each problem. Workers are not checked: an edge starts without them."""
    needs = BrokerNeeds(
        publishes=(RPC_EXCHANGE,),
        queues=subscriber_queue(SUBSCRIBER, ""),
        binds=EVENTS_EXCHANGE,
        probes=RPC_EXCHANGE,
    )
    return await broker_problems(settings, needs)
