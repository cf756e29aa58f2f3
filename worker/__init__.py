"""The worker: takes requests from RabbitMQ, runs operations on MongoDB, and replies. Stateless."""
