"""The client library for services that call Jincor Auth over AMQP."""
