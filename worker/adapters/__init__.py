"""Adapters: the ports on MongoDB, argon2, JWT and this machine. Only composition roots import them."""
