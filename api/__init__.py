"""The edge: turns HTTP requests into AMQP requests. It holds no keys and no data; workers make all decisions."""
