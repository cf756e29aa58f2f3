"""The routes, one file for each kind of thing: parse, call a worker, respond."""
