"""The ports on real technology: MongoDB, argon2, JWT, AMQP. Only the composition root names them."""
