"""What the edge limits: bytes and time of a request (`http`, `lingering`), requests of a client (`requests`)."""
