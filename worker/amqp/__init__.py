"""AMQP: the consumer of requests, and the publishers of replies and events."""
