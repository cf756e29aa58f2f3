"""The edge: HTTP in, AMQP out. It holds no keys and no data, and decides nothing that a worker decides."""
