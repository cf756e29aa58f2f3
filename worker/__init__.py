"""The worker: takes requests from RabbitMQ, decides, writes to MongoDB, answers. Stateless; run as many as needed."""
