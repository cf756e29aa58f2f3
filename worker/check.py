"""`python -m worker --check`: whether this configuration leads to a broker and a database that a worker can use."""

from shared.amqp.topology import RPC_EXCHANGE
from shared.process.broker_check import BrokerNeeds, broker_problems
from worker.adapters import mongo_database
from worker.settings import Settings

#: Where replies go. Whether events may be published is not tried: somebody would receive one.
DEFAULT_EXCHANGE = ""


async def problems(settings: Settings) -> list[str]:
    """What is wrong, a line each; nothing when all is well."""
    needs = BrokerNeeds(
        declares=settings.declare_topology,
        publishes=(DEFAULT_EXCHANGE,),
        queues=f"{RPC_EXCHANGE}.",
    )
    found = [line for url in settings.amqp_url for line in await broker_problems(url.get_secret_value(), needs)]
    async with mongo_database.connect(settings.mongo_url.get_secret_value()) as database:
        return [*found, *(f"database: {line}" for line in await database.problems())]
