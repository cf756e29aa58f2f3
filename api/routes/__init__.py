"""Routes, one file for each resource: parse, call a worker, respond."""
