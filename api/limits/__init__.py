"""Limits of the edge: bytes and time of a request (`http`, `lingering`), number of requests (`requests`)."""
