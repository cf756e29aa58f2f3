"""`python -m api --check`: whether this configuration leads to a broker that an edge can use."""

from api.main import SUBSCRIBER
from api.settings import Settings
from shared.amqp.topology import EVENTS_EXCHANGE, RPC_EXCHANGE, subscriber_queue
from shared.process.broker_check import BrokerNeeds, broker_problems


async def problems(settings: Settings) -> list[str]:
    """What is wrong, a line each; nothing when all is well. Workers are not asked for: edges start without them."""
    needs = BrokerNeeds(
        declares=settings.declare_topology,
        publishes=(RPC_EXCHANGE,),
        queues=subscriber_queue(SUBSCRIBER, ""),
        binds=EVENTS_EXCHANGE,
        probes=RPC_EXCHANGE,
    )
    return [line for url in settings.amqp_url for line in await broker_problems(url.get_secret_value(), needs)]
