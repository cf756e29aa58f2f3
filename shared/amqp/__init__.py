"""AMQP of this service: topology, connections, RPC and events."""
