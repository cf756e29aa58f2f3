"""How requests reach a worker, and how replies and events leave it."""
