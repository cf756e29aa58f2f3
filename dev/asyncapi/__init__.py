"""Generator of the AsyncAPI document and of its page docs/amqp.md, from the contracts: `make asyncapi`."""
