"""AMQP as this service uses it: topology, connections, RPC and events."""
