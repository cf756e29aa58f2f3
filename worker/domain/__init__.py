"""Domain rules that operations share: ports, records, sessions, passwords and tokens."""
