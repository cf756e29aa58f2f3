"""What the edge, the workers and every client agree on: contracts, and how they travel over AMQP."""
