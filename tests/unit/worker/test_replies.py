"""Which node a reply goes to, as far as its address tells."""

import pytest

from worker.replies import node_of

#: As RabbitMQ 3.10 has made it.
ADDRESS = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAzNzEyNjYxMgAABC8AAAAAawNrgQ==.UEjM6ylt/7vpPmNhq19Pvw=="


def test_addresses_at_one_node_are_told_together() -> None:
    """Whatever process and key they name: that is what a first reply proves for the next ones."""
    other = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAzNzEyNjYxMgAAAGMAAAAAAAAAAw==.abc"
    assert node_of(ADDRESS) == node_of(other) == b"reply@37126612"


@pytest.mark.parametrize(
    "address",
    [
        "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAzNzEyNjYxMgAABC8AAAAAawNr.a",  # a byte short
        "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAzNzEyNjYxMgAABC8AAAAAawNrgXh4.a",  # two bytes long
        "amq.rabbitmq.reply-to.g1h2AA1yZXBseUAzNzEyNjYxMgAABC8AAAAAawNrgQ==.a",  # another length of the name
        "amq.rabbitmq.reply-to.g2dkABByYWJiaXRAbG9jYWxob3N0AAAAAAAAAAAAAAAA.abc",  # another kind of process id
        "amq.rabbitmq.reply-to.aGVsbG8gd29ybGQ=.a",
        "amq.rabbitmq.reply-to.abc.abc",
        "amq.rabbitmq.reply-to.__.a",
        "victim",
        "",
    ],
)
def test_what_is_made_otherwise_stands_for_itself(address: str) -> None:
    """RabbitMQ ends the connection for these; so none is taken for a node that has proved to be there."""
    assert node_of(address) == address.encode()
